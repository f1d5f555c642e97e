"""Convex polygons in a plane: cut by lines and measured, and what lies on each side of a gutter."""

import math
from collections.abc import Sequence

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""
Plane = tuple[float, float, float]
"""(a, b, c): the points (x, y) with a x + b y <= c."""


def rectangle(box: Box) -> list[Point]:
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def clip(polygon: Sequence[Point], plane: Plane) -> list[Point]:
    """The part of a convex polygon on this side of a line (Sutherland and Hodgman 1974)."""
    a, b, c = plane
    kept: list[Point] = []
    for index, (x, y) in enumerate(polygon):
        before_x, before_y = polygon[index - 1]
        here, before = a * x + b * y - c, a * before_x + b * before_y - c
        if (here <= 0) != (before <= 0):
            part = before / (before - here)
            kept.append((before_x + part * (x - before_x), before_y + part * (y - before_y)))
        if here <= 0:
            kept.append((x, y))
    return kept


def area(polygon: Sequence[Point]) -> float:
    pairs = ((polygon[index - 1], point) for index, point in enumerate(polygon))
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


# A gutter is what lies within half a gap of a line. The line goes through (x, y) and leans by an angle.
def below(x: float, y: float, gap: float, angle: float) -> Plane:
    a, b = -math.sin(angle), math.cos(angle)
    return -a, -b, -(a * x + b * y) - gap / 2


def above(x: float, y: float, gap: float, angle: float) -> Plane:
    a, b = -math.sin(angle), math.cos(angle)
    return a, b, a * x + b * y - gap / 2


def right_of(x: float, y: float, gap: float, angle: float) -> Plane:
    a, b = math.cos(angle), math.sin(angle)
    return -a, -b, -(a * x + b * y) - gap / 2


def left_of(x: float, y: float, gap: float, angle: float) -> Plane:
    a, b = math.cos(angle), math.sin(angle)
    return a, b, a * x + b * y - gap / 2
