"""Identity banks on a real ComfyUI: other samplers and sizes, saved and loaded, and every bad input answered."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from storybooth.tests.host.bank_story import SCRIPT, changed, pictures, refused, story
from storybooth.tests.host.story import graph, upload_photos


@pytest.mark.parametrize("sampling", [
    {"sampler_name": "dpmpp_2m", "scheduler": "karras", "width": 96, "height": 64},
    {"sampler_name": "heun", "scheduler": "sgm_uniform", "cfg": 1.0},
    {"sampler_name": "ddim", "scheduler": "ddim_uniform", "steps": 7},
])  # fmt: skip
def test_other_samplers_and_sizes(comfy, sampling):
    run = comfy.run(changed(story(), writer=sampling, panels=sampling))
    panels = pictures(run)
    assert [panel.shape for panel in panels] == [(64, sampling.get("width", 64), 3)] * 3
    assert not np.array_equal(panels[0], panels[1])


def test_panels_of_another_size_and_step_count_read_the_same_bank(comfy):
    nodes = changed(story(), panels={"width": 96, "height": 72, "steps": 5, "scheduler": "karras"})
    del nodes["panels"]["inputs"]["bank"]
    assert [panel.shape for panel in pictures(comfy.run(nodes))] == [(72, 96, 3)] * 3


def test_a_wired_bank_of_another_size_is_no_trouble_where_no_identity_line_is_shown(comfy):
    hidden = SCRIPT.replace("[id]", "[id] [hidden]")
    nodes = changed(story(hidden), panels={"width": 96, "height": 72})
    assert [panel.shape for panel in pictures(comfy.run(nodes))] == [(72, 96, 3)]


def test_a_plain_line_is_drawn_as_without_a_bank(comfy):
    nodes = story(SCRIPT.replace("a house", "[plain] a house"))
    patched = pictures(comfy.run(nodes))
    nodes["panels"]["inputs"]["model"] = ["mini", 0]
    nodes["save"]["inputs"]["filename_prefix"] = "vanilla"
    assert np.array_equal(pictures(comfy.run(nodes))[2], patched[2])
    assert not np.array_equal(pictures(comfy.run(story()))[2], patched[2])


def test_identity_lines_show_the_identity_images(comfy):
    nodes = story()
    nodes["decode"] = {"class_type": "VAEDecode", "inputs": {"samples": ["writer", 1], "vae": ["mini", 2]}}
    nodes["identity"] = {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "identity"}}
    run = comfy.run(nodes)
    identity = [np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in run.images("identity")]
    for panel, image in zip(pictures(run), identity, strict=False):
        assert np.abs(panel - image).max() <= 1, "decoded alone or as a batch"


def test_a_saved_bank_draws_the_same_panels(comfy):
    nodes = story()
    nodes["keep"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "a/ball"}}
    before = pictures(comfy.run(nodes))
    assert (comfy.base / "models" / "identity_banks" / "a" / "ball.safetensors").is_file()
    listed = comfy.object_info("StoryBoothLoadIdentityBank")["StoryBoothLoadIdentityBank"]["input"]["required"]["name"]
    (name,) = [name for name in (listed[1].get("options") or listed[0]) if "ball" in name]
    nodes["load"] = {"class_type": "StoryBoothLoadIdentityBank", "inputs": {"name": name}}
    for reader in ("patch", "panels"):
        nodes[reader]["inputs"]["bank"] = ["load", 0]
    run = comfy.run(nodes)
    assert all(np.array_equal(one, other) for one, other in zip(before, pictures(run), strict=True))
    for node in ("keep", "load"):
        previews = [Image.open(io.BytesIO(data)) for data in run.images(node)]
        assert [preview.size for preview in previews] == [(8, 8)] * 2, "a pixel for each latent"
        assert previews[0].tobytes() != previews[1].tobytes()

    changed(nodes, writer={"seed": 6})
    refused(comfy, nodes, "name", "exists already")


ONLY_PLAIN = "[plain] a house\n[plain] {subject} at sea"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"writer": {"sampler_name": "warp"}}, ("sampler_name", "warp")),
        ({"writer": {"scheduler": "warp"}}, ("scheduler", "warp")),
        ({"writer": {"storage": "huge"}}, ("storage", "huge")),
        ({"writer": {"bank_dtype": "fp4"}}, ("bank_dtype", "fp4")),
        ({"writer": {"strength_32": 1.5}}, ("strength_32", "1.5")),
        ({"writer": {"early_probability": -1}}, ("early_probability", "-1")),
        ({"writer": {"start_step": -1}}, ("start_step", "-1")),
        ({"writer": {"steps": 0}}, ("steps", "0")),
        ({"writer": {"width": 100}, "panels": {"width": 100}}, ("width: got 100", "multiple of 8")),
        ({"panels": {"height": 100}}, ("height: got 100", "multiple of 8")),
        ({"panels": {"seed_mode": "dance"}}, ("seed_mode", "dance")),
        ({"panels": {"width": 128}}, ("bank: its identity images are 64 x 64", "128 x 64")),
        ({"patch": {"strength_64": 0.5}}, ("fine strength (strength_64): got 0.5", "0.4", "write the bank again")),
        ({"patch": {"start_step": 0}}, ("start step (start_step): got 0", "at least 1")),
        ({"patch": {"early_probability": 0.9}}, ("early probability (early_probability): got 0.9", "0.8")),
        ({"writer": {"cfg": 1.0}}, ("bank: it was written at cfg 1", "unconditional")),
        (
            {
                "writer": {"width": 8192, "height": 8192, "storage": "full", "steps": 1000},
                "panels": {"width": 8192, "height": 8192},
            },
            ("storage:", "GiB", "free"),
        ),
    ],
)
def test_bad_input_is_answered(comfy, changes, says):
    refused(comfy, changed(story(), **changes), *says)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (ONLY_PLAIN, ("storyboard:", "[id]")),
        ("", ("script", "empty")),
        ("[wobble] a house", ("wobble", "1")),
        ("[id] (a house:1e20)", ("writer", "model:", "not finite", "(word:1e20)")),
        ("[id] a ball\n[plain] (a house:1e20)", ("panels", "model:", "not finite")),
    ],
)
def test_bad_scripts_are_answered(comfy, script, says):
    refused(comfy, story(script), *says)


def test_one_identity_line_is_enough_and_says_so(comfy):
    events = list(comfy.queue(story("[id] {subject} at sea\na house")))
    assert any("one [id] line" in event.data["text"] for event in events if event.type == "progress_text")


def test_identity_lines_that_the_bank_does_not_hold(comfy):
    nodes = story()
    nodes["other"] = {
        "class_type": "StoryBoothStoryboard",
        "inputs": {**nodes["storyboard"]["inputs"], "script": "[id] {subject} on Mars\n[id] {subject} at sea"},
    }
    nodes["panels"]["inputs"]["storyboard"] = ["other", 0]
    refused(comfy, nodes, "bank: it holds other identity images", "a ball on Mars")


def test_a_bank_of_another_lora(comfy):
    upload_photos(comfy, "another-lora")
    nodes = {**graph("another-lora", "another-lora"), **story()}
    nodes["patch"]["inputs"]["model"] = ["trainer", 0]
    del nodes["page"]
    refused(comfy, nodes, "bank: it was written without a LoRA", "carries one")


@pytest.mark.parametrize("scheduled", [True, False])
def test_prompts_that_carry_hooks(comfy, scheduled):
    save_file({"any.lora_down.weight": torch.zeros(1, 1)}, comfy.base / "models" / "loras" / "hook.safetensors")
    lora = {"lora_name": "hook.safetensors", "strength_model": 1.0, "strength_clip": 0.0}
    frames = {"strength_start": 0.0, "strength_end": 1.0, "interpolation": "linear", "start_percent": 0.0}
    frames |= {"end_percent": 1.0, "keyframes_count": 3, "print_keyframes": False}
    clip = {"clip": ["mini", 1], "hooks": ["on", 0], "apply_to_conds": True, "schedule_clip": scheduled}
    nodes = {
        "hook": {"class_type": "CreateHookLora", "inputs": lora},
        "frames": {"class_type": "CreateHookKeyframesInterpolated", "inputs": frames},
        "on": {"class_type": "SetHookKeyframes", "inputs": {"hooks": ["hook", 0], "hook_kf": ["frames", 0]}},
        "clip": {"class_type": "SetClipHooks", "inputs": clip},
        **story(),
    }
    nodes["storyboard"]["inputs"]["clip"] = ["clip", 0]
    refused(comfy, nodes, "storyboard: its CLIP carries hooks", "without Set CLIP Hooks")


def test_identity_prompts_of_very_different_lengths(comfy):
    long = [f"[id] a ball {' '.join(['far away'] * words)}" for words in (250, 300, 350, 400)]
    refused(comfy, story("\n".join(long)), "storyboard: its [id] lines have prompts of", "tokens", "Shorten them")


@pytest.mark.parametrize("name", ["/tmp/x", "../x", "a/../../x", "", "a<b", "NUL", "x" * 300])
def test_bank_names_that_are_refused(comfy, name):
    nodes = story()
    nodes["keep"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": name}}
    refused(comfy, nodes, "name")


def test_files_that_are_no_banks(comfy):
    folder = comfy.base / "models" / "identity_banks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"no safetensors at all")
    nodes = story()
    nodes["load"] = {"class_type": "StoryBoothLoadIdentityBank", "inputs": {"name": "broken.safetensors"}}
    nodes["patch"]["inputs"]["bank"] = ["load", 0]
    comfy.object_info("StoryBoothLoadIdentityBank")
    refused(comfy, nodes, "broken.safetensors", "not an identity bank")
    keep = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "broken"}}
    refused(comfy, {**story(), "keep": keep}, "name: broken exists already and holds something else", "delete")
    assert (folder / "broken.safetensors").read_bytes() == b"no safetensors at all"
    nodes["load"]["inputs"]["name"] = "../../outside.safetensors"
    refused(comfy, nodes, "name: there is no '../../outside.safetensors'", "Press R, or write it")


def test_what_is_kept_goes_when_comfyui_frees_memory(comfy):
    def writes(caption: str) -> bool:
        """Whether a story with this caption writes its bank; the caption makes ComfyUI run the nodes in any case."""
        inputs = {"seed": 4711, "steps": 2}
        nodes = changed(story(f"[id] a ball # {caption}\n[id] a ball at sea\na house"), writer=inputs, panels=inputs)
        return any(event.type == "progress" and event.data["node"] == "writer" for event in comfy.queue(nodes))

    assert writes("one")
    assert not writes("two"), "it is found again"
    comfy.free()
    assert writes("three")
