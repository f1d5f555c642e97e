"""The read phase: a panel's self-attention also reads the identity images' kept tokens from the bank."""

from collections.abc import Mapping, Sequence

import torch

from .attention import append, appended_bytes, gather_kept
from .bank import DTYPES, IdentityBank, Slot
from .draws import is_consistent, kept_tokens
from .phase import Phase
from .schedule import Layer, Schedule
from .steps import nearest_step
from .stream import CallOrder, DeviceFeatures

PLACES = 4
"""Two for the layer that is read, two for the next one: cond and uncond."""


class BankReader(Phase):
    """The read `Phase`: reads one bank during sampling runs of any panel size, batch size and sampler.

    Steps are the bank's: an evaluation belongs to the written step with the nearest noise level. A compact
    bank lends its own draws to every panel; of a full bank each panel draws for itself, with its own seed.

    The bank stays in system memory and comes to the device one layer ahead of its use. Where the device has room for
    twice a compact bank, the bank stays there for the runs that follow.
    """

    writes = False
    streamed = frozenset({"cuda"})
    """The types of devices that copies can run beside."""

    def __init__(self, bank: IdentityBank, schedule: Schedule) -> None:
        """ValueError, naming the setting, where `schedule` asks for more than the bank holds."""
        if bank.recipe.storage == "compact":
            schedule.require_within(bank.recipe.schedule, bank.recipe.steps)
        self.bank = bank
        self.schedule = schedule
        self._on_device: DeviceFeatures | None = None
        self._may_stay = False
        self._order = CallOrder()
        self.start((), None)

    @property
    def shaped_by(self) -> tuple[str, Schedule]:
        """Equal for readers that read the same."""
        return (self.bank.id, self.schedule)

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        """A sampling run with noise `seed` begins. ValueError where the bank was written nowhere near its `sigmas`."""
        for sigma in sigmas:
            nearest_step(sigma, self.bank.sigmas)
        own = self.bank.recipe.storage == "full" and seed is not None
        self._seed = seed if own else self.bank.recipe.seed
        self._step = -1
        self._kept: dict[int, torch.Tensor] = {}

    def settle(self, room: int) -> None:
        """The device has `room` bytes to spare during this run: with half of them the bank may stay there."""
        may_stay = self.bank.recipe.storage == "compact" and 2 * self.bank.size <= room + self.held
        if self._on_device and self._on_device.stays != may_stay:
            self.leave()
        self._may_stay = may_stay

    @property
    def held(self) -> int:
        """Bytes of the device that hold features."""
        return self._on_device.size if self._on_device else 0

    @property
    def to_come(self) -> int:
        """Bytes of the device that the bank will take beside those that it has, where it may stay."""
        return self.bank.size - self.held if self._may_stay else 0

    def begin(self, sigma: float) -> None:
        """An evaluation at noise level `sigma` begins. ValueError where the bank was written nowhere near it."""
        step = nearest_step(sigma, self.bank.sigmas)
        if step != self._step:
            self._step = step
            self._kept = {}
        self._order.begin()
        self._send_ahead()

    def attend(
        self, layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]
    ) -> torch.Tensor:
        """The context (chunks*B, N, C) with the identity images' tokens behind it: (chunks*B, N + M*k, C).

        `halves` (COND or UNCOND) names the chunks in their order. ValueError where the bank lacks a half.
        """
        self._order.note((layer, tuple(halves)))
        if not self._reads(layer):
            return context
        read = {half: self._read(layer, half, context) for half in dict.fromkeys(halves)}
        extended = append(context, [read[half] for half in halves])
        self._send_ahead()
        return extended

    def stop(self) -> None:
        """The sampling run is over: nothing stays on the device but a bank that has room there."""
        if self._on_device and not self._on_device.stays:
            self.leave()

    def leave(self) -> None:
        """Give back all memory of the device."""
        self._on_device = None
        self._may_stay = False

    def memory_needed(self, rows: int, tokens: Mapping[int, int], itemsize: int) -> int:
        """Bytes that reading adds to an evaluation of `rows` rows whose levels have so many `tokens`."""
        kept = {level: self.bank.images * self._kept_count(level) for level in self.bank.channels}
        return appended_bytes(rows, tokens, kept, self.bank.channels, itemsize) + PLACES * self._place_bytes

    @property
    def _place_bytes(self) -> int:
        """The size of the largest feature that is read."""
        bank = self.bank
        kept = (bank.images * self._kept_count(level) * channels for level, channels in bank.channels.items())
        return max(kept, default=0) * DTYPES[bank.recipe.dtype].itemsize

    def _kept_count(self, level: int) -> int:
        return self.schedule.kept(level, self.bank.tokens[level])

    def _reads(self, layer: Layer) -> bool:
        """Whether the layer reads the bank at this step."""
        return self._kept_count(layer.level) > 0 and is_consistent(self.schedule, self._seed, self._step, layer)

    def _read(self, layer: Layer, half: int, context: torch.Tensor) -> torch.Tensor:
        """The kept tokens of all identity images for one half, (1, M*kept, C), as `context` wants them."""
        self.bank.require_half(half)
        slot = self._step, layer, half
        feature = self.bank.features.get(slot)
        if feature is None or feature.shape[-1] != context.shape[-1]:
            raise ValueError(
                f"bank: it is incomplete: it lacks what layer {layer.block}.{layer.index} of this model reads at step "
                f"{self._step}. Its file was changed or comes from another network; write the bank again."
            )
        device = context.device
        if device.type not in self.streamed:
            selected = self._select(slot)
            if selected.itemsize == 1 and device.type != "cuda":  # fp8, which not every other device knows
                selected = selected.to(context.dtype)
            return selected.to(device).to(context.dtype).reshape(1, -1, feature.shape[-1])
        if self._on_device is None or self._on_device.device != device:
            self._on_device = DeviceFeatures(device, self._place_bytes, None if self._may_stay else PLACES)
        tokens = self._on_device.take(slot, lambda: self._select(slot), context.dtype)
        return tokens.reshape(1, -1, tokens.shape[-1])

    def _send_ahead(self) -> None:
        """Begin to copy what the next layer that reads is expected to read."""
        if self._on_device is None:
            return
        for layer, halves in self._order.upcoming():
            if self._reads(layer):
                for half in dict.fromkeys(halves):
                    slot = self._step, layer, half
                    if slot in self.bank.features:
                        self._on_device.send(slot, lambda slot=slot: self._select(slot))
                return

    def _select(self, slot: Slot) -> torch.Tensor:
        """The kept tokens of a feature, (M, kept, C), in system memory."""
        _, layer, _ = slot
        feature, kept = self.bank.features[slot], self._kept_count(layer.level)
        if self.bank.recipe.storage == "compact":
            return feature[:, :kept]
        return gather_kept(feature, self._kept_tokens(layer.level, kept))

    def _kept_tokens(self, level: int, kept: int) -> torch.Tensor:
        if level not in self._kept:
            bank = self.bank
            self._kept[level] = kept_tokens(self._seed, self._step, level, bank.images, bank.tokens[level], kept)
        return self._kept[level]
