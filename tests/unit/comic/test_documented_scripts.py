"""The scripts that README and help pages print are scripts."""

import re

import pytest

from storybooth.comic.storyboard import parse
from storybooth.workshop import ROOT


@pytest.mark.parametrize("page", ["README.md", "js/docs/StoryBoothStoryboard.md"])
def test_a_printed_script_can_be_drawn(page):
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (script,) = (block for block in blocks if block.startswith("[id]"))
    panels = parse(script, "a blue sks plush")
    assert len(panels) == len(script.splitlines())
    assert [panel.identity for panel in panels] == [True, True, False, False], "two identity images come first"
    assert panels[1].hidden
    assert panels[3].plain
    assert panels[0].prompt.startswith("a blue sks plush, standing in")
