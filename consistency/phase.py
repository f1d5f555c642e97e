"""What the two phases of consistent self-attention, write and read, have in common for the host that runs them."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

import torch

from .schedule import Layer
from .subject import Words


class Phase(Protocol):
    """Told of every sampling run and evaluation, asked in every self-attention layer of the up blocks."""

    writes: bool
    """Whether every evaluation must cover its pictures whole."""

    @property
    def shaped_by(self) -> tuple[Hashable, ...]:
        """Equal for phases that change a picture in the same way."""

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        """A sampling run begins, with noise `seed`; `sigmas` are its falling noise levels without the final 0."""

    watches: bool = False
    """Whether it wants to see cross-attention, to tell where the subject is."""

    blind: bool = False
    """Whether a run has shown it none of the subject's, though it knows the words."""

    def introduce(self, words: Words | None) -> None:
        """A run's prompts have the subject's `words` at these places; None where nobody knows."""

    def begin(self, sigma: float, size: tuple[int, int] | None = None) -> None:
        """An evaluation of the model at noise level `sigma` begins, of latents of this `size`: height and width."""

    def watch(self, place: Hashable, q: torch.Tensor, k: torch.Tensor, heads: int, words: Words) -> None:
        """A cross-attention of conditional prompts: see `SubjectMaps.add`."""

    def readers(self, tokens: int, rows: int) -> torch.Tensor | None:
        """Which tokens of `rows` pictures attend to what `attend` appended: bool (rows, tokens); None: all of them."""
        return None

    def attend(
        self, layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]
    ) -> torch.Tensor:
        """The context that the layer's keys and values should be made of.

        `hidden_states` (chunks*B, N, C) is the layer's input, one chunk for each entry of `halves` (COND or UNCOND) in
        that order; `context` (chunks*B, N or more, C) is what it would read. Returns it, or a longer one.
        """

    streamed: frozenset[str] = frozenset()
    """The types of devices on which it keeps memory between evaluations."""

    to_come: int = 0
    """Bytes of the device that this run may take for itself beside what it has already."""

    def settle(self, room: int) -> None:
        """The network is loaded; beside it and what it computes with, its device has `room` bytes."""

    def stop(self) -> None:
        """The sampling run is over, finished or not."""

    def leave(self) -> None:
        """The network leaves its device, to make room there."""

    def memory_needed(self, rows: int, tokens: Mapping[int, int], itemsize: int) -> int:
        """Bytes that this adds to an evaluation of `rows` rows whose levels have so many `tokens`."""
