"""The sheet on which pictures of a benchmark can be judged by eye."""

import pytest
import torch
from PIL import Image

from storybooth.development.benchmarks.by_eye import GAP, LABEL, LINE, MOST, sheet

SIDE, RED, BLUE = 64, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def row(*colours):
    return torch.stack([torch.tensor(colour).expand(SIDE, SIDE, 3) for colour in colours])


def test_rows_stand_behind_their_labels_and_below_their_titles(tmp_path):
    file = tmp_path / "sheet.jpg"
    sheet(file, {"cat": {"plain": row(RED, BLUE)}, "robot": {"plain": row(BLUE, RED)}}, ["at sea", "in snow"])
    assert file.stat().st_size <= MOST
    with Image.open(file) as made:
        assert made.size == (LABEL + 2 * (SIDE + GAP), 2 * (2 * LINE + SIDE + GAP))
        middles = [
            made.getpixel((LABEL + column * (SIDE + GAP) + SIDE // 2, top + 2 * LINE + SIDE // 2))
            for top in (0, 2 * LINE + SIDE + GAP)
            for column in (0, 1)
        ]
        written = made.convert("L").crop((0, 0, LABEL, 2 * LINE)).getextrema()
    red = [pixel[0] > pixel[2] for pixel in middles]
    assert red == [True, False, False, True]
    assert written[0] < 100


def test_a_sheet_that_would_be_too_large_is_refused(tmp_path):
    random = torch.Generator().manual_seed(0)
    noise = {"plain": torch.rand(5, 256, 256, 3, generator=random)}
    with pytest.raises(ValueError, match="8 rows do not fit into 250,000 bytes"):
        sheet(tmp_path / "sheet.jpg", {str(number): noise for number in range(8)}, ["a", "b", "c", "d", "e"])
    assert list(tmp_path.iterdir()) == []
