"""Where speakers are in a panel: as their line says, else as the picture's own cross-attention has shown, else in the
middle.

What was seen travels as text, a JSON list with an entry for each panel: for every speaker that was found the left,
top, right and bottom of its box, in shares of the picture.

    [{"nupjuki": [0.1, 0.3, 0.45, 0.95]}, {}]
"""

import json
from collections.abc import Mapping, Sequence

from .polygons import Box, Point
from .regions import side_of
from .speech import SOUND, Speech

Seen = Mapping[str, Box]
"""Boxes of speakers, by their names in small letters."""

HEADS = (0.42, 0.5)
"""A speaker whom nobody has seen reaches from there to the bottom of the panel: parts of its height, tried in turn."""
HALF_WIDTH = 0.17
"""Of such a speaker, in panels."""
HIGHEST = 0.2
"""What is above that part of the panel is never a speaker's alone: else there were no room for words."""


class Speakers:
    """Where those who speak in the panel with this `box` are; `seen` are boxes on the same page."""

    def __init__(self, box: Box, seen: Seen | None = None) -> None:
        self.box = box
        self._seen = seen or {}

    def zone(self, speech: Speech, head: float) -> Box:
        """What belongs to the speaker alone; `head` is one of `HEADS`, and the greater leaves more to words."""
        left, top, right, bottom = self.box
        wide, high = right - left, bottom - top
        if (seen := self._of(speech)) is None:
            x = left + self.across(speech) * wide
            return x - HALF_WIDTH * wide, top + head * high, x + HALF_WIDTH * wide, bottom
        upper = max(seen[1], top + HIGHEST * high) + (head - HEADS[0]) * high
        return seen[0], upper, seen[2], max(upper, seen[3])

    def zones(self, speeches: Sequence[Speech], head: float) -> list[Box]:
        """The zones of all who speak, or of somebody in the middle where nobody in the picture does."""
        present = [speech for speech in speeches if speech.manner != SOUND and speech.side != "off"]
        return list(dict.fromkeys(self.zone(speech, head) for speech in present or [Speech("", "")]))

    def across(self, speech: Speech) -> float:
        """How far to the right the speaker is, as a share of the panel's width."""
        if (seen := self._of(speech)) is not None:
            return ((seen[0] + seen[2]) / 2 - self.box[0]) / (self.box[2] - self.box[0])
        return {"left": 0.25, "right": 0.75}.get(speech.side, 0.5)

    def side(self, speech: Speech) -> str:
        """`left`, `middle`, `right` or `off`."""
        across = self.across(speech)
        return speech.side if self._of(speech) is None else side_of((across, 0, across, 1))

    def mouth(self, speech: Speech, head: float) -> Point:
        """What a tail points to."""
        left, upper, right, _ = self.zone(speech, head)
        return (left + right) / 2, upper + 0.06 * (self.box[3] - self.box[1])

    def _of(self, speech: Speech) -> Box | None:
        return None if speech.is_placed else self._seen.get(speech.speaker.casefold())


def written_places(places: Sequence[Seen]) -> str:
    """The text of what was seen in all panels of a story: three digits, whoever's processor has seen it."""
    rounded = [{name: [round(part, 3) for part in box] for name, box in seen.items()} for seen in places]
    return json.dumps(rounded, ensure_ascii=False)


def read_places(text: str, panels: int) -> list[Seen]:
    """What `written_places` has written, of so many panels. ValueError, naming `places`, for anything else."""
    example = 'such as [{"nupjuki": [0.1, 0.3, 0.45, 0.95]}, {}]'
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(seen, dict) for seen in found):
        raise ValueError(
            f"places: got {text[:60]!r}, expected what Story Panel Sampler's places gives: a JSON list with an entry "
            f"for each panel, {example}."
        )
    if len(found) != panels:
        raise ValueError(
            f"places: they are of {len(found)} panels, but storyboard shows {panels}. Wire in the places of the Story "
            "Panel Sampler that drew this storyboard."
        )
    for seen in found:
        for name, box in seen.items():
            if not _is_box(box):
                raise ValueError(
                    f"places: got {str(box)[:60]} for {name[:40]}, expected left, top, right and bottom as shares of "
                    f"the picture, from 0 to 1, {example}."
                )
    return [{name.casefold(): tuple(map(float, box)) for name, box in seen.items()} for seen in found]


def on_page(seen: Seen, size: tuple[int, int], box: Box) -> Seen:
    """Boxes of a picture of `size` (width, height) on the page, where it fills `box` and is cut evenly on two sides."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    scale = max(wide / size[0], high / size[1])
    across, down = scale * size[0], scale * size[1]
    x, y = left - (across - wide) / 2, top - (down - high) / 2
    return {
        name: (
            min(max(x + part[0] * across, left), right),
            min(max(y + part[1] * down, top), bottom),
            min(max(x + part[2] * across, left), right),
            min(max(y + part[3] * down, top), bottom),
        )
        for name, part in seen.items()
    }


def _is_box(box: object) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    if not all(isinstance(part, int | float) and 0 <= part <= 1 for part in box):
        return False
    left, top, right, bottom = box
    return left < right and top < bottom
