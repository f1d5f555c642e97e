"""What must hold between a bank and what reads it, whatever the order of nodes; and how they are told apart."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from storybooth.tests.host.bank_story import changed, pictures, refused, story
from storybooth.workshop.client import Graph


@pytest.fixture(autouse=True, scope="module")
def lora(comfy):
    """A LoRA for one self-attention layer of Mini that reads banks."""
    layer, width = "lora_unet_output_blocks_1_1_transformer_blocks_3_attn1_to_k", 64
    made = torch.Generator().manual_seed(0)
    up, down = torch.randn(width, 2, generator=made), torch.randn(2, width, generator=made)
    tensors = {f"{layer}.lora_up.weight": up / 4, f"{layer}.lora_down.weight": down}
    folder = comfy.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "one_layer.safetensors")


def with_lora(nodes: Graph, name: str, model: str) -> str:
    """Add a LoRA to a model; return the name of its node."""
    inputs = {"model": [model, 0], "lora_name": "one_layer.safetensors", "strength_model": 1.0}
    nodes[name] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    return name


def resampled(nodes: Graph, name: str, model: str) -> str:
    """Add a node that says the model predicts v; return its name."""
    inputs = {"model": [model, 0], "sampling": "v_prediction", "zsnr": False}
    nodes[name] = {"class_type": "ModelSamplingDiscrete", "inputs": inputs}
    return name


def wired(nodes: Graph, **models: str) -> Graph:
    """Wire models; the panel sampler takes no bank, so that only the patch knows one."""
    for name, model in models.items():
        nodes[name]["inputs"]["model"] = [model, 0]
    nodes["panels"]["inputs"].pop("bank", None)
    return nodes


LORA = ("bank: it was written without a LoRA, and the model carries one", "same strength")
SAMPLING = ("bank: it was written by a model that predicts EPS, 1000 noise levels", "predicts V_PREDICTION")


@pytest.mark.parametrize(("add", "says"), [(with_lora, LORA), (resampled, SAMPLING)])
def test_nodes_count_before_the_patch_and_behind_it(comfy, add, says):
    nodes = story()
    refused(comfy, wired(nodes, panels=add(nodes, "behind", "patch")), *says)
    nodes = story()
    refused(comfy, wired(nodes, patch=add(nodes, "before", "mini")), *says)


@pytest.mark.parametrize("add", [with_lora, resampled])
def test_the_same_nodes_for_both_will_do_in_any_order(comfy, add):
    before, behind = story(), story()
    for nodes in (before, behind):
        wired(nodes, writer=add(nodes, "written", "mini"))
    wired(before, patch="written")
    wired(behind, panels=add(behind, "behind", "patch"))
    behind["save"]["inputs"]["filename_prefix"] = "behind"
    one, other = (pictures(comfy.run(nodes)) for nodes in (before, behind))
    assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize(("add", "says"), [(with_lora, LORA), (resampled, SAMPLING)])
def test_panels_beside_identity_images_come_from_the_same_network(comfy, add, says):
    nodes = story()
    nodes["panels"]["inputs"]["model"] = [add(nodes, "other", "mini"), 0]
    refused(comfy, nodes, "PanelSampler", *says)


@pytest.mark.parametrize(("steps", "denoise"), [(8, 0.5), (4, 0.3)])
def test_a_second_pass_goes_below_what_was_written(comfy, steps, denoise):
    nodes = changed(story(), writer={"steps": 4, "scheduler": "simple"})
    again = {"seed": 1, "steps": steps, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple", "denoise": denoise}
    nodes["words"] = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["mini", 1], "text": "a ball"}}
    nodes["larger"] = {
        "class_type": "LatentUpscale",
        "inputs": {"samples": ["writer", 1], "upscale_method": "bilinear", "width": 96, "height": 96}
        | {"crop": "disabled"},
    }
    wires = {"positive": ["words", 0], "negative": ["words", 0], "latent_image": ["larger", 0]}
    pictures_of = {}
    for model in ("patch", "mini"):
        nodes["again"] = {"class_type": "KSampler", "inputs": {"model": [model, 0], **wires, **again}}
        nodes["panels"] = {"class_type": "VAEDecode", "inputs": {"samples": ["again", 0], "vae": ["mini", 2]}}
        nodes["save"]["inputs"]["filename_prefix"] = f"second pass {model}"
        pictures_of[model] = pictures(comfy.run(nodes))
    assert not np.array_equal(pictures_of["patch"][0], pictures_of["mini"][0]), "the bank is read"


@pytest.mark.parametrize("sampler", ["ddim", "euler_ancestral"])
def test_the_largest_seed_is_one(comfy, sampler):
    seed = {"seed": 2**64 - 1, "sampler_name": sampler}
    nodes = story(f"[id] a ball\n[id] [seed={2**64 - 1}] a cat\n[seed={2**64 - 1}] a house")
    assert len(pictures(comfy.run(changed(nodes, writer=seed, panels=seed)))) == 3


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("[id] {subject} at sea\n[id] {subject} in a forest", "the same lines in another order"),
        ("[id] {subject} at sea\na house", "1 lines instead of the 2 that it holds"),
        ("[id] {subject} in a forest\n[id] {subject} at sea\n[id] {subject} at sea", "3 lines instead of the 2"),
    ],
)
def test_identity_lines_in_another_order_or_number(comfy, script, says):
    nodes = story()
    script = {**nodes["storyboard"]["inputs"], "script": script}
    nodes["other"] = {"class_type": "StoryBoothStoryboard", "inputs": script}
    nodes["panels"]["inputs"]["storyboard"] = ["other", 0]
    refused(comfy, nodes, "bank: it holds other identity images", says)


def told(comfy, nodes: Graph) -> str:
    """All that the panel sampler says of itself."""
    events = [event.data for event in comfy.queue(nodes) if event.type == "progress_text"]
    return " ".join(event["text"] for event in events if event["node"] == "panels")


def test_another_negative_prompt_is_said_on_the_node(comfy):
    nodes = story()
    other = {**nodes["storyboard"]["inputs"], "negative": "sharp"}
    assert "negative" not in told(comfy, nodes)
    nodes["other"] = {"class_type": "StoryBoothStoryboard", "inputs": other}
    nodes["panels"]["inputs"]["storyboard"] = ["other", 0]
    assert "drawn with another negative prompt (blurry)" in told(comfy, nodes)


def test_a_bank_file_that_was_replaced_is_opened_again(comfy):
    folder = comfy.base / "models" / "identity_banks"
    for name, seed in (("first", 5), ("second", 6)):
        nodes = changed(story(), writer={"seed": seed})
        inputs = {"bank": ["writer", 0], "name": name}
        nodes["keep"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": inputs}
        comfy.run(nodes)
    nodes = story()
    nodes["load"] = {"class_type": "StoryBoothLoadIdentityBank", "inputs": {"name": "first.safetensors"}}
    for reader in ("patch", "panels"):
        nodes[reader]["inputs"]["bank"] = ["load", 0]
    comfy.object_info("StoryBoothLoadIdentityBank")
    before, made = pictures(comfy.run(nodes)), (folder / "first.safetensors").stat()
    (folder / "second.safetensors").replace(folder / "first.safetensors")
    os.utime(folder / "first.safetensors", ns=(made.st_atime_ns, made.st_mtime_ns))
    after = pictures(comfy.run(nodes))
    assert not any(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_a_bank_in_another_folder_is_no_new_name(comfy):
    nodes = story()
    nodes["keep"] = {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "placed"}}
    comfy.run(nodes)
    path = comfy.base / "models" / "identity_banks" / "placed.safetensors"
    other = comfy.base / "more_models" / "identity_banks" / path.name
    other.parent.mkdir(parents=True, exist_ok=True)
    path.rename(other)
    refused(comfy, changed(nodes, writer={"seed": 7}), "name: placed exists already", str(other))
    assert not path.exists()
