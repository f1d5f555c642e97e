"""The story without photos, trainer and page: a bank and its panels on Mini itself, and what its tests ask of it."""

import io

import numpy as np
import pytest
from PIL import Image

from storybooth.tests.host.story import graph
from storybooth.workshop.client import Graph, InvalidGraphError, NodeError

SCRIPT = "[id] {subject} in a forest # forest\n[id] {subject} at sea # sea\na house # house"


def story(script: str = SCRIPT) -> Graph:
    """Writer, patch and panels on Mini itself: the whole story without photos, trainer and page, in three steps."""
    nodes = graph("unused", "unused")
    for name in ("photos", "trainer", "page"):
        del nodes[name]
    nodes["storyboard"]["inputs"] |= {"script": script, "subject": "a ball", "style": "none"}
    nodes["writer"]["inputs"] |= {"model": ["mini", 0], "steps": 3}
    nodes["patch"]["inputs"]["model"] = ["mini", 0]
    nodes["panels"]["inputs"] |= {"seed_mode": "same", "steps": 3}
    nodes["save"]["inputs"] = {"images": ["panels", 0], "filename_prefix": "bank"}
    return nodes


def changed(nodes: dict, *, writer: dict | None = None, patch: dict | None = None, panels: dict | None = None) -> dict:
    for name, inputs in (("writer", writer), ("patch", patch), ("panels", panels)):
        nodes[name]["inputs"] |= inputs or {}
    return nodes


def pictures(run) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(data))) for data in run.images("save")]


def refused(comfy, nodes: dict, *says: str) -> None:
    """The graph is answered by a message with these parts, and the server lives on."""
    with pytest.raises((NodeError, InvalidGraphError)) as caught:
        comfy.run(nodes)
    message = str(caught.value)
    assert [part for part in says if part not in message] == [], message
    assert comfy.get_json("/system_stats")
