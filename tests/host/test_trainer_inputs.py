"""What other nodes may wire into the trainer, and what may happen to its file between two runs."""

import json
import os

import pytest

from storybooth.tests.host.trainings import LONG, graph, steps_shown, weights, with_options
from storybooth.workshop.client import Graph, NodeError


def refused(comfy, nodes: Graph, *says: str) -> None:
    """The graph is answered by a message with these parts, before any step, and the server lives on."""
    run = comfy.queue(nodes)
    with pytest.raises(NodeError) as caught:
        assert steps_shown(run) == []
    assert [part for part in says if part not in caught.value.message] == [], caught.value.message
    assert comfy.get_json("/queue") == {"queue_running": [], "queue_pending": []}


def listed(comfy, socket: str, *values: object) -> Graph:
    """The graph in which a socket or widget of the trainer, or else of its options, is given a list of values."""
    nodes = with_options(comfy, {"lora_name": "lists"})
    nodes["list"] = {"class_type": "TestListOf", "inputs": {"values": json.dumps(values)}}
    node = "train" if socket in nodes["train"]["inputs"] else "options"
    nodes[node]["inputs"][socket] = ["list", 0]
    return nodes


@pytest.mark.parametrize("socket", ["images", "class_images"])
def test_an_empty_list_of_pictures_is_named(comfy, socket):
    nodes = listed(comfy, socket)
    del nodes["train"]["inputs"]["captions"]
    refused(comfy, nodes, f"{socket}: got an empty list", "Load Subject Images")


def test_an_empty_list_of_captions_is_named(comfy):
    refused(comfy, listed(comfy, "captions"), "captions: got 0 for 2 images")


@pytest.mark.parametrize("socket", ["model", "lora_name", "seed", "class_prompt"])
@pytest.mark.parametrize("values", [(), (1, 2)])
def test_only_one_value_fits_where_there_is_one(comfy, socket, values):
    refused(comfy, listed(comfy, socket, *values), f"{socket}: got a list of {len(values)} values, expected one")


@pytest.mark.parametrize("socket", ["images", "class_images"])
def test_a_photo_with_nan_is_named(comfy, socket):
    nodes = listed(comfy, socket)
    nodes["list"] = {"class_type": "TestNanImages", "inputs": {}}
    refused(comfy, nodes, f"{socket}: image 2 has numbers that are not finite", "Take it out")


def sampled(comfy, node: str, **inputs: object) -> Graph:
    """The graph with a node that changes the model's sampling before the trainer."""
    nodes = graph(comfy, source=("sampling", 0), lora_name="through_model_sampling")
    nodes["sampling"] = {"class_type": node, "inputs": {"model": ["mini", 0], **inputs}}
    return nodes


@pytest.mark.parametrize(
    ("node", "inputs", "says"),
    [
        ("ModelSamplingDiscrete", {"sampling": "x0", "zsnr": False}, "prediction type X0"),
        ("ModelSamplingDiscrete", {"sampling": "lcm", "zsnr": False}, "prediction type LCM"),
        ("ModelSamplingDiscrete", {"sampling": "eps", "zsnr": True}, "zero terminal SNR"),
        (
            "ModelSamplingContinuousEDM",
            {"sampling": "v_prediction", "sigma_max": 120.0, "sigma_min": 0.002},
            "V_PREDICTION, 1000 noise levels from 0.002 to 120",
        ),
        (
            "ModelSamplingContinuousEDM",
            {"sampling": "eps", "sigma_max": 120.0, "sigma_min": 0.002},
            "noise levels from 0.002 to 120",
        ),
        (
            "ModelSamplingContinuousV",
            {"sampling": "v_prediction", "sigma_max": 500.0, "sigma_min": 0.03},
            "V_PREDICTION, 1000 noise levels from 0.03 to 500",
        ),
    ],
)
def test_what_a_node_makes_of_the_models_prediction_counts(comfy, node, inputs, says):
    refused(comfy, sampled(comfy, node, **inputs), "model: got", says, "Remove ModelSamplingDiscrete")


@pytest.mark.parametrize("zsnr", [False, True])
def test_a_model_that_predicts_v_is_trained_as_such(comfy, zsnr):
    """The same weights, trained as three kinds of model, make three runs, and each is found again."""
    comfy.run(graph(comfy, lora_name="of-noise"))
    nodes = sampled(comfy, "ModelSamplingDiscrete", sampling="v_prediction", zsnr=zsnr)
    nodes["train"]["inputs"] |= {"lora_name": f"of-v-{zsnr}", "sample_every": 2}
    run = comfy.queue(nodes)
    assert len(steps_shown(run)) > 0
    header, numbers = weights(comfy, f"of-v-{zsnr}")
    told = header["__metadata__"]
    kind = "v_prediction, zero terminal SNR" if zsnr else "v_prediction"
    assert json.loads(told["storybooth_recipe"])["prediction"] == kind and told["modelspec.prediction_type"] == "v"
    assert numbers != weights(comfy, "of-noise")[1]
    assert "no more samples" not in comfy.log_text()
    nodes["train"]["inputs"]["checkpoint_every"] = 49
    assert steps_shown(comfy.queue(nodes)) == []
    nodes["train"]["inputs"]["lora_name"] = "of-noise"
    refused(comfy, nodes, "of-noise.safetensors exists already and was trained with other", "prediction")


@pytest.mark.once
def test_a_node_that_leaves_the_prediction_as_it_is_makes_the_same_run(comfy):
    assert len(steps_shown(comfy.queue(sampled(comfy, "ModelSamplingDiscrete", sampling="eps", zsnr=False)))) > 0
    assert steps_shown(comfy.queue(graph(comfy, lora_name="through_model_sampling"))) == []


@pytest.mark.once
def test_a_file_that_was_deleted_or_replaced_is_looked_at_again(comfy):
    nodes, path = graph(comfy, lora_name="deleted"), comfy.base / "models" / "loras" / "deleted.safetensors"
    comfy.run(nodes)
    whole, made = path.read_bytes(), path.stat()
    assert "train" not in comfy.run(nodes).executed
    path.unlink()
    comfy.run(nodes)
    assert path.read_bytes() == whole
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(made.st_atime_ns, made.st_mtime_ns))
    refused(comfy, nodes, "lora_name: deleted.safetensors exists already", "was not made by this trainer")


@pytest.mark.once
def test_a_lora_in_another_folder_is_found(comfy):
    comfy.run(graph(comfy, lora_name="moved"))
    path = comfy.base / "models" / "loras" / "moved.safetensors"
    other = comfy.base / "more_models" / "loras" / path.name
    other.parent.mkdir(parents=True, exist_ok=True)
    path.rename(other)
    assert steps_shown(comfy.queue(graph(comfy, lora_name="moved", checkpoint_every=49))) == []
    assert not path.exists()


@pytest.mark.once
def test_fewer_steps_leave_what_more_have_learned(comfy):
    """As where the folder of states was deleted, which is safe."""

    def cancelled(after: int, **widgets: int) -> set[str]:
        run = comfy.queue(graph(comfy, lora_name="shorter", steps=LONG, **widgets))
        with pytest.raises(Exception, match="cancelled"):
            for event in run:
                if event.type == "progress_text" and event.data["text"].startswith(f"step {after} "):
                    comfy.interrupt()
        for state in (comfy.base / "output" / "storybooth" / "training" / "shorter").iterdir():
            state.unlink()
        return {path.name for path in (comfy.base / "models" / "loras").glob("shorter.*")}

    longer = cancelled(40)
    assert len(longer) == 1
    assert longer < cancelled(1, sample_every=1)  # samples leave it the time to be heard before step 40
