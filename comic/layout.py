"""Where panels lie on their pages: polygons made of rows, before anything is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import polygons
from .layouts import LAYOUTS, PAGES, PAPER_WIDTHS
from .panel_sizes import WIDEST, panel_size
from .polygons import Box, Plane, Point
from .rows import Row, Rows, count, first, parse_rows

READING = ("left to right", "right to left")
AS_LAID_OUT = "as the layout has it"
LARGEST_PAGE = 2 * 89_478_485
"""Pixels. Pillow, and with it ComfyUI, takes a larger picture for an attack and opens it no more."""
LARGEST_SIDE = 65_000
"""Pixels. JPEG and WebP end there, and so do many programs."""
PAGE_WIDTH, STRIP_WIDTH = 2048, 1080
_PRINTED = 300
"""Pixels of an inch on paper, as printers want them and as Save Comic takes them."""
STRIP_GAP = 5
"""Panels of a webtoon strip stand so many gutters apart."""
STRETCH = 1.5
"""Rows that are alone on the last page grow by so much at most; what is left of the page stays paper."""
NARROWEST = 0.03
"""Of the page's width: a panel's side is not shorter."""


@dataclass(frozen=True)
class Place:
    """Where one panel lies: a convex polygon in pixels of its page, clockwise. A bleeding one reaches the edge."""

    polygon: tuple[Point, ...]

    @property
    def box(self) -> Box:
        """What the polygon reaches."""
        across, down = zip(*self.polygon, strict=True)
        return min(across), min(down), max(across), max(down)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the box: the panel's shape."""
        left, top, right, bottom = self.box
        return right - left, bottom - top


@dataclass(frozen=True)
class LaidOutPage:
    """One page: its size in pixels and the places of its panels, as they are read."""

    width: int
    height: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class PageLayout:
    """Pages for all panels of a story. In pixels, `letter` is the size of automatic letters, `margin` that of pages."""

    pages: tuple[LaidOutPage, ...]
    right_to_left: bool
    letter: int
    margin: float

    @property
    def places(self) -> list[Place]:
        """Every panel's place, in story order."""
        return [place for page in self.pages for place in page.places]

    def sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """The size at which each panel is drawn, where one of `width` x `height` pixels would be drawn otherwise."""
        return [panel_size(*place.size, width * height) for place in self.places]

    def require_panels(self, panels: int) -> None:
        """Raise ValueError where it was made for another number of panels."""
        if len(self.places) != panels:
            raise ValueError(
                f"layout: it has places for {len(self.places)} panels, but storyboard shows {panels}. Wire the same "
                "storyboard into Page Layout."
            )


def lay_out(
    panels: int,
    layout: str = "grid 2 x 3",
    rows: str = "",
    reading: str = READING[0],
    page_size: str = AS_LAID_OUT,
    page_width: int = 0,
    gutter: float = 1.2,
    margin: float = 3.5,
    slant: float = 8.0,
    bleed: bool = False,
) -> PageLayout:
    """Lay `panels` out, page after page; on the last page those that are left share the room.

    Args:
        panels: how many.
        layout: a name in `layouts.LAYOUTS`.
        rows: notation of `rows.py`; where it is not empty, it is taken instead of the layout's own.
        reading: one of `READING`; from right to left all is mirrored.
        page_size: a name in `layouts.PAGES`, or `AS_LAID_OUT`.
        page_width: pixels; 0 is automatic: 300 an inch on paper, `PAGE_WIDTH` on a screen, or `STRIP_WIDTH`.
        gutter, margin: in percent of the page's width.
        slant: degrees by which marked gutters lean.
        bleed: every panel at the edge of the page runs over its margin, not only those that are marked.

    Raises ValueError, naming the parameter, for what cannot be laid out so.
    """
    _check(panels, layout, reading, page_size, page_width, gutter, margin, slant)
    chosen = LAYOUTS[layout]
    pages = parse_rows(rows if rows.strip() else chosen.rows)
    size = chosen.page if page_size == AS_LAID_OUT else page_size
    shape = PAGES[size]
    width = page_width or _automatic_width(size)
    paper = _Paper(width, gutter * width / 100, margin * width / 100, math.radians(slant), bleed)
    made: list[LaidOutPage] = []
    left = panels
    while left:
        whole = pages[min(len(made), len(pages) - 1)]
        page_rows = first(whole, left)
        part = min(1.0, STRETCH * sum(row.height for row in page_rows) / sum(row.height for row in whole))
        made.append(paper.page(page_rows, round(width / shape) if shape else None, part))
        left -= count(page_rows)
    _check_places(made)
    to_left = reading == READING[1]
    areas = sorted(math.prod(place.size) for page in made for place in page.places)
    letter = max(8, round(min(width / (40 if shape else 28), math.sqrt(areas[len(areas) // 2]) / 16)))
    return PageLayout(tuple(map(_mirrored, made)) if to_left else tuple(made), to_left, letter, paper.margin)


def _automatic_width(page: str) -> int:
    if page in PAPER_WIDTHS:
        return round(PAPER_WIDTHS[page] * _PRINTED)
    return PAGE_WIDTH if PAGES[page] else STRIP_WIDTH


@dataclass(frozen=True)
class _Paper:
    """What all pages have in common, in pixels and radians."""

    width: int
    gutter: float
    margin: float
    slant: float
    bleed: bool

    def page(self, rows: Rows, height: int | None, part: float = 1.0) -> LaidOutPage:
        """Rows to places, on the upper `part` of the page.

        Without a `height` the page is a strip: a row of height 1 is as high as the page is wide between its margins.
        """
        gap, above = self.gutter, self.margin
        planes: list[Plane] = []
        if height is None:
            gap *= STRIP_GAP
            above = max(above, gap / 2)
            inner = (self.width - 2 * self.margin) * sum(row.height for row in rows) + gap * (len(rows) - 1)
            height, part = round(inner + 2 * above), 1.0
        _check_size(self.width, height)
        bottom = above + part * (height - 2 * above)
        if part < 1:
            planes.append((0.0, 1.0, bottom))
        box = (self.margin, above, self.width - self.margin, bottom)
        places: list[Place] = []
        roots = polygons.rectangle(box), polygons.rectangle((0, 0, self.width, height))
        self._rows(rows, box, planes, gap, roots, places)
        return LaidOutPage(self.width, height, tuple(places))

    def _rows(
        self,
        rows: Rows,
        box: Box,
        planes: list[Plane],
        gap: float,
        roots: tuple[list[Point], list[Point]],
        places: list[Place],
    ) -> None:
        left, top, right, bottom = box
        spans = _spans(top, bottom, [row.height for row in rows], gap)
        for index, (row, (start, end)) in enumerate(zip(rows, spans, strict=True)):
            middle = (left + right) / 2
            bounds = list(planes)
            if index:
                bounds.append(polygons.below(middle, start - gap / 2, gap, -row.lean * self.slant))
            if index + 1 < len(rows):
                bounds.append(polygons.above(middle, end + gap / 2, gap, -rows[index + 1].lean * self.slant))
            self._cells(row, (left, start, right, end), bounds, roots, places)

    def _cells(
        self,
        row: Row,
        box: Box,
        planes: list[Plane],
        roots: tuple[list[Point], list[Point]],
        places: list[Place],
    ) -> None:
        left, top, right, bottom = box
        spans = _spans(left, right, [cell.width for cell in row.cells], self.gutter)
        for index, (cell, (start, end)) in enumerate(zip(row.cells, spans, strict=True)):
            middle = (top + bottom) / 2
            bounds = list(planes)
            if index:
                bounds.append(polygons.right_of(start - self.gutter / 2, middle, self.gutter, cell.lean * self.slant))
            if index + 1 < len(row.cells):
                lean = row.cells[index + 1].lean * self.slant
                bounds.append(polygons.left_of(end + self.gutter / 2, middle, self.gutter, lean))
            if cell.rows:
                self._rows(cell.rows, (start, top, end, bottom), bounds, self.gutter, roots, places)
                continue
            polygon = roots[cell.bleeds or self.bleed]
            for plane in bounds:
                polygon = polygons.clip(polygon, plane)
            places.append(Place(tuple(polygon)))


def _spans(start: float, end: float, weights: Sequence[float], gap: float) -> list[tuple[float, float]]:
    """Parts of the line from `start` to `end`, as long as their weights say, with gaps between them."""
    room = end - start - gap * (len(weights) - 1)
    spans = []
    for weight in weights:
        length = room * weight / sum(weights)
        spans.append((start, start + length))
        start += length + gap
    return spans


def _mirrored(page: LaidOutPage) -> LaidOutPage:
    places = (Place(tuple((page.width - x, y) for x, y in reversed(place.polygon))) for place in page.places)
    return replace(page, places=tuple(places))


def _check(
    panels: int,
    layout: str,
    reading: str,
    page_size: str,
    page_width: int,
    gutter: float,
    margin: float,
    slant: float,
) -> None:
    if panels < 1:
        raise ValueError("storyboard: every line is [hidden], so there is nothing to lay out. Show at least one.")
    for name, value, options in (
        ("layout", layout, LAYOUTS),
        ("reading", reading, READING),
        ("page size (page_size)", page_size, (AS_LAID_OUT, *PAGES)),
    ):
        if value not in list(options):
            raise ValueError(f"{name}: got '{str(value)[:100]}', expected one of: {'; '.join(options)}.")
    if page_width and not 256 <= page_width <= 8192:
        raise ValueError(f"page width (page_width): got {page_width}, expected 256 to 8192 pixels, or 0 for automatic.")
    for name, value, most in (("gutter", gutter, 10), ("margin", margin, 20), ("slant", slant, 25)):
        if not 0 <= value <= most:
            unit = "degrees" if name == "slant" else "percent of the page's width"
            raise ValueError(f"{name}: got {value}, expected 0 to {most} {unit}.")


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_PAGE or height > LARGEST_SIDE:
        raise ValueError(
            f"page width (page_width): the page would be {width} x {height} pixels, and few programs open more than "
            f"{LARGEST_PAGE // 10**6} million or {LARGEST_SIDE} in a row. Choose a narrower page or fewer panels to it."
        )


def _check_places(pages: Sequence[LaidOutPage]) -> None:
    """Raise ValueError where a panel is next to nothing, or of a shape that no picture is drawn in."""
    number = 0
    for page, made in enumerate(pages, start=1):
        for place in made.places:
            number += 1
            width, height = place.size if len(place.polygon) > 2 else (0, 0)
            least = NARROWEST * made.width
            if polygons.area(place.polygon) < least**2 or min(width, height) < least:
                raise ValueError(
                    f"rows: panel {number}, on page {page}, would be {width:.0f} x {height:.0f} pixels of a page "
                    f"of {made.width} x {made.height}. Use fewer panels to a page, a smaller gutter or less slant."
                )
            if not 1 / WIDEST <= width / height <= WIDEST:
                shape = (
                    f"{width / height:.1f} times as wide as high"
                    if width > height
                    else (f"{height / width:.1f} times as high as wide")
                )
                raise ValueError(
                    f"rows: panel {number}, on page {page}, would be {shape}, and nothing is drawn well beyond 4 "
                    f"times. Give it {'more height' if width > height else 'more width'}, or other neighbours."
                )
