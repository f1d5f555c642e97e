"""Log-Normal DreamBooth LoRA Trainer: from within (see training.py), and through the API as users run it."""

import json

import pytest
import safetensors
from PIL import Image

from storybooth.tests.host.bank_story import refused
from storybooth.tests.host.trainings import (
    FREE_U,
    LONG,
    OTHER_WORKFLOW,
    STEPS,
    graph,
    load_lora,
    loras,
    photos,
    pixels,
    steps_shown,
    weights,
    with_options,
)
from storybooth.workshop.client import CancelledError, InvalidGraphError, NodeError


@pytest.fixture(scope="module")
def measured(measure_within, tmp_path_factory):
    return measure_within("training.py", tmp_path_factory.mktemp("loras"))


def test_the_diffusers_unet_predicts_what_comfyui_does_on_the_same_memory(measured):
    assert measured["plain"]["difference"] < 1e-4
    assert measured["plain"]["shared"] == 1.0
    assert measured["base unchanged"]


def test_text_and_latents_are_comfyuis_own(measured):
    encoding = measured["encoding"]
    assert encoding["text"] == encoding["pooled"] == 0.0
    assert encoding["latent"] < 1e-5 and encoding["spread"] > 0
    assert encoding["time_ids"] == [64, 96, 0, 16, 64, 64]


def test_the_file_gives_the_trained_network_in_comfyui_and_in_diffusers(measured):
    lora = measured["lora"]
    assert lora["layers"] == lora["patched"] == 280
    assert lora["warnings"] == []
    assert lora["effect"] > 0.01
    assert max(lora["ComfyUI"], lora["diffusers"]) < 1e-4


def test_a_lora_from_upstream_is_part_of_what_is_trained(measured):
    upstream = measured["upstream LoRA"]
    assert upstream["difference"] < 1e-4 and upstream["trained upon"] < 1e-4
    assert 0.5 < upstream["shared"] < 1.0


def test_fp8_weights_are_trained_upon_as_they_are(measured):
    fp8 = measured["fp8"]
    assert fp8["dtype"] == "torch.float8_e4m3fn"
    assert fp8["difference"] < 1e-4
    assert fp8["bytes"] < 0.27 and fp8["shared"] > 0.4  # matrices in one byte instead of four, none of them copied
    of_fp8, of_fp32 = fp8["loss"]
    assert of_fp8 == pytest.approx(of_fp32, rel=0.1)


def test_models_are_recognised_by_content(measured):
    assert measured["fingerprints"] == {
        "same LoRA, loaded again": True,
        "fresh copy of the model": True,
        "with and without LoRA": False,
        "another LoRA": False,
    }


def test_what_a_checkpoint_predicts_is_what_is_trained(measured):
    """By ComfyUI's own sampling: its noise levels, and the v of its own formula."""
    assert measured["predictions"] == {
        "nothing said": ["epsilon", False],
        "v_pred": ["v_prediction", False],
        "v_pred and ztsnr": ["v_prediction", True],
    }
    assert max(measured["levels"].values()) < 1e-5
    assert measured["v"] < 1e-5


def test_memory_is_as_before_however_the_training_ends(measured):
    found = measured["left behind"]
    assert [found[case][0] for case in ("finished", "again", "failed")] == ["finished", "finished", "OSError"]
    assert found["cancelled"][0] == "InterruptProcessingException"
    for _, networks, memory in found.values():
        assert networks == 0
        assert memory < 1_000_000  # a copy of the UNet has 50 times as much


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("SD 1.5", ("model:", "BaseModel", "expected an SDXL base model")),
        ("refiner", ("model:", "SDXLRefiner", "expected an SDXL base model")),
        ("inpainting", ("model:", "9 input channels", "expected an SDXL base model")),
        ("EDM", ("model:", "EDM", "expected EPS (noise) or V_PREDICTION")),
        ("NaN VAE", ("vae:", "NaN for image 1", "--fp32-vae")),
        ("alpha channel", ("images:", "4 channels", "RGB")),
        ("precision", ("precision:", "fp8", "auto, bf16")),
        ("resolution", ("resolution:", "100", "multiple of 8")),
        ("learning_rate", ("learning rate (learning_rate):", "nan", "more than 0")),
        ("lora_name", ("lora_name:", "../refused", "plain name")),
    ],
)
def test_what_cannot_be_trained_is_refused_with_advice(measured, case, says):
    assert [part for part in says if part not in measured["refused"][case]] == []


def test_a_story_trains_once_and_its_file_is_the_model(comfy):
    run = comfy.queue(graph(comfy, lora_name="characters/once"))
    shown = steps_shown(run)
    assert len(shown) == STEPS
    assert shown[0].startswith(f"step 1 of {STEPS}, loss ") and shown[-1].endswith("left")
    (name,) = run.outputs["name"]["text"]
    listed = comfy.object_info("LoraLoader")["LoraLoader"]["input"]["required"]["lora_name"]
    assert name in (listed[0] if isinstance(listed[0], list) else listed[1]["options"])
    assert loras(comfy, "once*") == ["once.safetensors"]

    seen = len(comfy.log_text())
    assert pixels(comfy.run(load_lora(name))) == pixels(run)
    assert "lora key not loaded" not in comfy.log_text()[seen:] and "NOT LOADED" not in comfy.log_text()[seen:]

    comfy.free()
    comfy.run(OTHER_WORKFLOW)
    again = comfy.queue(graph(comfy, lora_name="characters/once"))
    assert steps_shown(again) == []
    assert "train" in again.executed
    assert pixels(again) == pixels(run)


def test_the_node_reports_its_losses_and_ends_with_what_it_learned(comfy):
    nodes = graph(comfy, lora_name="losses", checkpoint_every=1)
    nodes["plot"] = {"class_type": "LossGraphNode", "inputs": {"loss": ["train", 2], "filename_prefix": "loss"}}
    comfy.run(nodes)
    with safetensors.safe_open(comfy.base / "models" / "loras" / "losses.safetensors", "pt") as file:
        assert len(json.loads(file.metadata()["storybooth_losses"])) == STEPS
    assert loras(comfy, "losses*") == ["losses.safetensors"]


@pytest.mark.once
def test_patches_of_the_model_come_out_with_it(comfy):
    trained = comfy.run({"freeu": FREE_U, **graph(comfy, source=("freeu", 0), lora_name="freeu")})
    loaded = comfy.run({"freeu": FREE_U, **load_lora("freeu.safetensors", source=("freeu", 0))})
    plain = comfy.run(load_lora("freeu.safetensors"))
    assert pixels(trained) == pixels(loaded) != pixels(plain)


def test_cancel_keeps_what_was_learned_and_the_next_run_goes_on(comfy):
    run, shown = comfy.queue(graph(comfy, lora_name="cancelled", steps=LONG)), []
    with pytest.raises(CancelledError):
        for event in run:
            if event.type == "progress_text" and event.data["text"].startswith("step"):
                shown.append(event.data["text"])
                if len(shown) == 2:
                    comfy.interrupt()
    (partial,) = loras(comfy, "cancelled.*")
    reached = int(partial.split(".step")[1].split(".")[0])
    assert reached == len(shown) < LONG
    assert pixels(comfy.run(load_lora(partial)))
    assert partial not in [path.name for path in (comfy.base / "output").rglob("*")]
    run = comfy.queue(graph(comfy, lora_name="cancelled", steps=reached + 2))
    assert [line.split(" of ")[0] for line in steps_shown(run)] == [f"step {reached + 1}", f"step {reached + 2}"]
    assert run.outputs["name"]["text"] == ["cancelled.safetensors"]
    assert loras(comfy, "cancelled.*") == ["cancelled.safetensors"]

    more = comfy.queue(graph(comfy, lora_name="cancelled", steps=reached + 3))
    assert [line.split(" of ")[0] for line in steps_shown(more)] == [f"step {reached + 3}"]
    assert loras(comfy, "cancelled.*") == ["cancelled.safetensors", f"cancelled.step{reached + 2:06d}.safetensors"]
    comfy.run(graph(comfy, lora_name="uninterrupted", steps=reached + 3))
    assert weights(comfy, "cancelled") == weights(comfy, "uninterrupted")


def failure(comfy, **widgets):
    with pytest.raises((NodeError, InvalidGraphError)) as caught:
        comfy.run(graph(comfy, **widgets))
    return str(caught.value)


@pytest.mark.once
def test_a_file_of_another_run_is_never_overwritten(comfy):
    comfy.run(graph(comfy, lora_name="taken"))
    path = comfy.base / "models" / "loras" / "taken.safetensors"
    before = path.read_bytes()
    message = failure(comfy, lora_name="taken", seed=43, rank=3)
    assert "lora_name: taken.safetensors exists already and was trained with other rank, seed" in message
    assert path.read_bytes() == before


@pytest.mark.once
def test_another_seed_is_saved_beside_the_first(comfy):
    """Many clients set every seed of a graph anew."""
    comfy.run(graph(comfy, lora_name="seeds"))
    first = comfy.base / "models" / "loras" / "seeds.safetensors"
    before = first.read_bytes()
    for _ in range(2):  # the second time it is found
        comfy.run(graph(comfy, lora_name="seeds", seed=43))
        assert loras(comfy, "seeds*") == ["seeds.safetensors", "seeds.seed43.safetensors"]
    assert first.read_bytes() == before != first.with_name("seeds.seed43.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "C:\\out", "what?", "", "CON", "a/../../out"])
def test_names_that_leave_the_folder_are_refused(comfy, name):
    before = loras(comfy, "*")
    message = failure(comfy, lora_name=name)
    assert "lora_name: got" in message and "Expected a plain name" in message
    assert loras(comfy, "*") == before


@pytest.mark.parametrize(
    "widgets",
    [
        {"steps": 0},
        {"learning_rate": 5.0},
        {"rank": 100_000},
        {"seed": -1},
        {"sigma": 0.0},
        {"precision": "fp8"},
        {"timestep_sampling": "cosine"},
        {"target_layers": "all"},
    ],
)
def test_values_out_of_range_are_refused_by_name(comfy, widgets):
    (name,) = widgets
    assert name in failure(comfy, lora_name="refused", **widgets)
    assert loras(comfy, "refused*") == []


def test_convolutions_are_refused_where_the_preset_means_t_lora(comfy):
    message = failure(comfy, lora_name="refused", preset="flexible", target_layers="convolutions")
    assert "target layers (target_layers): got 'convolutions', expected attention alone with T-LoRA" in message
    assert loras(comfy, "refused*") == []


def test_captions_must_fit_the_images(comfy):
    nodes = graph(comfy, lora_name="refused")
    nodes["three"] = {"class_type": "StoryBoothSubjectImages", "inputs": {"folder": "three", "default_caption": ""}}
    folder = comfy.base / "input" / "three"
    folder.mkdir(exist_ok=True)
    for index in range(3):
        Image.new("RGB", (64, 64)).save(folder / f"{index}.png")
    nodes["train"]["inputs"]["captions"] = ["three", 1]
    with pytest.raises(NodeError, match="captions: got 3 for 2 images"):
        comfy.run(nodes)


def test_a_folder_that_cannot_be_written_is_found_before_training(comfy):
    (comfy.base / "models" / "loras" / "blocked").write_text("a file, no folder")
    run = comfy.queue(graph(comfy, lora_name="blocked/toy"))
    with pytest.raises(NodeError, match="blocked cannot be made"):
        assert steps_shown(run) == []
    assert comfy.run(OTHER_WORKFLOW).images("save")


def test_the_seed_widget_stays_as_it_is_after_a_run(comfy):
    seed = comfy.object_info("StoryBoothLoraTrainer")["StoryBoothLoraTrainer"]["input"]["required"]["seed"]
    assert seed[1]["control_after_generate"] is False


def test_a_preset_is_the_run_of_its_settings_but_for_those_that_were_changed(comfy):
    comfy.run(graph(comfy, lora_name="preset", target_layers="self_and_cross_attention"))
    again = comfy.queue(graph(comfy, lora_name="preset", preset="strong likeness"))
    texts = [event.data["text"] for event in again if event.type == "progress_text"]
    assert "strong likeness: target layers self_and_cross_attention, rank stays 2\nTrained before:" in texts[-1]
    refused(comfy, graph(comfy, lora_name="preset", preset="strongest"), "preset", "strongest")


@pytest.mark.once
def test_options_at_their_defaults_are_the_same_run(comfy):
    comfy.run(graph(comfy, lora_name="default options"))
    again = comfy.queue(with_options(comfy, {"lora_name": "default options"}))
    assert steps_shown(again) == []


@pytest.mark.once
def test_all_options_train_together_and_their_file_loads(comfy):
    comfy.run(graph(comfy, lora_name="start"))
    options = {"aspect_ratio_buckets": True, "flip": True, "text_dropout": 0.2, "alpha": 1.0, "min_snr_gamma": 5.0}
    options |= {"noise_offset": 0.05, "lr_schedule": "cosine", "warmup_steps": 1, "feed_forward": True}
    options |= {"class_images": ["class", 0], "class_prompt": "a plush", "prior_weight": 0.5}
    options |= {"continue_from": "start.safetensors"}
    trainer = {"lora_name": "options", "batch_size": 2, "gradient_checkpointing": True}
    trainer |= {"target_layers": "self_attention_and_convolutions"}
    nodes = with_options(comfy, trainer, **options)
    nodes["class"] = {
        "class_type": "StoryBoothSubjectImages",
        "inputs": {"folder": photos(comfy), "default_caption": ""},
    }
    run = comfy.queue(nodes)
    shown = []
    for event in run:
        if event.type == "progress_text":
            shown.append(event.data["text"])
    assert sum(text.startswith("step") for text in shown) == STEPS
    assert "encoding image 4 of 4" in shown
    seen = len(comfy.log_text())
    assert pixels(comfy.run(load_lora("options.safetensors"))) == pixels(run)
    assert "NOT LOADED" not in comfy.log_text()[seen:] and "not loaded" not in comfy.log_text()[seen:]


@pytest.mark.once
def test_a_lora_to_continue_from_must_fit(comfy):
    comfy.run(graph(comfy, lora_name="rank2"))
    nodes = with_options(comfy, {"lora_name": "refused", "rank": 3}, continue_from="rank2.safetensors")
    with pytest.raises(NodeError, match=r"rank: got 3, but rank2.safetensors has rank 2"):
        comfy.run(nodes)
    folder = comfy.base / "models" / "loras"
    (folder / "pickled.pt").write_bytes(b"never opened")
    (folder / "damaged.safetensors").write_bytes(b"no safetensors")
    comfy.object_info("StoryBoothTrainingOptions")
    for name in ("nowhere.safetensors", "pickled.pt", "../pickled.pt"):
        with pytest.raises((NodeError, InvalidGraphError), match=rf"continue_from: .*{name}"):
            comfy.run(with_options(comfy, {"lora_name": "refused"}, continue_from=name))
    with pytest.raises(NodeError, match=r"continue_from: damaged.safetensors cannot be read as a LoRA"):
        comfy.run(with_options(comfy, {"lora_name": "refused"}, continue_from="damaged.safetensors"))
