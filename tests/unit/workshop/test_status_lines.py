"""The shapes by which the canvas knows what nodes say of themselves are those of what Python says."""

import ast
import re

import pytest

from storybooth.training.presets import PRESETS, with_preset
from storybooth.workshop import ROOT

SHAPES = re.findall(r'\bshape\("([^"]+)"\)', (ROOT / "js" / "status_lines.js").read_text(encoding="utf-8"))
ROOMS = ("nodes", "training", "consistency", "comic")


def said_in_python():
    """Every text of the sources, a list of the pieces between the values of each."""
    files = [ROOT / "photo_files.py", *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.JoinedStr | ast.Constant):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            yield " ".join(
                part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


def test_every_shape_is_of_words_that_python_says():
    texts = list(said_in_python())
    pieces = {piece.strip(" .") for shape in SHAPES for piece in re.split(r"\{\w+\}|: ?|, ", shape)}
    assert len(SHAPES) > 20
    assert [piece for piece in pieces if not any(piece in text for text in texts)] == []


@pytest.mark.parametrize("preset", [preset for preset, said in PRESETS.items() if said])
def test_what_a_preset_means_has_shapes(preset):
    """Each setting of it, as the preset says it and where somebody has changed it."""
    for given in ({}, dict.fromkeys(PRESETS[preset], 7)):
        name, settings = with_preset(preset, given)[1].split(": ")
        assert f"{name}: {{settings}}" in SHAPES
        for said in settings.split(", "):
            label, stays, _ = said.partition(" stays ")
            assert (label if stays else f"{label.rpartition(' ')[0]} {{value}}") in SHAPES
    assert "{setting} stays {value}" in SHAPES
