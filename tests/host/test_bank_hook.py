"""Banks by hook, as the template storybooth_two_characters_mini has them, and nodes that no bank can be used with."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from storybooth.tests.host.bank_story import refused, story
from storybooth.workshop import ROOT
from storybooth.workshop.client import Graph


def regions() -> Graph:
    """The template in four steps of 64 pixels; node 20 saves the picture."""
    nodes = json.loads((ROOT / "workflows" / "api" / "storybooth_two_characters_mini.json").read_text(encoding="utf-8"))
    for node in nodes.values():
        size = {"width": 32 if node["inputs"].get("width") == 144 else 64, "height": 64}
        node["inputs"] |= {name: value for name, value in {**size, "steps": 4}.items() if name in node["inputs"]}
    return nodes


def picture(comfy, nodes: Graph) -> np.ndarray:
    (data,) = comfy.run(nodes).images("20")
    return np.asarray(Image.open(io.BytesIO(data)))


def test_each_hook_changes_the_picture_and_a_model_without_hooks_is_left_alone(comfy):
    both = picture(comfy, regions())
    for conditioning in ("15", "16"):
        nodes = regions()
        del nodes[conditioning]["inputs"]["hooks"]
        assert not np.array_equal(both, picture(comfy, nodes))
    nodes = regions()
    for node in ("6", "7"):
        nodes[node]["inputs"]["strength_32"] = nodes[node]["inputs"]["strength_64"] = 0.0
    off = picture(comfy, nodes)
    for node in ("15", "16"):
        del nodes[node]["inputs"]["hooks"]
    nodes["18"]["inputs"]["denoise"] = 1  # the same number, written so that nothing comes from ComfyUI's cache
    assert np.array_equal(off, picture(comfy, nodes))


def test_keyframes_turn_a_hook_off(comfy):
    def keyframed(strength):
        frame = {"strength_mult": strength, "start_percent": 0.0}
        nodes = regions()
        for hook in ("6", "7"):
            nodes[f"frame {hook}"] = {"class_type": "CreateHookKeyframe", "inputs": frame}
            on = {"hooks": [hook, 0], "hook_kf": [f"frame {hook}", 0]}
            nodes[f"on {hook}"] = {"class_type": "SetHookKeyframes", "inputs": on}
        nodes["15"]["inputs"]["hooks"], nodes["16"]["inputs"]["hooks"] = ["on 6", 0], ["on 7", 0]
        return picture(comfy, nodes)

    plain = regions()
    for node in ("15", "16"):
        del plain[node]["inputs"]["hooks"]
    on, off = picture(comfy, regions()), picture(comfy, plain)
    # With hooks ComfyUI evaluates other prompts together, which rounds otherwise.
    rounding = np.abs(keyframed(0.0).astype(int) - off).max()
    assert rounding <= 2 < 20 < np.abs(on.astype(int) - off).max()
    assert np.array_equal(keyframed(1.0), on)


def test_a_hook_of_a_bank_that_the_model_did_not_write(comfy):
    nodes = regions()
    nodes["freeu"] = {"class_type": "ModelMergeSubtract", "inputs": {"model1": ["1", 0], "model2": ["1", 0]}}
    nodes["freeu"]["inputs"]["multiplier"] = 0.5
    nodes["18"]["inputs"]["model"] = ["freeu", 0]
    refused(comfy, nodes, "bank: it was written without a LoRA", "the model carries one")


HYPERTILE = {"tile_size": 32, "swap_size": 2, "max_depth": 2, "scale_depth": False}
WINDOWS = {"context_length": 6, "context_overlap": 2, "context_schedule": "standard_static", "context_stride": 1}
WINDOWS |= {"closed_loop": False, "fuse_method": "pyramid", "dim": 3, "freenoise": False}


@pytest.mark.parametrize(
    ("socket", "node", "inputs", "says"),
    [
        ("writer", "HyperTile", HYPERTILE, ("model: HyperTile", "Remove HyperTile")),
        ("patch", "HyperTile", HYPERTILE, ("model: HyperTile", "Remove HyperTile")),
        ("panels", "HyperTile", HYPERTILE, ("model: HyperTile", "Remove HyperTile")),
        ("writer", "ContextWindowsManual", WINDOWS, ("model: Context Windows", "panels may have them")),
    ],
)
def test_nodes_that_cannot_be_used_with_a_bank_are_named(comfy, socket, node, inputs, says):
    nodes = story()
    required = comfy.object_info()[node]["input"]["required"]  # newer releases ask for more
    defaults = {name: options["default"] for name, (_, options) in required.items() if "default" in options}
    between = {**defaults, **inputs, "model": nodes[socket]["inputs"]["model"]}
    nodes["between"] = {"class_type": node, "inputs": between}
    nodes[socket]["inputs"]["model"] = ["between", 0]
    refused(comfy, nodes, *says)
