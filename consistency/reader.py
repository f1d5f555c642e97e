"""The read phase: a panel's self-attention also reads the identity images' kept tokens from the bank."""

from collections.abc import Mapping, Sequence

import torch

from .attention import append, appended_bytes, gather_kept
from .bank import IdentityBank
from .draws import is_consistent, kept_tokens
from .schedule import Layer, Schedule
from .steps import nearest_step


class BankReader:
    """The read `Phase`: reads one bank during sampling runs of any panel size, batch size and sampler.

    Steps are the bank's: an evaluation belongs to the written step with the nearest noise level. A compact
    bank lends its own draws to every panel; of a full bank each panel draws for itself, with its own seed.
    """

    def __init__(self, bank: IdentityBank, schedule: Schedule) -> None:
        """ValueError, naming the setting, where `schedule` asks for more than the bank holds."""
        if bank.recipe.storage == "compact":
            schedule.require_within(bank.recipe.schedule, bank.recipe.steps)
        self.bank = bank
        self.schedule = schedule
        self.start((), None)

    @property
    def shaped_by(self) -> tuple[str, Schedule]:
        """Equal for readers that read the same."""
        return (self.bank.id, self.schedule)

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        """A sampling run with noise `seed` begins."""
        own = self.bank.recipe.storage == "full" and seed is not None
        self._seed = seed if own else self.bank.recipe.seed
        self._step = -1
        self._kept: dict[int, torch.Tensor] = {}

    def begin(self, sigma: float) -> None:
        """An evaluation at noise level `sigma` begins. ValueError where the bank was written nowhere near it."""
        step = nearest_step(sigma, self.bank.sigmas)
        if step != self._step:
            self._step = step
            self._kept = {}

    def attend(
        self, layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]
    ) -> torch.Tensor:
        """The context (chunks*B, N, C) with the identity images' tokens behind it: (chunks*B, N + M*k, C).

        `halves` (COND or UNCOND) names the chunks in their order. ValueError where the bank lacks a half.
        """
        kept = self.schedule.kept(layer.level, self.bank.tokens[layer.level])
        if kept == 0 or not is_consistent(self.schedule, self._seed, self._step, layer):
            return context
        return append(context, [self._read(layer, half, kept, context) for half in halves])

    def memory_needed(self, rows: int, tokens: Mapping[int, int], itemsize: int) -> int:
        """Bytes that reading adds to an evaluation of `rows` rows whose levels have so many `tokens`."""
        bank = self.bank
        kept = {level: bank.images * self.schedule.kept(level, bank.tokens[level]) for level in bank.channels}
        return appended_bytes(rows, tokens, kept, bank.channels, itemsize)

    def _read(self, layer: Layer, half: int, kept: int, context: torch.Tensor) -> torch.Tensor:
        """The kept tokens of all identity images for one half, (1, M*kept, C), as `context` wants them."""
        self.bank.require_half(half)
        feature = self.bank.features.get((self._step, layer, half))
        if feature is None or feature.shape[-1] != context.shape[-1]:
            raise ValueError(
                f"bank: it is incomplete: it lacks what layer {layer.block}.{layer.index} of this model reads at step "
                f"{self._step}. Its file was changed or comes from another network; write the bank again."
            )
        if self.bank.recipe.storage == "full":
            feature = gather_kept(feature, self._kept_tokens(layer.level, kept))
        else:
            feature = feature[:, :kept]
        feature = feature.to(context.device, non_blocking=True).to(context.dtype)
        return feature.reshape(1, -1, feature.shape[-1])

    def _kept_tokens(self, level: int, kept: int) -> torch.Tensor:
        if level not in self._kept:
            bank = self.bank
            self._kept[level] = kept_tokens(self._seed, self._step, level, bank.images, bank.tokens[level], kept)
        return self._kept[level]
