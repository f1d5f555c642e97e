"""Where the subject is in pictures while they are drawn, whatever is patched into their model; nothing is changed."""

from collections.abc import Hashable, Sequence
from uuid import uuid4

import torch

from storybooth.consistency.phase import Phase
from storybooth.consistency.schedule import Layer
from storybooth.consistency.subject import SubjectMaps, Words, above_otsu


class Onlooker(Phase):
    """A phase that neither writes nor reads. `seen`: one bool (B, h, w) for each sampling run, at the finer grid.

    True is where the map of all the run's evaluations is above Otsu's threshold; nowhere in rows whose prompts have no
    words of the subject.
    """

    writes = False
    watches = True

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self._id = uuid4().hex
        self._words: Words = ()
        self._maps: SubjectMaps | None = None

    @property
    def shaped_by(self) -> tuple[Hashable, ...]:
        return (self._id,)  # no bank that was written before, unseen, stands for one that is written now

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        self._words, self._maps = (), None

    def introduce(self, words: Words | None) -> None:
        self._words = words or ()

    def begin(self, sigma: float, size: tuple[int, int] | None = None) -> None:
        if size and self._maps is None:
            self._maps = SubjectMaps(*size)
        if self._maps:
            self._maps.begin()

    def watch(self, place: Hashable, q: torch.Tensor, k: torch.Tensor, heads: int, words: Words) -> None:
        if self._maps:
            self._maps.add(place, q, k, heads, words)

    def attend(
        self, layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]
    ) -> torch.Tensor:
        return context

    def memory_needed(self, rows: int, tokens: object, itemsize: int) -> int:
        return 0

    def stop(self) -> None:
        if self._maps is None:
            return
        self._maps.begin()  # what the last evaluation saw counts too
        height, width = (-(-side // 2) for side in self._maps.size)
        maps = self._maps.level(height * width)
        if maps is None:
            return
        rows = [
            above_otsu(row) if self._words[index % len(self._words)][1] else torch.zeros(len(row), dtype=torch.bool)
            for index, row in enumerate(maps)
        ]
        self.seen.append(torch.stack(rows).unflatten(1, (height, width)))
