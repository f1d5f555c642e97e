"""The read phase: a panel's self-attention also reads the identity images' kept tokens from the bank."""

from collections.abc import Hashable, Mapping, Sequence

import torch

from .attention import append, appended_bytes, gather_kept
from .bank import DTYPES, IdentityBank, Slot
from .draws import is_consistent, kept_tokens
from .phase import Phase
from .schedule import Layer, Schedule
from .steps import nearest_step
from .stream import CallOrder, DeviceFeatures
from .subject import SubjectMaps, Words, above_otsu

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

    def __init__(self, bank: IdentityBank, schedule: Schedule, readers: str = "everyone") -> None:
        """`readers` is one of subject.READERS. ValueError, naming the setting, where `schedule` asks for more than the
        bank holds."""
        if bank.recipe.storage == "compact":
            schedule.require_within(bank.recipe.schedule, bank.recipe.steps)
        self.bank = bank
        self.schedule = schedule
        self.watches = readers == "subject"
        self._words: Words | None = None
        self._maps: SubjectMaps | None = None
        self._subject: dict[tuple[int, int], torch.Tensor] = {}
        self._on_device: DeviceFeatures | None = None
        self._may_stay = False
        self._order = CallOrder()
        self.start((), None)

    @property
    def shaped_by(self) -> tuple[str, Schedule, bool]:
        """Equal for readers that read the same."""
        return (self.bank.id, self.schedule, self.watches)

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        """A sampling run with noise `seed` begins. ValueError where the bank was written nowhere near its `sigmas`."""
        for sigma in sigmas:
            nearest_step(sigma, self.bank.sigmas)
        own = self.bank.recipe.storage == "full" and seed is not None
        self._seed = seed if own else self.bank.recipe.seed
        self._step = -1
        self._kept: dict[int, torch.Tensor] = {}
        self._words, self._maps, self._subject = None, None, {}

    def introduce(self, words: Words | None) -> None:
        """Where the subject's words are in the prompts; a picture whose prompt has none reads nothing."""
        self._words = words

    @property
    def blind(self) -> bool:
        """Whether evaluations have shown no cross-attention of words that some prompt has."""
        return self.watches and self._maps is not None and self._maps.empty and any(w[1] for w in self._words or ())

    def watch(self, place: Hashable, q: torch.Tensor, k: torch.Tensor, heads: int, words: Words) -> None:
        """A cross-attention of the panels' prompts: see `SubjectMaps.add`."""
        if self._maps:
            self._maps.add(place, q, k, heads, words)

    def readers(self, tokens: int, rows: int) -> torch.Tensor | None:
        """Which tokens of `rows` pictures read the bank, (rows, tokens) on the CPU; None: all of them.

        With readers "subject" those of the picture's own subject, and all where nobody told its words.
        """
        if not self.watches or self._words is None or self._maps is None:
            return None
        if (tokens, rows) not in self._subject:
            scores = self._maps.level(tokens)
            subject = torch.ones(rows, tokens, dtype=torch.bool)
            for row in range(rows):
                if not self._words[row % len(self._words)][1]:
                    subject[row] = False
                elif scores is not None:
                    subject[row] = above_otsu(scores[row % len(scores)])
            self._subject[tokens, rows] = subject
        return self._subject[tokens, rows]

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

    def begin(self, sigma: float, size: tuple[int, int] | None = None) -> None:
        """An evaluation at noise level `sigma` begins. ValueError where the bank was written nowhere near it."""
        if self.watches and size:
            if self._maps is None or self._maps.size != size:
                self._maps = SubjectMaps(*size)
            self._maps.begin()
            self._subject = {}
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
        if not self._reads(layer) or not self._has_readers(hidden_states, halves):
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
        kept = {level: self.bank.images * self._most_kept(level) for level in self.bank.channels}
        return appended_bytes(rows, tokens, kept, self.bank.channels, itemsize) + PLACES * self._place_bytes

    @property
    def _place_bytes(self) -> int:
        """The size of the largest feature that is read."""
        bank = self.bank
        kept = (bank.images * self._most_kept(level) * channels for level, channels in bank.channels.items())
        return max(kept, default=0) * DTYPES[bank.recipe.dtype].itemsize

    def _kept_count(self, level: int) -> int:
        return self.schedule.kept(level, self.bank.stock(self._step, level))

    def _most_kept(self, level: int) -> int:
        if self.schedule.everything(0):
            return self.bank.tokens[level]
        return self.schedule.kept(level, self.bank.largest_stock[level])

    def _has_readers(self, hidden_states: torch.Tensor, halves: list[int]) -> bool:
        readers = self.readers(hidden_states.shape[1], len(hidden_states) // len(halves))
        return readers is None or bool(readers.any())

    def _reads(self, layer: Layer) -> bool:
        """Whether the layer reads the bank at this step."""
        if self.schedule.everything(self._step):
            return True
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
        if self.schedule.everything(self._step):
            return feature
        if self.bank.recipe.storage == "compact":
            return feature[:, :kept]
        return gather_kept(feature, self._kept_tokens(layer.level, kept))

    def _kept_tokens(self, level: int, kept: int) -> torch.Tensor:
        if level not in self._kept:
            bank = self.bank
            order = bank.order.get((self._step, level))
            if order is None:
                order = kept_tokens(self._seed, self._step, level, bank.images, bank.tokens[level], kept)
            self._kept[level] = order[:, :kept]
        return self._kept[level]
