"""The scripts that README and help pages print are scripts."""

import re

import pytest

from storybooth.comic.cast import Role
from storybooth.comic.storyboard import parse
from storybooth.workshop import ROOT


@pytest.mark.parametrize("page", ["README.md", "js/docs/StoryBoothStoryboard.md"])
def test_a_printed_script_can_be_drawn(page):
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    script = next(block for block in blocks if block.startswith("[id]"))
    panels = parse(script, "a blue sks plush")
    assert len(panels) == len(script.splitlines())
    assert [panel.identity for panel in panels] == [True, True, False, False], "two identity images come first"
    assert panels[1].hidden
    assert panels[3].plain
    assert panels[0].prompt.startswith("a blue sks plush, standing in")


@pytest.mark.parametrize(
    ("page", "parts"),
    [
        ("README.md", [0, 0, 2, 2]),
        ("js/docs/StoryBoothCharacter.md", [0, 0, 0, 2]),
        ("js/docs/StoryBoothStoryboard.md", [0, 0, 2, 2, 1]),
    ],
)
def test_a_printed_script_of_a_cast_can_be_drawn(page, parts):
    text = (ROOT / page).read_text(encoding="utf-8")
    (script,) = re.findall(r"^```\n(\[id\] \{nupjuki\}.*?)^```", text, re.MULTILINE | re.DOTALL)
    cast = Role("nupjuki", "a blue sks plush"), Role("bob", "a red sks robot")
    panels = parse(script, "", "none", cast)
    assert [panel.characters for panel in panels if panel.identity] == [("nupjuki",), ("bob",)]
    assert [len(panel.parts) for panel in panels] == parts
