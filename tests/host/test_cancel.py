"""Cancel at every stage of every node that takes longer than a second: heard in the node itself, and at once."""

import os

import psutil
import pytest
from PIL import Image

from storybooth.tests.host.bank_story import changed, story
from storybooth.tests.host.trainings import graph
from storybooth.workshop.client import CancelledError, Graph

AT_ONCE = 3.0
"""Seconds that the server itself computes: a step of Mini takes a fraction of one, however busy the machine is, and
each stage below many times as long."""

LINES = "\n".join(f"[seed={number}] a house, number {number}" for number in range(1500))


def large_photos(comfy) -> Graph:
    """60 photos that take a twentieth of a second each to read."""
    folder = comfy.base / "input" / "large"
    folder.mkdir(exist_ok=True)
    Image.linear_gradient("L").convert("RGB").resize((2400, 2400)).save(folder / "00.bmp")
    for number in range(1, 60):
        if not (folder / f"{number:02}.bmp").exists():
            os.link(folder / "00.bmp", folder / f"{number:02}.bmp")
    nodes = graph(comfy, lora_name="halted photos")
    nodes["photos"]["inputs"]["folder"] = "large"
    return nodes


def many_captions(comfy) -> Graph:
    nodes = graph(comfy, lora_name="halted captions")
    nodes["photos"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "color": 0}}
    nodes["photos"]["inputs"]["batch_size"] = 1500
    captions = ", ".join(f'"a ball, number {number}"' for number in range(1500))
    nodes["list"] = {"class_type": "TestListOf", "inputs": {"values": f"[{captions}]"}}
    nodes["train"]["inputs"]["captions"] = ["list", 0]
    return nodes


def many_images(comfy) -> Graph:
    nodes = many_captions(comfy)
    del nodes["train"]["inputs"]["captions"], nodes["list"]
    return nodes


def training(comfy) -> Graph:
    return graph(comfy, lora_name="halted steps", steps=10_000)


def sampling_on_the_way(comfy) -> Graph:
    return graph(comfy, lora_name="halted samples", steps=10_000, sample_every=1)


def long_story(comfy) -> Graph:
    return story(f"[id] a ball\n[id] a cat\n{LINES}")


def writing(comfy) -> Graph:
    return changed(story(), writer={"steps": 1000, "scheduler": "normal"})


def drawing(comfy) -> Graph:
    nodes = changed(story(), panels={"steps": 1000})
    nodes["panels"]["inputs"]["model"] = ["mini", 0]
    del nodes["panels"]["inputs"]["bank"]
    return nodes


def many_pictures(comfy) -> Graph:
    """A page of panels that are large enough to take a while."""
    nodes = story("\n".join(["[plain] a house"] * 40))
    size = {"width": 1000, "height": 1000, "batch_size": 40, "color": 0}
    nodes["pictures"] = {"class_type": "EmptyImage", "inputs": size}
    page = {"images": ["pictures", 0], "storyboard": ["storyboard", 0], "columns": 8, "gutter": 8, "caption_size": 0}
    nodes["page"] = {"class_type": "StoryBoothComicPage", "inputs": {**page, "caption_place": "below", "font": ""}}
    nodes["save"]["inputs"] = {"images": ["page", 0], "filename_prefix": "never"}
    return {name: nodes[name] for name in ("mini", "storyboard", "pictures", "page", "save")}


def computed(comfy) -> float:
    """Seconds that the server has computed so far."""
    times = psutil.Process(comfy.pid).cpu_times()
    return times.user + times.system


@pytest.mark.parametrize(
    ("make", "node", "after"),
    [
        (large_photos, "photos", ""),
        (many_captions, "train", ""),
        (many_images, "train", "encoding image 3 "),
        (training, "train", "step 2 "),
        (sampling_on_the_way, "train", "step 2 "),
        (long_story, "storyboard", ""),
        (writing, "writer", "progress"),
        (drawing, "panels", "progress"),
        (many_pictures, "page", ""),
    ],
)
def test_cancel_is_heard_at_once(comfy, make, node, after):
    nodes = make(comfy)
    run, asked = comfy.queue(nodes), 0.0
    with pytest.raises(CancelledError):
        for event in run:
            kind, data = event.type, event.data
            # Comic Page begins twice: it looks at the captions before it asks for its pictures.
            ready = "pictures" not in nodes or "pictures" in run.executed
            begun = kind == "executing" and data["node"] == node and not after and ready
            shown = kind == "progress_text" and after and data["text"].startswith(after)
            moved = kind == after and data["node"] == node and data["value"] > 1
            if not asked and (begun or shown or moved):
                comfy.interrupt()
                asked = computed(comfy)
    assert asked and computed(comfy) - asked < AT_ONCE
    assert run.executed[-1] == node, "the node that is to hear it"
