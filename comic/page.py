"""The comic page: panels in a grid, with their captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from PIL import Image
from PIL.ImageFont import FreeTypeFont

from .bubbles import check_speech, place_bubbles
from .lettering import begins_right_to_left, font_for, wrap, written
from .polygons import rectangle
from .sheet import Sheet
from .speakers import Seen, on_page
from .speech import Speech

CAPTION_PLACES = ("below", "above", "inside, at the bottom", "inside, at the top")
PAPER = "white"
INK = (20, 20, 20)
VEIL = (255, 255, 255, 215)
"""What lies between a caption and the picture that it is written on: colour and opacity."""

SMALLEST_CAPTION = 12
LARGEST_CAPTION = 512
LARGEST_PAGE = 2 * 89_478_485
"""Pixels. Pillow, and with it ComfyUI, takes a larger picture for an attack and opens it no more."""

WIDTH_TO_CAPTION = 24
"""Automatic captions are a 24th of the panel's width: some 45 letters to a line."""


@dataclass(frozen=True)
class _Caption:
    """A caption, broken into lines. Without lines it takes no room. `direction`: rtl, or None for the font's own."""

    text: str
    lines: list[str]
    font: FreeTypeFont
    padding: int
    direction: str | None

    @property
    def line_height(self) -> int:
        return sum(self.font.getmetrics())

    @property
    def height(self) -> int:
        return len(self.lines) * self.line_height + 2 * self.padding if self.lines else 0

    def write(self, sheet: Sheet, centre: float, top: int) -> None:
        if self.lines:
            sheet.begin(self.text)
        baseline = top + self.padding + self.font.getmetrics()[0]
        for index, line in enumerate(self.lines):
            sheet.write(line, centre, baseline + index * self.line_height, self.font, INK, self.direction)


def layout_page(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    columns: int = 3,
    gutter: int = 24,
    caption_place: str = CAPTION_PLACES[0],
    caption_size: int = 0,
    font: str = "",
    speeches: Sequence[Sequence[Speech]] = (),
    seen: Sequence[Seen] = (),
) -> Image.Image:
    """The picture of `place_page`, an RGB image."""
    return place_page(images, captions, columns, gutter, caption_place, caption_size, font, speeches, seen).picture


def place_page(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    columns: int = 3,
    gutter: int = 24,
    caption_place: str = CAPTION_PLACES[0],
    caption_size: int = 0,
    font: str = "",
    speeches: Sequence[Sequence[Speech]] = (),
    seen: Sequence[Seen] = (),
) -> Sheet:
    """Lay panels of one size out in a grid, in reading order.

    Panels keep their pixels. A last row that is not full is centred, and there are never more columns than panels.
    Outside the panels each row has a strip as high as its longest caption needs, or none where no panel of the row has
    a caption. The page has a margin of one gutter.

    Args:
        images: the panels, RGB, all of one size.
        captions: one for each panel; "" for none.
        columns: panels side by side.
        gutter: pixels between panels and around them.
        caption_place: one of `CAPTION_PLACES`.
        caption_size: size of the letters in pixels; 0 is automatic, a 24th of the panel's width and at least 12.
        font: see `lettering.load_font`; "" takes a fuller font of ours where a caption needs it.
        speeches: what is said in each panel; empty where nothing is said at all.
        seen: the boxes of each panel's speakers, in shares of the picture; empty where nobody knows.

    Returns the page, and what lies where on it.

    Raises ValueError, naming the parameter, for numbers out of range, captions that do not go with the images, a
    character that the font lacks, captions or bubbles that do not fit where they should, and a page of more than
    `LARGEST_PAGE` pixels; FileNotFoundError where there is no such font.
    """
    check_lettering(captions, columns, gutter, caption_place, caption_size, font)
    _check(images, captions)
    width, height = images[0].size
    broken = _captions(captions, (width, height), caption_place, caption_size, font)
    count = len(captions)
    cells = list(zip(images, broken, speeches or [()] * count, seen or [{}] * count, strict=True))
    inside = caption_place.startswith("inside")
    at_top = caption_place in ("above", "inside, at the top")
    size = _letter_size(caption_size, width)

    columns = min(columns, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    strips = [0 if inside else max(caption.height for _, caption, *_ in row) for row in rows]
    page_size = (columns * (width + gutter) + gutter, sum(height + strip + gutter for strip in strips) + gutter)
    _check_size(*page_size)
    sheet = Sheet.empty(page_size, PAPER)

    top = gutter
    for row, strip in zip(rows, strips, strict=True):
        left = (page_size[0] - len(row) * (width + gutter) + gutter) // 2
        panel_top = top + strip if at_top else top
        for image, caption, said, shown in row:
            sheet.panel(image, left, panel_top)
            near_top = panel_top if inside else panel_top - caption.height
            near_bottom = panel_top + height - (caption.height if inside else 0)
            caption_top = near_top if at_top else near_bottom
            if inside and caption.lines:
                sheet.veil(left, caption_top, width, caption.height, VEIL)
            taken = [(left, caption_top, left + width, caption_top + caption.height)] if inside else []
            box = left, panel_top, left + width, panel_top + height
            within = rectangle((box[0] + size / 3, box[1] + size / 3, box[2] - size / 3, box[3] - size / 3))
            there = on_page(shown, image.size, box)
            bubbles = place_bubbles(said, within, box, size, font, taken, seen=there)
            if at_top:  # all is written in the order of reading
                caption.write(sheet, left + width / 2, caption_top)
            for bubble in bubbles:
                bubble.draw(sheet, max(1, size // 10))
            if not at_top:
                caption.write(sheet, left + width / 2, caption_top)
            left += width + gutter
        top += height + strip + gutter
    return sheet


def check_lettering(
    captions: Sequence[str],
    columns: int,
    gutter: int,
    caption_place: str,
    caption_size: int,
    font: str,
    speeches: Sequence[Sequence[Speech]] = (),
    panel: tuple[int, int] | None = None,
) -> None:
    """Raise what `layout_page` would raise for all that can be known before there are panels.

    `panel`: their width and height in pixels, where these are known.
    """
    if columns < 1:
        raise ValueError(f"columns: got {columns}, expected 1 or more.")
    if gutter < 0:
        raise ValueError(f"gutter: got {gutter}, expected 0 or more pixels.")
    if not 0 <= caption_size <= LARGEST_CAPTION:
        raise ValueError(
            f"caption_size: got {caption_size}, expected up to {LARGEST_CAPTION} pixels, or 0 for automatic."
        )
    if caption_place not in CAPTION_PLACES:
        raise ValueError(f"caption_place: got '{caption_place}', expected one of: {'; '.join(CAPTION_PLACES)}.")
    font_for(captions, font, caption_size or SMALLEST_CAPTION)
    for said in speeches:
        check_speech(said, font)
    if panel is not None:
        _captions(captions, panel, caption_place, caption_size, font)


def _captions(
    captions: Sequence[str], panel: tuple[int, int], caption_place: str, caption_size: int, font: str
) -> list[_Caption]:
    """All captions, broken into lines for panels of this width and height. ValueError where one does not fit."""
    width, height = panel
    size = _letter_size(caption_size, width)
    lettering = font_for(captions, font, size)
    broken = [_caption(text, lettering, width, max(2, size // 3)) for text in captions]
    if caption_place.startswith("inside"):
        _check_inside(broken, height)
    return broken


def _letter_size(caption_size: int, width: int) -> int:
    """Size of the letters of captions in pixels, for panels of this width."""
    return caption_size or max(SMALLEST_CAPTION, round(width / WIDTH_TO_CAPTION))


def _caption(caption: str, font: FreeTypeFont, width: int, padding: int) -> _Caption:
    """Break a caption into lines for a panel of this width."""
    text = written(caption, font)
    direction = "rtl" if begins_right_to_left(text) else None
    return _Caption(text, wrap(text, font, width - 2 * padding), font, padding, direction)


def _check_inside(captions: Sequence[_Caption], height: int) -> None:
    for caption in captions:
        if caption.height > height:
            raise ValueError(
                f'caption_place: inside the panel, the caption "{shorten(" ".join(caption.lines), 60)}" would take '
                f"{caption.height} of {height} pixels. Place captions below or above, or choose a smaller caption_size."
            )


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_PAGE:
        raise ValueError(
            f"images: the page would be {width} x {height} pixels, and few programs open more than "
            f"{LARGEST_PAGE // 10**6} million. Make several pages of fewer panels, smaller panels or shorter captions."
        )


def _check(images: Sequence[Image.Image], captions: Sequence[str]) -> None:
    if not images:
        raise ValueError("images: there are none. Wire in the panels of a story.")
    if sizes := {image.size for image in images} - {images[0].size}:
        raise ValueError(f"images: panels of one size are expected, got {images[0].size} and {sizes.pop()}.")
    if len(images) != len(captions):
        raise ValueError(
            f"images: got {len(images)}, but storyboard shows {len(captions)} panels. Wire in the images that Story "
            "Panel Sampler drew for this storyboard: one for every line that is not [hidden]."
        )
