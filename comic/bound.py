"""Pages on a layout: each panel fills its place, inside a frame, with its caption in a box."""

import math
from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import Any

from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from .bubbles import Placed, place_bubbles
from .layout import LaidOutPage, PageLayout, Place
from .lettering import begins_right_to_left, font_for, wrap, written
from .polygons import Box, Point, clip, rectangle
from .sheet import Sheet
from .speakers import Seen, on_page
from .speech import Speech

PAPER, INK = (255, 255, 255), (20, 20, 20)
CLEAR = (255, 255, 255, 0)
SMOOTH = 3
"""Slanted edges are cut so many times larger, and then made smaller: they are smooth."""
WIDTH_TO_FRAME = 500
"""A frame is a 500th of the page's width: 0.4 mm on A4."""
WIDEST_CAPTION = 0.8
"""Of the panel's width."""


def draw_pages(*inputs: Any, **settings: Any) -> list[Image.Image]:
    """The pictures of `place_pages`, RGB images."""
    return [sheet.picture for sheet in place_pages(*inputs, **settings)]


def place_pages(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    layout: PageLayout,
    caption_place: str = "below",
    caption_size: int = 0,
    font: str = "",
    speeches: Sequence[Sequence[Speech]] = (),
    seen: Sequence[Seen] = (),
) -> list[Sheet]:
    """Draw the pages of a layout.

    A picture keeps its proportions and fills its place: what goes beyond is cut off evenly on both sides. Captions
    stand in a box inside their panels, at the side where reading begins: at the top, or at the bottom ("below").

    Args:
        images: the panels, RGB, of any sizes.
        captions: one for each; "" for none.
        caption_place: one of `page.CAPTION_PLACES`.
        caption_size: size of the letters in pixels; 0 takes the layout's.
        font: see `lettering.load_font`.
        speeches: what is said in each panel; empty where nothing is said at all.
        seen: the boxes of each panel's speakers, in shares of the picture; empty where nobody knows.

    Returns the pages, and what lies where on them.

    Raises ValueError, naming the parameter, for images or captions that do not go with the layout, for a character that
    the font lacks, and for a caption that does not fit into its panel; FileNotFoundError where there is no such font.
    """
    layout.require_panels(len(captions))
    if len(images) != len(captions):
        raise ValueError(
            f"images: got {len(images)}, but storyboard shows {len(captions)} panels. Wire in the images that Story "
            "Panel Sampler drew for this storyboard: one for every line that is not [hidden]."
        )
    places = [place for page in layout.pages for place in page.places]
    there = [
        on_page(shown, image.size, place.box)
        for shown, image, place in zip(seen or [{}] * len(captions), images, places, strict=True)
    ]
    words = letter_pages(captions, layout, caption_place, caption_size, font, speeches, there)
    pages, start = [], 0
    for page in layout.pages:
        end = start + len(page.places)
        pages.append(_place_page(page, images[start:end], words[start:end]))
        pages[-1].right_to_left = layout.right_to_left
        start = end
    return pages


class CaptionBox:
    """A caption's lines, and where they stand on the page: left, top, right and bottom of the box around them.

    `is_first`: it is read before what is said in its panel, not after that.
    """

    def __init__(
        self, text: str, place: Place, page: LaidOutPage, layout: PageLayout, at_top: bool, font: FreeTypeFont
    ) -> None:
        """ValueError, naming `caption_size`, where the caption does not fit into the panel."""
        self._font = font
        self._padding = max(2, round(font.size / 2.5))
        text = written(text, font)
        self._text = text
        self.is_first = at_top
        self._direction = "rtl" if begins_right_to_left(text) else None
        inset = max(font.size / 2, frame_width(page) * 2)
        safe = safe_part(place, page, layout, inset)
        left, top, right, bottom = _box(safe) if len(safe) > 2 else (0, 0, 0, 0)
        # A slanted edge leaves less room: narrower lines, or a little further from the edge.
        broken = list(self._broken(text, (right - left) * WIDEST_CAPTION, bottom - top))
        step = max(1.0, font.size / 4)
        downs = [step * index for index in range(math.ceil((bottom - top) / 2 / step))]
        stands = (self._stand(lines, safe, down, at_top, layout.right_to_left) for down in downs for lines in broken)
        fits = next(filter(None, stands), None)
        if fits is None:
            raise ValueError(
                f'caption_size: the caption "{shorten(text, 60)}" does not fit into its panel of '
                f"{place.size[0]:.0f} x {place.size[1]:.0f} pixels at {font.size:g} pixels a letter. Choose smaller "
                "letters, a shorter caption or a layout with larger panels."
            )
        self.lines, self.box = fits

    def _broken(self, text: str, width: float, height: float) -> Iterator[list[str]]:
        """The caption broken into lines, ever narrower, as long as it is not higher than its panel."""
        while width >= 2 * self._font.size + 2 * self._padding:
            try:
                lines = wrap(text, self._font, width - 2 * self._padding)
            except ValueError:  # a single letter is wider
                return
            if len(lines) * self._line_height + 2 * self._padding > height:
                return
            yield lines
            width *= 0.85

    def _stand(
        self, lines: list[str], safe: list[Point], down: float, at_top: bool, from_right: bool
    ) -> tuple[list[str], Box] | None:
        """These lines and the box around them, `down` from their panel's edge; None where that has no room for them."""
        wide = max(self._font.getlength(line) for line in lines) + 2 * self._padding
        high = len(lines) * self._line_height + 2 * self._padding
        _, upper, _, lower = _box(safe)
        top = upper + down if at_top else lower - down - high
        left, right = room(safe, top, top + high)
        if right - left < wide:
            return None
        left = right - wide if from_right else left
        return lines, (left, top, left + wide, top + high)

    @property
    def _line_height(self) -> int:
        return sum(self._font.getmetrics())

    def draw(self, sheet: Sheet, frame: int) -> None:
        """Draw the box and write the caption into it."""
        sheet.shape(rectangle(self.box), (*PAPER, 255), (*INK, 255), max(1, frame // 2))
        sheet.begin(self._text)
        left, top, right, _ = self.box
        baseline = round(top + self._padding + self._font.getmetrics()[0])
        for index, line in enumerate(self.lines):
            half = self._font.getlength(line, direction=self._direction) / 2
            centre = right - self._padding - half if self._direction else left + self._padding + half
            place = baseline + index * self._line_height
            sheet.write(line, centre, place, self._font, INK, self._direction)


Lettering = tuple[CaptionBox | None, list[Placed]]
"""What is written in one panel: its caption, and what is said."""


def letter_pages(
    captions: Sequence[str],
    layout: PageLayout,
    caption_place: str,
    caption_size: int,
    font: str,
    speeches: Sequence[Sequence[Speech]] = (),
    seen: Sequence[Seen] = (),
) -> list[Lettering]:
    """Where all words of every panel stand, known before there are pictures. Raises as `place_pages` does.

    `seen` are the boxes of speakers on the page, once there are pictures.
    """
    layout.require_panels(len(captions))
    size = caption_size or layout.letter
    lettering = font_for(captions, font, size)
    at_top = caption_place in ("above", "inside, at the top")
    places = [(page, place) for page in layout.pages for place in page.places]
    made: list[Lettering] = []
    said_where = zip(speeches or [()] * len(captions), seen or [{}] * len(captions), strict=True)
    for caption, (said, there), (page, place) in zip(captions, said_where, places, strict=True):
        box = CaptionBox(caption, place, page, layout, at_top, lettering) if caption else None
        safe = safe_part(place, page, layout, frame_width(page) * 2)
        taken = [box.box] if box else []
        bubbles = place_bubbles(said, safe, place.box, size, font, taken, layout.right_to_left, there)
        made.append((box, bubbles))
    return made


def frame_width(page: LaidOutPage) -> int:
    """Pixels."""
    return max(1, round(page.width / WIDTH_TO_FRAME))


def safe_part(place: Place, page: LaidOutPage, layout: PageLayout, inset: float) -> list[Point]:
    """The polygon of a place, `inset` pixels within its edges, and not where a bleeding page is cut."""
    safe = list(place.polygon)
    edge = layout.margin * 0.6
    outer = rectangle((edge, edge, page.width - edge, page.height - edge))
    for polygon, distance in ((place.polygon, inset), (outer, 0.0)):
        for index, (x, y) in enumerate(polygon):
            before_x, before_y = polygon[index - 1]
            # Clockwise, with y downwards: the outside is on the left.
            a, b = y - before_y, before_x - x
            length = math.hypot(a, b)
            if length > 1e-6:
                a, b = a / length, b / length
                safe = clip(safe, (a, b, a * x + b * y - distance))
    return safe


def room(polygon: Sequence[Point], top: float, bottom: float) -> tuple[float, float]:
    """Left and right of the widest box between two heights that a convex polygon holds; 0, 0 where it holds none."""
    spans = [_chord(polygon, y) for y in (top, bottom)]
    if None in spans:
        return 0.0, 0.0
    return max(left for left, _ in spans), min(right for _, right in spans)


def _chord(polygon: Sequence[Point], y: float) -> tuple[float, float] | None:
    """From where to where a convex polygon reaches at one height."""
    found = []
    for index, (x1, y1) in enumerate(polygon):
        x0, y0 = polygon[index - 1]
        if min(y0, y1) - 1e-6 <= y <= max(y0, y1) + 1e-6:
            if abs(y1 - y0) < 1e-6:
                found += [x0, x1]
            else:
                found.append(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return (min(found), max(found)) if found else None


def _box(polygon: Sequence[Point]) -> Box:
    return Place(tuple(polygon)).box


def _place_page(page: LaidOutPage, images: Sequence[Image.Image], words: Sequence[Lettering]) -> Sheet:
    sheet = Sheet.empty((page.width, page.height), PAPER)
    frame = frame_width(page)
    for place, image in zip(page.places, images, strict=True):
        _put(sheet, place, image, frame)
    for box, bubbles in words:  # all is written in the order of reading
        if box and box.is_first:
            box.draw(sheet, frame)
        for bubble in bubbles:
            bubble.draw(sheet, frame)
        if box and not box.is_first:
            box.draw(sheet, frame)
    return sheet


def _put(sheet: Sheet, place: Place, image: Image.Image, frame: int) -> None:
    """Fill a place with a picture, and draw the frame around it, but none along the edge of the page."""
    left, top, right, bottom = place.box
    # Whole pixels; the frame hides what is rounded.
    left, top = math.floor(left + 1e-6), math.floor(top + 1e-6)
    wide, high = math.ceil(right - 1e-6) - left, math.ceil(bottom - 1e-6) - top
    scale = min(image.width / wide, image.height / high)
    across, down = (max(0.0, side - scale * end) / 2 for side, end in zip(image.size, (wide, high), strict=True))
    cut = (across, down, image.width - across, image.height - down)
    filled = image.resize((wide, high), Image.Resampling.LANCZOS, cut)
    corners = [((x - left) * SMOOTH, (y - top) * SMOOTH) for x, y in place.polygon]
    mask = Image.new("L", (wide * SMOOTH, high * SMOOTH))
    ImageDraw.Draw(mask).polygon(corners, 255)
    sheet.panel(filled, left, top, mask.reduce(SMOOTH))
    size = sheet.picture.size
    around = [tuple(map(_beyond, point, size, (2 * frame,) * 2)) for point in place.polygon]
    sheet.shape(around, CLEAR, (*INK, 255), frame)


def _beyond(position: float, end: int, further: int) -> float:
    """A position at the edge of the page, moved out of it."""
    return position - further if position < 0.5 else position + further if position > end - 0.5 else position
