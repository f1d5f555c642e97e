"""A sheet of stories in rows, to judge by eye what a benchmark measures."""

from collections.abc import Mapping, Sequence
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


def sheet(file: Path, stories: Mapping[str, Mapping[str, torch.Tensor]], columns: Sequence[str]) -> None:
    """Write a JPEG of at most MOST bytes: for each title, a row of pictures (n, side, side, 3) behind each label, below
    the names of the columns. Raises ValueError where it cannot be made so small."""
    rows = [(label, row) for story in stories.values() for label, row in story.items()]
    side, count = rows[0][1].shape[1], len(columns)
    size = LABEL + count * (side + GAP), len(stories) * 2 * LINE + len(rows) * (side + GAP)
    made = Image.new("RGB", size, "white")
    draw, large, small = ImageDraw.Draw(made), ImageFont.load_default(18), ImageFont.load_default(15)
    top = 0
    for title, story in stories.items():
        draw.text((GAP, top + 2 * LINE - 8), title, "black", large, anchor="ls")
        for column, name in enumerate(columns):
            middle = LABEL + column * (side + GAP) + side / 2
            draw.text((middle, top + 2 * LINE - 8), name, "black", small, anchor="ms")
        top += 2 * LINE
        for label, row in story.items():
            draw.text((GAP, top + side / 2), label, "black", small, anchor="lm")
            for column, picture in enumerate(row):
                made.paste(to_pil(picture), (LABEL + column * (side + GAP), top))
            top += side + GAP
    for quality in (92, 85, 75, 60):
        made.save(held := BytesIO(), "JPEG", quality=quality)
        if len(held.getbuffer()) <= MOST:
            break
    else:
        raise ValueError(f"{file}: {len(rows)} rows do not fit into {MOST:,} bytes. Show fewer subjects or settings.")
    write_whole(file, lambda path: path.write_bytes(held.getvalue()))
