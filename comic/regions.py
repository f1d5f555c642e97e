"""Where in a picture each character of a line is, as shares of it:

    [left=bob] [right=nupjuki]             halves; with [middle=...], thirds
    [top=bob] [bottom=nupjuki]             the same from top to bottom
    [bob=10,20,50,90]                      a box: its left, top, right and bottom edge in percent of the picture

Without any of these the characters stand side by side, in the order of the line.
"""

import re
from collections.abc import Mapping, Sequence

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge, each from 0 to 1."""

ACROSS = ("left", "middle", "right")
DOWN = ("top", "middle", "bottom")
PLACES = ("left", "middle", "right", "top", "bottom")
LEAST = 10
"""Percent of the picture that a box is wide and high at least."""


def box_of(value: str) -> Box:
    """The box of `10,20,50,90`. ValueError where it is none."""
    numbers = [part.strip() for part in value.split(",")]
    if len(numbers) == 4 and all(re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", number) for number in numbers):
        left, top, right, bottom = (float(number) for number in numbers)
        if right <= 100 and bottom <= 100 and right - left >= LEAST and bottom - top >= LEAST:
            return left / 100, top / 100, right / 100, bottom / 100
    raise ValueError(
        f"a box is its left, top, right and bottom edge in percent of the picture, at least {LEAST} wide and high, got "
        f"'{value[:40]}'. Write it as [bob=10,20,50,90]."
    )


def boxes(names: Sequence[str], placed: Mapping[str, str | Box]) -> list[Box]:
    """The box of each of `names`, the characters of a line in its order.

    `placed` gives some or all of them one of PLACES or a box. ValueError where it names somebody else, or leaves out
    some of them.
    """
    for name, place in placed.items():
        if name not in names:
            told = f"[{place}={name}]" if isinstance(place, str) else f"[{name}=...]"
            raise ValueError(
                f"{told} gives {name} a place, but the line does not show {{{name}}}. Write {{{name}}} into the line, "
                "or take the flag out."
            )
    if not placed:
        return [(index / len(names), 0.0, (index + 1) / len(names), 1.0) for index in range(len(names))]
    if without := [name for name in names if name not in placed]:
        raise ValueError(
            f"{' and '.join(without)} {'has' if len(without) == 1 else 'have'} no place, but others of this line have. "
            "Give all of them one, or none: then they stand side by side."
        )
    words = {place for place in placed.values() if isinstance(place, str)}
    return [_box(placed[name], words) for name in names]


def side_of(box: Box) -> str:
    """`left`, `middle` or `right`: where the middle of a box is."""
    middle = (box[0] + box[2]) / 2
    return "left" if middle < 0.4 else "right" if middle > 0.6 else "middle"


def _box(place: str | Box, words: set[str]) -> Box:
    if not isinstance(place, str):
        return place
    down = place in ("top", "bottom") or (place == "middle" and bool(words & {"top", "bottom"}))
    order = DOWN if down else ACROSS
    parts = order if "middle" in words else (order[0], order[2])
    start, end = parts.index(place) / len(parts), (parts.index(place) + 1) / len(parts)
    return (0.0, start, 1.0, end) if down else (start, 0.0, end, 1.0)
