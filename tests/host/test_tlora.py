"""T-LoRA: from within (see tlora.py), and from training to picture through the API."""

import json
import shutil

import pytest
import safetensors
import safetensors.torch

from storybooth.tests.host.trainings import drawing, graph, load_lora, pixels, steps_shown
from storybooth.workshop.client import InvalidGraphError, NodeError


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("tlora.py")


@pytest.mark.once
def test_every_kind_of_sampler_draws_as_with_dense_weights_of_each_timestep(measured):
    found = measured["samplers"]
    assert max(found["distance"].values()) < 1e-4 < 1e-2 < found["effect"], found
    assert len(found["ranks"]) > 3, found["ranks"]


@pytest.mark.once
def test_it_goes_with_loras_other_t_loras_and_banks(measured):
    kinds = dict(measured["kinds"])
    assert kinds.pop("unmasked") > 1e-2  # a LoRA of the same file is something else
    assert max(kinds.values()) < 1e-4, kinds
    assert measured["bank"]["distance"] < 1e-4 < 1e-2 < measured["bank"]["effect"]


@pytest.mark.once
def test_rows_of_one_call_may_have_noise_levels_of_their_own(measured):
    assert measured["rows"] < 1e-5


@pytest.mark.once
def test_banks_and_panels_are_told_apart_by_it(measured):
    none, masked, again, weaker, steeper = measured["bank"]["known"]
    assert none == "" and masked == again and len({none, masked, weaker, steeper}) == 4
    assert measured["bank"]["keys"] == [True, False, False, False]


@pytest.mark.once
def test_it_leaves_no_trace_in_the_network(measured):
    found = measured["leaves_no_trace"]
    assert found["failed"] and found["same"] and found["off"]
    assert found["forwards"] == 0
    layers, on_device = found["placed"]
    assert layers > 100 and on_device == 0


@pytest.mark.once
def test_torch_compile_sees_it(measured):
    assert max(measured["compiled"].values()) < 1e-5, measured["compiled"]


@pytest.mark.once
def test_weights_and_noise_levels_of_other_kinds(measured):
    found = measured["elsewhere"]
    assert max(found["v-prediction"], found["continuous"]) < 1e-4, found
    assert found["quantised, alike"] > 0.95 and found["quantised, as far"] == pytest.approx(1, abs=0.1), found


@pytest.mark.once
def test_what_does_not_fit_is_named(measured):
    said = measured["refused"]
    assert all(message.startswith("model:") for message in said.values()) and len(said) == 3
    assert "from 7 to" in said["width"] and "does not have" in said["layer"] and "T-LoRA" in said["training"]


@pytest.mark.once
def test_comfyui_is_told_of_its_memory(measured):
    assert measured["memory"]["more"] == pytest.approx(measured["memory"]["matrices"], rel=1e-6)


def tlora(comfy, trainer, **options):
    """Training by T-LoRA; options that are not named are left out, as in graphs from before they existed."""
    spec = comfy.object_info("StoryBoothTrainingOptions")["StoryBoothTrainingOptions"]["input"]["required"]
    assert "method" not in spec
    defaults = {name: widget[1]["default"] for name, widget in spec.items()}
    nodes = graph(comfy, **({"rank": 4} | trainer))
    options = defaults | {"method": "T-LoRA", "min_rank": 1} | options
    nodes["options"] = {"class_type": "StoryBoothTrainingOptions", "inputs": options}
    nodes["train"]["inputs"]["options"] = ["options", 0]
    return nodes


def load_tlora(name, strength=1.0):
    loader = {"model": ["mini", 0], "lora_name": name, "strength": strength}
    return {
        "mini": {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}},
        "lora": {"class_type": "StoryBoothTLoraLoader", "inputs": loader},
        **drawing("lora"),
    }


def test_what_was_trained_is_what_the_loader_draws(comfy):
    run = comfy.queue(tlora(comfy, {"lora_name": "timed"}))
    assert len(steps_shown(run)) == 3
    trained = pixels(run)
    assert pixels(comfy.run(load_tlora("timed.safetensors"))) == trained
    plain = pixels(comfy.run(load_tlora("timed.safetensors", 0.0)))
    seen = len(comfy.log_text())
    unmasked = pixels(comfy.run(load_lora("timed.safetensors")))
    assert "lora key not loaded" not in comfy.log_text()[seen:] and "NOT LOADED" not in comfy.log_text()[seen:]
    assert len({trained, plain, unmasked}) == 3

    comfy.free()
    assert steps_shown(comfy.queue(tlora(comfy, {"lora_name": "timed"}))) == []
    with pytest.raises(NodeError, match=r"timed.safetensors exists already and was trained with other min_rank"):
        comfy.run(tlora(comfy, {"lora_name": "timed"}, min_rank=2))


@pytest.mark.once
def test_wrong_files_and_settings_are_refused(comfy):
    folder = comfy.base / "models" / "loras"
    comfy.run(tlora(comfy, {"lora_name": "wrong"}))
    comfy.run(graph(comfy, lora_name="lora", rank=4))
    with safetensors.safe_open(folder / "wrong.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(folder / "wrong.safetensors")
    damaged = metadata | {"storybooth_tlora": json.dumps({"rank": 4})}
    safetensors.torch.save_file(tensors, folder / "untold.safetensors", damaged)
    (folder / "broken.safetensors").write_bytes(b"none")
    shutil.copy(folder / "lora.safetensors", folder / "plain.safetensors")
    comfy.object_info("StoryBoothTLoraLoader")
    cases = {
        "plain.safetensors": r"plain.safetensors is not a T-LoRA.*Load it with Load LoRA",
        "untold.safetensors": r"metadata storybooth_tlora are damaged",
        "broken.safetensors": r"broken.safetensors cannot be read as a T-LoRA",
        "../x.safetensors": r"lora_name",
    }
    for name, says in cases.items():
        with pytest.raises((NodeError, InvalidGraphError), match=says):
            comfy.run(load_tlora(name))

    refused = {"lora_name": "refused"}
    with pytest.raises(NodeError, match=r"min rank \(min_rank\): got 5, expected at most the rank, 4"):
        comfy.run(tlora(comfy, refused, min_rank=5))
    with pytest.raises(NodeError, match=r"method: got LoRA, but wrong.safetensors .* is a T-LoRA"):
        comfy.run(tlora(comfy, refused, method="LoRA", continue_from="wrong.safetensors"))
    with pytest.raises(NodeError, match=r"method: got T-LoRA, but lora.safetensors .* is a LoRA"):
        comfy.run(tlora(comfy, refused, continue_from="lora.safetensors"))
    with pytest.raises((NodeError, InvalidGraphError), match=r"method"):
        comfy.run(tlora(comfy, refused, method="DoRA"))

    nodes = tlora(comfy, refused)
    nodes["masked"] = load_tlora("wrong.safetensors")["lora"]
    nodes["train"]["inputs"]["model"] = ["masked", 0]
    with pytest.raises(NodeError, match=r"model: it carries a T-LoRA"):
        comfy.run(nodes)
    comfy.run(tlora(comfy, {"lora_name": "further"}, continue_from="wrong.safetensors"))
