"""Bubbles: sized to their words, put where they cover neither the speaker nor each other, with a tail to the speaker.

The speaker is taken to fill the lower part of its side of the panel: `HEADS` are where that may begin. What is said
first stands above what follows, or at the side where reading begins. On pages that are read from the right, Japanese
and Chinese stand in columns, as in a manga.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import shorten

from PIL import ImageDraw
from PIL.ImageFont import FreeTypeFont

from .layout import Box, Point
from .lettering import (
    FULLER,
    begins_right_to_left,
    font_for,
    is_torn,
    load_font,
    missing_character,
    stands_vertically,
    wrap,
    written,
)
from .sheet import Sheet
from .speech import SOUND, Speech

PAPER, INK = (255, 255, 255), (20, 20, 20)
LETTERS = FULLER.with_name("ComicNeue-Bold.ttf")
NOISE = FULLER.with_name("Bangers-Regular.ttf")
SIZES = {"speech": 1.0, "thought": 1.0, "shout": 1.2, "whisper": 0.85, SOUND: 2.2}
"""Letters, relative to the caption's."""
SHRINKS = (1.0, 0.9, 0.8, 0.7)
"""Where all does not fit, letters are made so much smaller, and no smaller than that."""
HEADS = (0.42, 0.5)
"""A speaker reaches from there to the bottom of the panel: parts of its height, tried in turn."""
HALF_WIDTH = 0.17
"""Of a speaker, in panels."""
ROUND = 2.6
"""The exponent of the superellipse that a bubble is."""
FILL = (0.5 ** (1 / ROUND)) ** -1
"""How much larger it is than the words' box whose corners it touches."""
PUFF = 0.32
"""How far the arcs of a cloud reach out, in letters."""
STEPS = 18
"""Places that are tried across a panel, and down."""
MOST_TRIES = 300


@dataclass(frozen=True)
class _Bubble:
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

    bubble: _Bubble
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
            start = _edge(bubble.half, self.centre, self.mouth)
            room = min(1.0, math.dist(start, self.mouth) / (3 * bubble.font.size))
            for part, size in ((0.35, 0.42), (0.65, 0.3), (0.9, 0.2)):
                x, y = (a + part * (b - a) for a, b in zip(start, self.mouth, strict=True))
                radius = size * room * bubble.font.size
                sheet.shape(_superellipse((x, y), (radius, radius), 24, 2), (*PAPER, 255), (*INK, 255), line)
        _write(sheet, bubble, self.centre)


def place_bubbles(
    speeches: Sequence[Speech],
    safe: Sequence[Point],
    box: Box,
    size: float,
    font: str = "",
    taken: Sequence[Box] = (),
    right_to_left: bool = False,
) -> list[Placed]:
    """Find places for all that is said in one panel.

    Args:
        speeches: in the order in which they are read.
        safe: the convex polygon that bubbles have to stay in.
        box: the panel's box: speakers are placed in it.
        size: of the letters, in pixels.
        font: see `lettering.load_font`; "" is a comic font for Latin letters, or one of ours that has them.
        taken: where captions stand.
        right_to_left: how the page is read.

    Raises ValueError, naming the script's line, where a bubble does not fit, and what `font_for` raises.
    """
    check_speech(speeches, font)
    failed = speeches[-1] if speeches else None
    if len(safe) > 2:
        for shrink in SHRINKS:
            choices = [_choices(speech, size * shrink, font, safe, right_to_left) for speech in speeches]
            for head in HEADS:
                zones = _zones(speeches, box, head)
                placed, reached = _search(choices, safe, box, [*taken, *zones], right_to_left, size * 0.35)
                if placed is not None:
                    return _with_tails(placed, box, head, taken)
                failed = speeches[reached]
    if failed is None:
        return []
    raise ValueError(
        f'script, line {failed.line}: the bubble "{shorten(failed.words, 60)}" does not fit into its panel beside who '
        f"speaks and what else is said: {box[2] - box[0]:.0f} x {box[3] - box[1]:.0f} pixels, letters of {size:.0f}. "
        "Write fewer words, share them out over more panels, or choose a smaller caption_size or a layout with larger "
        "panels."
    )


def bubble_font(words: str, manner: str, size: int, font: str) -> FreeTypeFont:
    """The font of a bubble: the one that is named, or ours that has its letters. ValueError where none has them."""
    if not font:
        ours = NOISE if manner == SOUND else LETTERS
        loaded = load_font(str(ours), size)
        if missing_character(written(words, loaded), loaded) is None:
            return loaded
        loaded = load_font(str(FULLER), size)
        if missing_character(written(words, loaded), loaded) is None:
            return loaded
    return font_for([words], font, size)


def check_speech(speeches: Sequence[Speech], font: str) -> None:
    """Raise ValueError, naming the line, where no font has the letters of what is said."""
    for speech in speeches:
        try:
            bubble_font(speech.words, speech.manner, 20, font)
        except ValueError as error:
            raise ValueError(f"script, line {speech.line}: {error}") from None


def _choices(speech: Speech, size: float, font: str, safe: Sequence[Point], right_to_left: bool) -> list[_Bubble]:
    """A bubble in different widths, the shapeliest first."""
    letter = max(6, round(size * SIZES[speech.manner]))
    loaded = bubble_font(speech.words, speech.manner, letter, font)
    text = written(speech.words, loaded)
    direction = "rtl" if begins_right_to_left(text) else None
    if right_to_left and speech.manner != SOUND and stands_vertically(text, loaded):
        direction = "ttb"
    vertical = direction == "ttb"
    along = [point[vertical] for point in safe]
    most = (max(along) - min(along)) / FILL
    length = loaded.getlength(text, direction=direction)
    height = sum(loaded.getmetrics())
    made: dict[tuple[str, ...], tuple[tuple[bool, float], _Bubble]] = {}
    for lines in range(1, 13):
        width = min(most, length / lines * 1.12 + letter)
        try:
            broken = tuple(wrap(text, loaded, width, direction))
        except ValueError:
            break
        if broken in made:
            continue
        sides = max(loaded.getlength(line, direction=direction) for line in broken), len(broken) * height
        wide, high = reversed(sides) if vertical else sides
        if speech.manner == SOUND:
            half = wide / 2 + letter * 0.15, high / 2
        else:
            more = 1.34 if speech.manner == "shout" else 1.0
            puff = PUFF * letter if speech.manner == "thought" else 0.0
            half = (wide / 2 + letter * 0.25) * FILL * more + puff, (high / 2 + letter * 0.05) * FILL * more + puff
        # About half as wide again as high is what bubbles look like; with columns, they are higher than wide. No word
        # is torn, where that can be.
        shape = abs(math.log(half[0] / half[1] / (0.55 if vertical else 1.6)))
        torn = is_torn(text, broken)
        made[broken] = (torn, shape), _Bubble(speech, broken, loaded, direction, half)
    ranked = sorted(made.values(), key=lambda found: found[0])
    return [bubble for (torn, _), bubble in ranked if torn == ranked[0][0][0]][:4]


def _zones(speeches: Sequence[Speech], box: Box, head: float) -> list[Box]:
    """Where speakers are, and nothing else may be."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    sides = {speech.side for speech in speeches if speech.manner != SOUND} - {"off"} or {"middle"}
    return [
        (
            left + (_across(side) - HALF_WIDTH) * wide,
            top + head * high,
            left + (_across(side) + HALF_WIDTH) * wide,
            bottom,
        )
        for side in sides
    ]


def _across(side: str) -> float:
    return {"left": 0.25, "right": 0.75}.get(side, 0.5)


def _search(
    choices: Sequence[Sequence[_Bubble]],
    safe: Sequence[Point],
    box: Box,
    taken: Sequence[Box],
    right_to_left: bool,
    gap: float,
) -> tuple[list[tuple[_Bubble, Point]] | None, int]:
    """The first places that go together, and the furthest speech that was reached. Depth first, the best ones tried."""
    reached = 0
    tries = 0
    centres = [[list(_centres(bubble, safe)) for bubble in bubbles] for bubbles in choices]

    def go(index: int, placed: list[tuple[_Bubble, Point]]) -> list[tuple[_Bubble, Point]] | None:
        nonlocal reached, tries
        if index == len(choices):
            return placed
        reached = max(reached, index)
        boxes = [*taken, *(bubble.box(centre) for bubble, centre in placed)]
        before = placed[-1][0].box(placed[-1][1]) if placed else None
        ranked = sorted(
            (
                (_cost(bubble, centre, box, index, len(choices), right_to_left) + 0.25 * rank, rank, centre)
                for rank, bubble in enumerate(choices[index])
                for centre in centres[index][rank]
                if _is_free(bubble.box(centre), boxes, gap)
                and (before is None or _follows(bubble.box(centre), before, right_to_left))
            ),
        )
        for _, rank, centre in ranked[:: max(1, len(ranked) // 12)][:12] if index + 1 < len(choices) else ranked[:1]:
            tries += 1
            if tries > MOST_TRIES:
                return None
            found = go(index + 1, [*placed, (choices[index][rank], centre)])
            if found is not None:
                return found
        return None

    return go(0, []), reached


def _centres(bubble: _Bubble, safe: Sequence[Point]) -> Iterator[Point]:
    """Places in the panel at which the whole bubble lies in it."""
    a, b = bubble.half
    left, right = min(x for x, _ in safe) + a, max(x for x, _ in safe) - a
    top, bottom = min(y for _, y in safe) + b, max(y for _, y in safe) - b
    if left > right or top > bottom:
        return
    # A bubble lies within an edge where its middle is as far within as the bubble reaches in that direction.
    outline = _superellipse((0, 0), bubble.half, 24, ROUND)
    limits = []
    for (x0, y0), (x1, y1) in pairwise([*safe, safe[0]]):
        across, down = y1 - y0, x0 - x1
        if abs(across) > 1e-6 and abs(down) > 1e-6:
            reach = max(across * dx + down * dy for dx, dy in outline)
            limits.append((across, down, across * x1 + down * y1 - reach))
    for row in range(STEPS + 1):
        y = top + (bottom - top) * row / STEPS
        for column in range(STEPS + 1):
            x = left + (right - left) * column / STEPS
            if all(across * x + down * y <= limit for across, down, limit in limits):
                yield x, y


def _is_free(box: Box, taken: Sequence[Box], gap: float) -> bool:
    left, top, right, bottom = box
    return all(
        right + gap <= other[0] or left - gap >= other[2] or bottom + gap <= other[1] or top - gap >= other[3]
        for other in taken
    )


def _follows(box: Box, before: Box, right_to_left: bool) -> bool:
    """Whether a bubble is read after another: it is further in reading direction and not higher, or below it."""
    if box[1] >= before[3] - 0.25 * (before[3] - before[1]):
        return True
    further = box[2] <= before[0] if right_to_left else box[0] >= before[2]
    return further and (box[1] + box[3]) / 2 >= (before[1] + before[3]) / 2 - 1


def _cost(bubble: _Bubble, centre: Point, box: Box, index: int, count: int, right_to_left: bool) -> float:
    """How bad a place is: 0 is where a letterer would begin."""
    left, top, right, bottom = box
    x, y = (centre[0] - left) / (right - left), (centre[1] - top) / (bottom - top)
    spoken = bubble.speech
    if spoken.manner == SOUND:
        return abs(x - _across(spoken.side)) + abs(y - (0.15 if index == 0 else 0.85))
    along = (index + 0.5) / count
    if count == 1 and spoken.side == "middle":
        along = 0.33
    wish = 1 - along if right_to_left else along
    if spoken.side in ("left", "right"):
        above = _across(spoken.side)
        # Where who is further on speaks first, a bubble between both would have its tail in the next one's way.
        wish = (wish + above) / 2 if (wish - 0.5) * (above - 0.5) >= 0 else above
    return abs(x - wish) + 1.5 * y


def _with_tails(placed: Sequence[tuple[_Bubble, Point]], box: Box, head: float, taken: Sequence[Box]) -> list[Placed]:
    """Bubbles with tails that end before they reach another bubble or a caption."""
    made = []
    for index, (bubble, centre) in enumerate(placed):
        mouth = _mouth(bubble, centre, box, head)
        if mouth is not None:
            others = [*taken, *(other.box(at) for place, (other, at) in enumerate(placed) if place != index)]
            start, gap = _edge(bubble.half, centre, mouth), bubble.font.size * 0.2
            parts = [step / 40 for step in range(1, 41)]
            path = [tuple(a + part * (b - a) for a, b in zip(start, mouth, strict=True)) for part in parts]
            clear = [point for point in path if _is_free((*point, *point), others, gap)]
            mouth = mouth if len(clear) == len(path) else path[max(2, _until(path, clear) - 1)]
        made.append(Placed(bubble, centre, mouth))
    return made


def _until(path: Sequence[Point], clear: Sequence[Point]) -> int:
    """How many of the first points of a path are clear."""
    return next((index for index, point in enumerate(path) if point not in clear), len(path))


def _mouth(bubble: _Bubble, centre: Point, box: Box, head: float) -> Point | None:
    """Where the tail ends: on the way to the speaker's head, or at the panel's edge for a voice from outside."""
    spoken = bubble.speech
    if spoken.manner == SOUND:
        return None
    left, top, right, bottom = box
    if spoken.side == "off":
        edge = left if centre[0] - left < right - centre[0] else right
        return edge + (0.02 if edge == left else -0.02) * (right - left), centre[1] + 0.4 * bubble.half[1]
    target = left + _across(spoken.side) * (right - left), top + (head + 0.06) * (bottom - top)
    start = _edge(bubble.half, centre, target)
    length = math.dist(start, target)
    if length < 1:
        return None
    # As far as a tail reads well.
    part = max(1.3 * bubble.font.size, min(0.8 * length, 4 * bubble.font.size)) / length
    return tuple(a + part * (b - a) for a, b in zip(start, target, strict=True))


def _edge(half: tuple[float, float], centre: Point, target: Point) -> Point:
    """Where a line from the middle of a bubble leaves it."""
    dx, dy = target[0] - centre[0], target[1] - centre[1]
    reach = (abs(dx / half[0]) ** ROUND + abs(dy / half[1]) ** ROUND) ** (1 / ROUND) or 1.0
    return centre[0] + dx / reach, centre[1] + dy / reach


def _superellipse(centre: Point, half: tuple[float, float], count: int, exponent: float) -> list[Point]:
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
    points = _superellipse(centre, bubble.half, 180, ROUND)
    if placed.mouth is None:
        return points
    start = _edge(bubble.half, centre, placed.mouth)
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
    base = _superellipse(centre, inner, 720, 2.2)
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
    valleys = _superellipse(centre, inner, 2 * spikes, ROUND)
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


def _write(sheet: Sheet, bubble: _Bubble, centre: Point, outlined: bool = False) -> None:
    """The lines of a bubble around its centre."""
    font = bubble.font
    ascent, descent = font.getmetrics()
    if bubble.direction == "ttb":
        top = centre[1] - max(font.getlength(line, direction="ttb") for line in bubble.lines) / 2
        right = centre[0] + (len(bubble.lines) - 1) * (ascent + descent) / 2
        for index, line in enumerate(bubble.lines):
            sheet.write(line, round(right - index * (ascent + descent)), round(top), font, INK, "ttb")
        return
    top = centre[1] - len(bubble.lines) * (ascent + descent) / 2
    for index, line in enumerate(bubble.lines):
        baseline = round(top + ascent + index * (ascent + descent))
        if outlined:
            ImageDraw.Draw(sheet.picture).text(
                (centre[0], baseline),
                line,
                INK,
                font,
                anchor="ms",
                direction=bubble.direction,
                stroke_width=max(2, round(font.size / 12)),
                stroke_fill=PAPER,
            )
        sheet.write(line, centre[0], baseline, font, INK, bubble.direction)
