"""A sheet of stories in rows, to judge by eye what a benchmark measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from storybooth.files import write_whole
from storybooth.pixels import to_pil

LABEL, LINE, GAP = 190, 30, 4
"""Pixels: the width of labels, the height of a line of words, and what lies between pictures."""
MOST = 250_000
"""Bytes of a sheet."""


@dataclass(frozen=True)
class Rows:
    """Pictures of one size, (n, side, side, 3) from 0 to 1: photos of somebody, and stories by what made them."""

    photos: torch.Tensor
    stories: Mapping[str, torch.Tensor]


def sheet(file: Path, subjects: Mapping[str, Rows], columns: Sequence[str]) -> None:
    """Write a JPEG of at most MOST bytes: for each subject its photos, the names of the columns, and its stories.

    Raises ValueError where it cannot be made so small.
    """
    rows = sum(1 + len(shown.stories) for shown in subjects.values())
    side = next(iter(subjects.values())).photos.shape[1]
    size = LABEL + len(columns) * (side + GAP), len(subjects) * (LINE + GAP) + rows * (side + GAP)
    made = Image.new("RGB", size, "white")
    draw, large, small = ImageDraw.Draw(made), ImageFont.load_default(17), ImageFont.load_default(15)
    lefts, top = [LABEL + column * (side + GAP) for column in range(len(columns))], 0

    def put(label: str, font: ImageFont.FreeTypeFont, pictures: torch.Tensor) -> None:
        draw.text((GAP, top + side / 2), label, "black", font, anchor="lm")
        for left, picture in zip(lefts, pictures, strict=False):
            made.paste(to_pil(picture), (left, top))

    for name, shown in subjects.items():
        put(f"{name}: photos", large, shown.photos)
        top += side + LINE
        for left, column in zip(lefts, columns, strict=True):
            draw.text((left + side / 2, top - 9), column, "black", small, anchor="ms")
        for label, pictures in shown.stories.items():
            put(label, small, pictures)
            top += side + GAP
        top += 2 * GAP
    for quality in (92, 85, 75, 60):
        made.save(held := BytesIO(), "JPEG", quality=quality)
        if len(held.getbuffer()) <= MOST:
            break
    else:
        raise ValueError(f"{file}: {rows} rows do not fit into {MOST:,} bytes. Show fewer subjects or settings.")
    write_whole(file, lambda path: path.write_bytes(held.getvalue()))
