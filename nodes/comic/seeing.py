"""Who is where in a panel, seen while it is drawn: for bubbles that point to those who speak."""

from collections.abc import Hashable, Sequence

from comfy.model_patcher import ModelPatcher

from ...consistency.places import Box, PlaceWatcher
from ...consistency.subject import WordsRow
from ..consistency.patching import with_phase
from ..sockets import Conditioning
from ..words import WORDS

LOOKED_AT = "storybooth_looked_at"
"""The key beside a conditioning whose cross-attention is looked at."""

Found = dict[WordsRow, Box | None]
"""The boxes of what words have drawn; None for what was not found."""


class Seeing:
    """Models that are looked at while they draw: one clone for each way of drawing, whatever is looked for."""

    def __init__(self) -> None:
        self._watched: dict[Hashable, tuple[ModelPatcher, PlaceWatcher]] = {}
        self._watcher = PlaceWatcher()
        self._rows: Sequence[Sequence[WordsRow]] = ()

    def look(
        self, key: Hashable, model: ModelPatcher, wanted: Sequence[Sequence[WordsRow]], height: int, width: int
    ) -> ModelPatcher:
        """A clone of `model` whose next run, of latents of this size, is looked at for the words of each of its rows,
        as `rows_of` gives them.

        `key` is the same for what draws alike.
        """
        if key not in self._watched:
            watcher = PlaceWatcher()
            self._watched[key] = with_phase(model, watcher, beside=LOOKED_AT), watcher
        looked_at, self._watcher = self._watched[key]
        self._rows = wanted
        words = [
            tuple(rows[slot] if slot < len(rows) else (1, ()) for rows in self._rows)
            for slot in range(max(map(len, self._rows)))
        ]
        self._watcher.look_for(words, height, width)
        return looked_at

    def found(self, row: int) -> Found:
        """What the run has shown of the words of this row."""
        return dict(zip(self._rows[row], self._watcher.boxes(row), strict=False))


def looked_at(conditioning: Conditioning) -> Conditioning:
    """`conditioning` as one that `Seeing` looks at."""
    return [[states, {**more, LOOKED_AT: True}] for states, more in conditioning]


def rows_of(positives: Sequence[Conditioning], speakers: Sequence[WordsRow]) -> list[WordsRow]:
    """What to look for in a picture of these prompts, each once: who speaks, and the subject, should it speak one day.

    Nothing where the picture is drawn in parts: who is in them is known.
    """
    if len(positives) > 1:
        return []
    return list(dict.fromkeys([*(row for row in positives[0][0][1].get(WORDS, ()) if row[1]), *speakers]))
