"""Two toys in one picture: with a part for each both are what their prompts say, from one prompt they are not.

See two_characters.py; development/benchmarks/two_characters.py measures the same at length.
"""

import pytest
from PIL import Image

from storybooth.workshop.host import NEWEST

# Both releases draw the same pixels (test_mini.py): one of them is enough.
pytestmark = pytest.mark.parametrize("comfyui_folder", [NEWEST], indirect=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two_characters")


@pytest.fixture(scope="module")
def measured(measure_within, comfyui_folder, folder):
    return measure_within("two_characters.py", folder)


def share(rows, way, measure="own"):
    found = [row[measure] for row in rows if row.get("way") == way]
    return sum(found) / len(found)


def test_toys_with_a_part_each_are_their_own(measured):
    rows = measured[0]["rows"]
    assert share(rows, "a part each") > 0.8, rows
    assert share(rows, "one prompt", "either way round") < share(rows, "a part each") - 0.2, rows


def test_toys_alone_are_told_apart(measured):
    alone = [row["own"] for row in measured[0]["rows"] if "toy" in row]
    assert len(alone) == 4
    assert min(alone) > 0.6, measured


def test_what_is_drawn_is_drawn_once(measured, folder):
    once, again = measured
    assert once == again
    assert "**" in once["tables"]
    with Image.open(folder / "sheet.png") as picture:
        assert picture.width == 2 * (256 + 6)
