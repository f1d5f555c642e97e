"""Plots by Pillow, which ComfyUI brings along: axes, lines and bars are all that a training has to show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, QUIET, FAINT, STRONG, FILL = "#ffffff", "#222222", "#666666", "#c4c4c4", "#1f5fbf", "#b9cdea"
_DETAIL = 2  # drawn so many times larger, then scaled down: Pillow's lines have no soft edges


@dataclass
class Plot:
    """One plot of `size` pixels, x from 0 to `right` and y from 0 to `top`; what lies above is cut off."""

    size: tuple[int, int]
    right: float
    top: float

    def __post_init__(self) -> None:
        self._image = Image.new("RGB", (self.size[0] * _DETAIL, self.size[1] * _DETAIL), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._box = (64, 72, self.size[0] - 28, self.size[1] - 56)  # of the axes: left, upper, right, lower

    def bars(self, edges: Sequence[float], heights: Sequence[float]) -> None:
        """Bars from `edges[i]` to `edges[i + 1]`."""
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            (x0, y0), (x1, y1) = self._at(left, height), self._at(right, 0)
            self._draw.rectangle((x0, y0, max(x0, x1 - _DETAIL), y1), fill=FILL)

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: int) -> None:
        """A line through `points`, `width` pixels wide."""
        places = [self._at(x, y) for x, y in points]
        if len(places) == 1:  # a line of no length would not be seen
            (x, y), radius = places[0], 3 * _DETAIL
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        self._draw.line(places, fill=colour, width=width * _DETAIL, joint="curve")

    def finish(self, title: str, note: str, x_label: str, y_label: str) -> Image.Image:
        """Axes, ticks and words; return the picture."""
        left, upper, right, lower = self._box
        self._write((left, 12), title, 20, INK)
        self._write((left, 40), note, 14, QUIET)
        for share in (0, 0.25, 0.5, 0.75, 1):
            x, y = left + share * (right - left), lower - share * (lower - upper)
            self._rule((x, lower, x, lower + 5))
            self._rule((left - 5, y, left, y))
            self._write((x, lower + 8), f"{share * self.right:.0f}", 13, QUIET, "ma")
            self._write((left - 9, y), f"{share * self.top:.3g}", 13, QUIET, "rm")
        self._rule((left, upper, left, lower))
        self._rule((left, lower, right, lower))
        self._write(((left + right) / 2, lower + 28), x_label, 14, INK, "ma")
        self._write((right, upper - 6), y_label, 14, INK, "rd")
        return self._image.reduce(_DETAIL)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        left, upper, right, lower = self._box
        height = min(max(y / self.top, 0.0), 1.0)
        return (left + x / self.right * (right - left)) * _DETAIL, (lower - height * (lower - upper)) * _DETAIL

    def _rule(self, ends: tuple[float, float, float, float]) -> None:
        self._draw.line([end * _DETAIL for end in ends], fill=QUIET, width=_DETAIL)

    def _write(self, at: tuple[float, float], text: str, size: int, colour: str, anchor: str = "la") -> None:
        place = (at[0] * _DETAIL, at[1] * _DETAIL)
        self._draw.text(place, text, colour, ImageFont.load_default(size * _DETAIL), anchor)


def side_by_side(plots: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height in a row."""
    row = Image.new("RGB", (sum(plot.width for plot in plots), plots[0].height), PAPER)
    for index, plot in enumerate(plots):
        row.paste(plot, (sum(plot.width for plot in plots[:index]), 0))
    return row
