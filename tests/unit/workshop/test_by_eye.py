"""The sheet on which pictures of a benchmark can be judged by eye."""

import pytest
import torch
from PIL import Image

from storybooth.development.benchmarks.by_eye import GAP, LABEL, LINE, MOST, Rows, sheet

SIDE, RED, BLUE = 64, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def row(*colours):
    return torch.stack([torch.tensor(colour).expand(SIDE, SIDE, 3) for colour in colours])


def test_photos_and_stories_stand_behind_their_labels(tmp_path):
    file = tmp_path / "sheet.jpg"
    cat, robot = (Rows(row(RED, RED), {"plain": row(*colours)}) for colours in ((RED, BLUE), (BLUE, RED)))
    sheet(file, {"cat": cat, "robot": robot}, ["at sea", "in snow"])
    assert file.stat().st_size <= MOST
    height = 2 * SIDE + LINE + 3 * GAP
    with Image.open(file) as made:
        assert made.size == (LABEL + 2 * (SIDE + GAP), 2 * height)
        pixels = [
            made.getpixel((LABEL + column * (SIDE + GAP) + SIDE // 2, top + SIDE // 2))
            for top in (0, SIDE + LINE, height, height + SIDE + LINE)
            for column in (0, 1)
        ]
        grey = made.convert("L")
    assert [pixel[0] > pixel[2] for pixel in pixels] == [True, True, True, False, True, True, False, True]
    for words in ((0, 0, LABEL, SIDE), (LABEL, SIDE, LABEL + SIDE, SIDE + LINE), (0, SIDE + LINE, LABEL, height)):
        assert grey.crop(words).getextrema()[0] < 100, words


def test_a_sheet_that_would_be_too_large_is_refused(tmp_path):
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(5, 256, 256, 3, generator=random)
    with pytest.raises(ValueError, match="8 rows do not fit into 250,000 bytes"):
        sheet(
            tmp_path / "sheet.jpg",
            {str(number): Rows(noise, {"plain": noise}) for number in range(4)},
            ["a", "b", "c", "d", "e"],
        )
    assert list(tmp_path.iterdir()) == []
