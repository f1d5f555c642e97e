"""Bubbles: sized to their words, put where they cover neither the speaker nor each other, with a tail to the speaker.

Where speakers are, speakers.py knows. What is said first stands above what follows, or at the side where reading
begins. On pages that are read from the right, Japanese and Chinese stand in columns, as in a manga.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from textwrap import shorten

from PIL.ImageFont import FreeTypeFont

from .bubble_shapes import PUFF, ROUND, Bubble, Placed, edge_of, superellipse
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
from .polygons import Box, Point
from .speakers import HEADS, Seen, Speakers
from .speech import SOUND, Speech

LETTERS = FULLER.with_name("ComicNeue-Bold.ttf")
NOISE = FULLER.with_name("Bangers-Regular.ttf")
SIZES = {"speech": 1.0, "thought": 1.0, "shout": 1.2, "whisper": 0.85, SOUND: 2.2}
"""Letters, relative to the caption's."""
SHRINKS = (1.0, 0.9, 0.8, 0.7)
"""Where all does not fit, letters are made so much smaller, and no smaller than that."""
FILL = (0.5 ** (1 / ROUND)) ** -1
"""How much larger it is than the words' box whose corners it touches."""
STEPS = 18
"""Places that are tried across a panel, and down."""
MOST_TRIES = 300


def place_bubbles(
    speeches: Sequence[Speech],
    safe: Sequence[Point],
    box: Box,
    size: float,
    font: str = "",
    taken: Sequence[Box] = (),
    right_to_left: bool = False,
    seen: Seen | None = None,
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
        seen: boxes of speakers on the page, by name. Where bubbles have no place beside these, they count as unseen.

    Raises ValueError, naming the script's line, where a bubble does not fit, and what `font_for` raises.
    """
    check_speech(speeches, font)
    failed = speeches[-1] if speeches else None
    if len(safe) > 2:
        for shrink in SHRINKS:
            choices = [_choices(speech, size * shrink, font, safe, right_to_left) for speech in speeches]
            for speakers, head in product([Speakers(box, seen), Speakers(box)] if seen else [Speakers(box)], HEADS):
                zones = speakers.zones(speeches, head)
                placed, reached = _search(choices, safe, speakers, [*taken, *zones], right_to_left, size * 0.35)
                if placed is not None:
                    return _with_tails(placed, speakers, head, taken)
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


def _choices(speech: Speech, size: float, font: str, safe: Sequence[Point], right_to_left: bool) -> list[Bubble]:
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
    made: dict[tuple[str, ...], tuple[tuple[bool, float], Bubble]] = {}
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
        made[broken] = (torn, shape), Bubble(speech, broken, loaded, direction, half)
    ranked = sorted(made.values(), key=lambda found: found[0])
    return [bubble for (torn, _), bubble in ranked if torn == ranked[0][0][0]][:4]


def _search(
    choices: Sequence[Sequence[Bubble]],
    safe: Sequence[Point],
    speakers: Speakers,
    taken: Sequence[Box],
    right_to_left: bool,
    gap: float,
) -> tuple[list[tuple[Bubble, Point]] | None, int]:
    """The first places that go together, and the furthest speech that was reached. Depth first, the best ones tried."""
    reached = 0
    tries = 0
    centres = [[list(_centres(bubble, safe)) for bubble in bubbles] for bubbles in choices]

    def go(index: int, placed: list[tuple[Bubble, Point]]) -> list[tuple[Bubble, Point]] | None:
        nonlocal reached, tries
        if index == len(choices):
            return placed
        reached = max(reached, index)
        boxes = [*taken, *(bubble.box(centre) for bubble, centre in placed)]
        before = placed[-1][0].box(placed[-1][1]) if placed else None
        ranked = sorted(
            (
                (_cost(bubble, centre, speakers, index, len(choices), right_to_left) + 0.25 * rank, rank, centre)
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


def _centres(bubble: Bubble, safe: Sequence[Point]) -> Iterator[Point]:
    """Places in the panel at which the whole bubble lies in it."""
    a, b = bubble.half
    left, right = min(x for x, _ in safe) + a, max(x for x, _ in safe) - a
    top, bottom = min(y for _, y in safe) + b, max(y for _, y in safe) - b
    if left > right or top > bottom:
        return
    # A bubble lies within an edge where its middle is as far within as the bubble reaches in that direction.
    outline = superellipse((0, 0), bubble.half, 24, ROUND)
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


def _cost(bubble: Bubble, centre: Point, speakers: Speakers, index: int, count: int, right_to_left: bool) -> float:
    """How bad a place is: 0 is where a letterer would begin."""
    left, top, right, bottom = speakers.box
    x, y = (centre[0] - left) / (right - left), (centre[1] - top) / (bottom - top)
    spoken = bubble.speech
    if spoken.manner == SOUND:
        return abs(x - speakers.across(spoken)) + abs(y - (0.15 if index == 0 else 0.85))
    along = (index + 0.5) / count
    side = speakers.side(spoken)
    if count == 1 and side == "middle":
        along = 0.33
    wish = 1 - along if right_to_left else along
    if side in ("left", "right"):
        above = speakers.across(spoken)
        # Where who is further on speaks first, a bubble between both would have its tail in the next one's way.
        wish = (wish + above) / 2 if (wish - 0.5) * (above - 0.5) >= 0 else above
    return abs(x - wish) + 1.5 * y


def _with_tails(
    placed: Sequence[tuple[Bubble, Point]], speakers: Speakers, head: float, taken: Sequence[Box]
) -> list[Placed]:
    """Bubbles with tails that end before they reach another bubble or a caption."""
    made = []
    for index, (bubble, centre) in enumerate(placed):
        mouth = _mouth(bubble, centre, speakers, head)
        if mouth is not None:
            others = [*taken, *(other.box(at) for place, (other, at) in enumerate(placed) if place != index)]
            start, gap = edge_of(bubble.half, centre, mouth), bubble.font.size * 0.2
            parts = [step / 40 for step in range(1, 41)]
            path = [tuple(a + part * (b - a) for a, b in zip(start, mouth, strict=True)) for part in parts]
            clear = [point for point in path if _is_free((*point, *point), others, gap)]
            mouth = mouth if len(clear) == len(path) else path[max(2, _until(path, clear) - 1)]
        made.append(Placed(bubble, centre, mouth))
    return made


def _until(path: Sequence[Point], clear: Sequence[Point]) -> int:
    """How many of the first points of a path are clear."""
    return next((index for index, point in enumerate(path) if point not in clear), len(path))


def _mouth(bubble: Bubble, centre: Point, speakers: Speakers, head: float) -> Point | None:
    """Where the tail ends: on the way to the speaker's head, or at the panel's edge for a voice from outside."""
    spoken = bubble.speech
    if spoken.manner == SOUND:
        return None
    left, _, right, _ = speakers.box
    if spoken.side == "off":
        edge = left if centre[0] - left < right - centre[0] else right
        return edge + (0.02 if edge == left else -0.02) * (right - left), centre[1] + 0.4 * bubble.half[1]
    target = speakers.mouth(spoken, head)
    start = edge_of(bubble.half, centre, target)
    length = math.dist(start, target)
    if length < 1:
        return None
    # As far as a tail reads well.
    part = max(1.3 * bubble.font.size, min(0.8 * length, 4 * bubble.font.size)) / length
    return tuple(a + part * (b - a) for a, b in zip(start, target, strict=True))
