"""Where somebody is in a picture, seen while it is drawn: the box of what its words drew.

Shapes as in subject.py, whose maps these are: the mean over layers and over those steps in which composition has
settled and details have not begun.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch

from .phase import Phase
from .schedule import Layer
from .steps import step_of
from .subject import SubjectMaps, Words, above_otsu

SEEN = (0.3, 0.6)
"""The part of a run's steps that is looked at."""

EDGE = 0.05
"""The share of somebody's attention that may lie beyond each side of the box."""

LARGEST = 0.8
"""A box that is wider and higher than that says nothing."""

Box = tuple[float, float, float, float]


class PlaceWatcher(Phase):
    """Looks at sampling runs and changes nothing."""

    writes = False
    shaped_by = ()

    def __init__(self) -> None:
        self._words: Sequence[Words] = ()
        self._maps: list[SubjectMaps] = []
        self._tokens = 0
        self._sigmas: Sequence[float] = ()
        self._looks = True

    def look_for(self, words: Sequence[Words], height: int, width: int) -> None:
        """In the next run, of latents of this size, look for these `words`: those of one somebody after another."""
        self._words = words
        self._maps = [SubjectMaps(height, width) for _ in words]
        self._tokens = -(-height // 2) * -(-width // 2)

    @property
    def watches(self) -> bool:
        """Whether the present step counts; outside of a run, that some will."""
        return self._looks

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        """The sampling run begins; `sigmas` are the noise levels of its steps, falling, without the final 0."""
        self._sigmas = sigmas

    def begin(self, sigma: float, size: tuple[int, int] | None = None) -> None:
        """An evaluation at noise level `sigma` begins."""
        steps = len(self._sigmas)
        first = min(int(SEEN[0] * steps), steps - 1)
        self._looks = first <= step_of(sigma, self._sigmas) <= max(first, int(SEEN[1] * steps))
        for maps in self._maps:
            maps.begin()

    def watch(self, place: Hashable, q: torch.Tensor, k: torch.Tensor, heads: int, words: Words) -> None:
        """A cross-attention of the pictures' prompts: see `SubjectMaps.add`."""
        if self._looks:
            for maps, its_words in zip(self._maps, self._words, strict=True):
                maps.add(place, q, k, heads, its_words)

    def attend(
        self, layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]
    ) -> torch.Tensor:
        """The context as it is."""
        return context

    def memory_needed(self, rows: int, tokens: Mapping[int, int], itemsize: int) -> int:
        """None."""
        return 0

    def stop(self) -> None:
        """The sampling run is over."""
        self._looks = True
        for maps in self._maps:
            maps.begin()

    def boxes(self, row: int) -> list[Box | None]:
        """The box of everybody in the picture of this row; None where it was not seen, or is everywhere."""
        found = []
        for maps, words in zip(self._maps, self._words, strict=True):
            level = maps.level(self._tokens)
            absent = level is None or not words[row % len(words)][1]
            found.append(None if absent else box_of(level[row].unflatten(0, maps.grid(self._tokens))))
        return found


def box_of(cells: torch.Tensor) -> Box | None:
    """Left, top, right and bottom, as shares, of what is seen in a map (h, w); None where that is everywhere.

    The box holds what lies above Otsu's threshold, weighed by how far above, but for `EDGE` at each side.
    """
    height, width = cells.shape
    values = cells.double().flatten()
    subject = above_otsu(values)
    if subject.all():
        return None
    weights = torch.where(subject, values - values[~subject].max(), 0.0).unflatten(0, (height, width))
    left, right = _span(weights.sum(0))
    top, bottom = _span(weights.sum(1))
    return None if right - left > LARGEST and bottom - top > LARGEST else (left, top, right, bottom)


def _span(weights: torch.Tensor) -> tuple[float, float]:
    """Between which shares of a line all but `EDGE` of its weight at each end lies; cells (n,) are filled evenly."""
    reached = torch.cat([weights.new_zeros(1), weights.cumsum(0)]) / weights.sum()
    cell = [int((reached[1:] < share).sum()) for share in (EDGE, 1 - EDGE)]
    ends = [
        index + float((share - reached[index]) / (reached[index + 1] - reached[index]))
        for index, share in zip(cell, (EDGE, 1 - EDGE), strict=True)
    ]
    return ends[0] / len(weights), ends[1] / len(weights)
