"""A page while it is laid out: the picture itself, and what lies where on it.

Who only wants the picture takes `Sheet.picture`. Files whose text can be selected, or whose layers lie apart, are made
of the rest: it says once more, in numbers, what was drawn. All lengths are pixels of the page, from its top left.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

HALO = "white"
"""The colour of the edge around letters that stand on a picture."""

Colour = tuple[int, int, int, int]
"""Red, green, blue and opacity, each up to 255."""


@dataclass(frozen=True)
class Panel:
    """A picture on the page. RGBA where a mask lets only a part of it be seen."""

    left: int
    top: int
    picture: Image.Image


@dataclass(frozen=True)
class Shape:
    """A filled outline, such as a bubble or the veil below a caption: its corners, in turn.

    `outline`: colour of its line, `width` pixels wide, or None.
    """

    corners: tuple[tuple[float, float], ...]
    fill: Colour
    outline: Colour | None = None
    width: int = 0


@dataclass(frozen=True)
class Word:
    """A word of a line, and where it lies."""

    text: str
    left: float
    width: float


@dataclass(frozen=True)
class Line:
    """A line of text: where it begins on the left, its baseline, and how far its letters reach.

    `ascent` and `descent`: from the baseline up and down. `family` and `face`: the font's name, and which of its family
    it is, such as "Bold"; `font`: its file, "" for Pillow's own. `passage`: which of the sheet's `texts` it is of.
    `right_to_left`: it is read from the right; `text` and `words` are in the order of reading all the same. `vertical`:
    it is a column. It begins at `baseline`, and `width`, as its words' places, is how far down it reaches from there;
    across, it reaches from `left` as far as `ascent` and `descent` together. `halo`: the letters have an edge so many
    pixels wide all around, in the colour of paper.
    """

    text: str
    words: tuple[Word, ...]
    left: float
    baseline: float
    width: float
    ascent: int
    descent: int
    size: float
    family: str
    face: str
    font: str
    ink: tuple[int, int, int]
    passage: int
    right_to_left: bool = False
    vertical: bool = False
    halo: int = 0


@dataclass
class Sheet:
    """A page in the making. What is added first lies undermost.

    `picture` is RGB. `panels`, `shapes` and `lines` are three layers, from below to above: what was drawn. `texts` are
    the captions and speeches that the lines were broken from, in the order of reading. `right_to_left`: how the page is
    read, where its layout says so.
    """

    picture: Image.Image
    panels: list[Panel] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    right_to_left: bool | None = None

    @classmethod
    def empty(cls, size: tuple[int, int], paper: str | tuple[int, int, int]) -> "Sheet":
        """A page of nothing but paper."""
        return cls(Image.new("RGB", size, paper))

    def panel(self, picture: Image.Image, left: int, top: int, mask: Image.Image | None = None) -> None:
        """Lay a picture on the page; of a `mask` (mode L, of the same size) it is seen where that is white."""
        self.picture.paste(picture, (left, top), mask)
        if mask is not None:
            picture = picture.convert("RGBA")
            picture.putalpha(mask)
        self.panels.append(Panel(left, top, picture))

    def shape(
        self,
        corners: Sequence[tuple[float, float]],
        fill: Colour,
        outline: Colour | None = None,
        width: int = 0,
    ) -> None:
        """Draw a filled outline. Its edges are smooth: it is drawn four times as large first."""
        lefts, tops = zip(*corners, strict=True)
        margin = width + 1
        box = (int(min(lefts)) - margin, int(min(tops)) - margin, int(max(lefts)) + margin, int(max(tops)) + margin)
        size = (box[2] - box[0], box[3] - box[1])
        large = [((x - box[0]) * _FINE, (y - box[1]) * _FINE) for x, y in corners]
        for colour, drawn in ((fill, "fill"), (outline, "outline")):
            if colour is None:
                continue
            mask = Image.new("L", (size[0] * _FINE, size[1] * _FINE))
            draw = ImageDraw.Draw(mask)
            if drawn == "fill":
                draw.polygon(large, colour[3])
            else:
                draw.line([*large, large[0], large[1]], colour[3], max(1, width) * _FINE, joint="curve")
            self.picture.paste(colour[:3], box, mask.resize(size, Image.Resampling.BOX))
        self.shapes.append(Shape(tuple(corners), fill, outline, width))

    def veil(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Draw a rectangle whose edges are whole pixels."""
        self.picture.paste(colour[:3], (left, top), Image.new("L", (width, height), colour[3]))
        right, bottom = left + width, top + height
        self.shapes.append(Shape(((left, top), (right, top), (right, bottom), (left, bottom)), colour))

    def begin(self, text: str) -> None:
        """Say that the lines that are written next are those of `text`."""
        self.texts.append(" ".join(text.split()))

    def write(
        self,
        text: str,
        centre: float,
        baseline: float,
        font: FreeTypeFont,
        ink: tuple[int, int, int],
        direction: str | None = None,
        halo: int = 0,
    ) -> None:
        """Write a line of the text that was begun last around `centre`.

        `direction`: "rtl", "ttb" for a column that begins at `baseline`, or None for the font's own. `halo`: width of a
        white edge around its letters.
        """
        draw = ImageDraw.Draw(self.picture)
        vertical = direction == "ttb"
        how = {"font": font, "anchor": "mt" if vertical else "ms", "direction": direction}
        if halo:  # below all letters: else that of one would lie on its neighbour
            draw.text((centre, baseline), text, ink, stroke_width=halo, stroke_fill=HALO, **how)
        draw.text((centre, baseline), text, ink, **how)
        right_to_left = direction == "rtl"
        ascent, descent = font.getmetrics()
        width = font.getlength(text, direction=direction)
        start_of_words = 0.0 if vertical else centre - width / 2
        left = centre - (ascent + descent) / 2 if vertical else start_of_words
        words = []
        for match in re.finditer(r"\S+", text):
            start, end = (font.getlength(text[:at], direction=direction) for at in match.span())
            words.append(Word(match.group(), start_of_words + (width - end if right_to_left else start), end - start))
        family, face = font.getname()
        file = font.path if isinstance(font.path, str | Path) else ""
        self.lines.append(
            Line(
                text,
                tuple(words),
                left,
                baseline,
                width,
                ascent,
                descent,
                font.size,
                family or "sans-serif",
                face or "",
                str(file),
                ink,
                len(self.texts) - 1,
                right_to_left,
                vertical,
                halo,
            )
        )


_FINE = 4
