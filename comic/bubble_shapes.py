"""Bubbles drawn: their outlines and tails, and the words in them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL.ImageFont import FreeTypeFont

from .lettering import written
from .polygons import Box, Point
from .sheet import Sheet
from .speech import SOUND, Speech

PAPER, INK = (255, 255, 255), (20, 20, 20)
ROUND = 2.6
"""The exponent of the superellipse that a bubble is."""
PUFF = 0.32
"""How far the arcs of a cloud reach out, in letters."""


@dataclass(frozen=True)
class Bubble:
    """Words broken into lines, or columns (`direction` "ttb"), and half the width and height of what is around them."""

    speech: Speech
    lines: tuple[str, ...]
    font: FreeTypeFont
    direction: str | None
    half: tuple[float, float]

    def box(self, centre: Point) -> Box:
        (x, y), (a, b) = centre, self.half
        return x - a, y - b, x + a, y + b


@dataclass(frozen=True)
class Placed:
    """A bubble in its place: its centre, and where its tail points to (None for none)."""

    bubble: Bubble
    centre: Point
    mouth: Point | None

    def draw(self, sheet: Sheet, frame: int) -> None:
        """Draw the bubble and write its words."""
        bubble, manner = self.bubble, self.bubble.speech.manner
        if manner == SOUND:
            _write(sheet, bubble, self.centre, outlined=True)
            return
        corners = _OUTLINES[manner](self)
        line = max(2, frame)
        if manner == "whisper":
            sheet.shape(corners, (*PAPER, 255))
            for dash in _dashes(corners, bubble.font.size * 0.45, line):
                sheet.shape(dash, (*INK, 255))
        else:
            sheet.shape(corners, (*PAPER, 255), (*INK, 255), line + line // 2 if manner == "shout" else line)
        if manner == "thought" and self.mouth:
            start = edge_of(bubble.half, self.centre, self.mouth)
            room = min(1.0, math.dist(start, self.mouth) / (3 * bubble.font.size))
            for part, size in ((0.35, 0.42), (0.65, 0.3), (0.9, 0.2)):
                x, y = (a + part * (b - a) for a, b in zip(start, self.mouth, strict=True))
                radius = size * room * bubble.font.size
                sheet.shape(superellipse((x, y), (radius, radius), 24, 2), (*PAPER, 255), (*INK, 255), line)
        _write(sheet, bubble, self.centre)


def edge_of(half: tuple[float, float], centre: Point, target: Point) -> Point:
    """Where a line from the middle of a bubble leaves it."""
    dx, dy = target[0] - centre[0], target[1] - centre[1]
    reach = (abs(dx / half[0]) ** ROUND + abs(dy / half[1]) ** ROUND) ** (1 / ROUND) or 1.0
    return centre[0] + dx / reach, centre[1] + dy / reach


def superellipse(centre: Point, half: tuple[float, float], count: int, exponent: float) -> list[Point]:
    """So many points on |x/a|^n + |y/b|^n = 1, clockwise."""
    points = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        c, s = math.cos(angle), math.sin(angle)
        x, y = (math.copysign(abs(value) ** (2 / exponent), value) for value in (c, s))
        points.append((centre[0] + half[0] * x, centre[1] + half[1] * y))
    return points


def _speech_outline(placed: Placed) -> list[Point]:
    """A superellipse whose edge runs out into a tail."""
    bubble, centre = placed.bubble, placed.centre
    points = superellipse(centre, bubble.half, 180, ROUND)
    if placed.mouth is None:
        return points
    start = edge_of(bubble.half, centre, placed.mouth)
    wide = min(bubble.font.size * 0.55, min(bubble.half) * 0.6)
    away = [math.dist(point, start) > wide for point in points]
    if all(away) or not any(away):
        return points
    # The run of points that make room for the tail is the gap between `away` points.
    first = next(index for index in range(len(points)) if away[index] and not away[index - 1])
    kept = [points[(first + step) % len(points)] for step in range(len(points)) if away[(first + step) % len(points)]]
    return [*kept, placed.mouth]


def _thought_outline(placed: Placed) -> list[Point]:
    """A cloud: arcs along a superellipse."""
    bubble, centre = placed.bubble, placed.centre
    depth = bubble.font.size * PUFF
    inner = tuple(side - depth for side in bubble.half)
    base = superellipse(centre, inner, 720, 2.2)
    length = sum(math.dist(one, other) for one, other in pairwise([*base, base[0]]))
    puffs = max(8, round(length / (bubble.font.size * 1.5)))
    points, along = [], 0.0
    for index, (x, y) in enumerate(base):
        along += math.dist(base[index - 1], (x, y)) if index else 0.0
        bulge = depth * abs(math.sin(math.pi * puffs * along / length))
        dx, dy = (x - centre[0]) / inner[0] ** 2, (y - centre[1]) / inner[1] ** 2
        norm = math.hypot(dx, dy) or 1.0
        points.append((x + bulge * dx / norm, y + bulge * dy / norm))
    return points


def _shout_outline(placed: Placed) -> list[Point]:
    """A burst of spikes, the one towards the speaker longest."""
    bubble, centre = placed.bubble, placed.centre
    inner = tuple(side / 1.3 for side in bubble.half)
    around = math.pi * sum(inner)
    spikes = max(10, round(around / (bubble.font.size * 1.1)))
    valleys = superellipse(centre, inner, 2 * spikes, ROUND)
    points = []
    for index, (x, y) in enumerate(valleys):
        grow = 1.0
        if index % 2:
            grow = 1.27 if index % 4 == 1 else 1.16
        points.append((centre[0] + (x - centre[0]) * grow, centre[1] + (y - centre[1]) * grow))
    if placed.mouth is not None:
        nearest = min(range(1, len(points), 2), key=lambda index: math.dist(points[index], placed.mouth))
        points[nearest] = placed.mouth
    return points


_OUTLINES = {
    "speech": _speech_outline,
    "whisper": _speech_outline,
    "thought": _thought_outline,
    "shout": _shout_outline,
}


def _dashes(corners: Sequence[Point], length: float, width: float) -> Iterator[list[Point]]:
    """The outline in dashes, each a thin strip."""
    run, dash, is_on = 0.0, [corners[0]], True
    for one, other in pairwise([*corners, corners[0]]):
        steps = max(1, math.ceil(math.dist(one, other) / (length / 6)))
        for step in range(1, steps + 1):
            point = tuple(a + (b - a) * step / steps for a, b in zip(one, other, strict=True))
            run += math.dist(one, other) / steps
            dash.append(point)
            if run >= (length if is_on else length * 0.7):
                if is_on and len(dash) > 1:
                    yield _strip(dash, width)
                run, dash, is_on = 0.0, [point], not is_on


def _strip(line: Sequence[Point], width: float) -> list[Point]:
    """A line as wide as that: its outline."""
    sides: tuple[list[Point], list[Point]] = ([], [])
    for index, (x, y) in enumerate(line):
        (x0, y0), (x1, y1) = line[max(0, index - 1)], line[min(len(line) - 1, index + 1)]
        length = math.dist((x0, y0), (x1, y1)) or 1.0
        dx, dy = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
        sides[0].append((x + dx, y + dy))
        sides[1].append((x - dx, y - dy))
    return [*sides[0], *reversed(sides[1])]


def _write(sheet: Sheet, bubble: Bubble, centre: Point, outlined: bool = False) -> None:
    """The lines of a bubble around its centre."""
    font = bubble.font
    ascent, descent = font.getmetrics()
    sheet.begin(written(bubble.speech.words, font))
    if bubble.direction == "ttb":
        top = centre[1] - max(font.getlength(line, direction="ttb") for line in bubble.lines) / 2
        right = centre[0] + (len(bubble.lines) - 1) * (ascent + descent) / 2
        for index, line in enumerate(bubble.lines):
            sheet.write(line, round(right - index * (ascent + descent)), round(top), font, INK, "ttb")
        return
    top = centre[1] - len(bubble.lines) * (ascent + descent) / 2
    for index, line in enumerate(bubble.lines):
        baseline = round(top + ascent + index * (ascent + descent))
        halo = max(2, round(font.size / 12)) if outlined else 0
        sheet.write(line, centre[0], baseline, font, INK, bubble.direction, halo)
