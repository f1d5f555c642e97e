"""The front end of the oldest release takes labels only from locales/: they must be those of the nodes themselves."""

import json
from pathlib import Path

LABELS = Path(__file__).resolve().parents[2] / "locales" / "en" / "nodeDefs.json"


def test_the_old_front_end_shows_the_labels_of_the_nodes(comfy):
    expected = {}
    for node, info in comfy.object_info().items():
        if node.startswith("StoryBooth"):
            inputs = {
                key: {"name": spec[1]["display_name"]}
                for group in ("required", "optional")
                for key, spec in info["input"].get(group, {}).items()
                if spec[1]["display_name"] != key
            }
            if inputs:
                expected[node] = {"inputs": inputs}
    assert json.loads(LABELS.read_text(encoding="utf-8")) == expected
