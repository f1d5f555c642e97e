"""The write phase: the identity images are denoised as one batch and see each other's kept tokens.

    M prompts ─┐                    in every layer of the up blocks, at every step
               ├─ UNet, one batch   X (2M, N, C) ── store, by step, layer and half ──> bank: (M, k, C) each
    M noises ──┘                    │
                                    └─ context of image i, where the layer is consistent:
                                       its own N tokens, then the k kept ones of each other image
                                       (N + (M-1) k, C); else its own N tokens alone

X is what the self-attention layer gets, before its projections; 2M rows are M images for each half of classifier-free
guidance. The k tokens are drawn once a step for all layers of a level: among all (`draws`), or among those of the
subject (`subject`), whom cross-attention finds in the steps before.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch

from .attention import append, appended_bytes, gather_kept, of_the_others
from .bank import DTYPES, Geometry, IdentityBank, Recipe, Slot
from .draws import is_consistent, kept_tokens
from .host_memory import HostMemory
from .phase import Phase
from .schedule import Layer
from .steps import step_of
from .subject import SubjectMaps, Words, above_otsu, subject_of_mask, subject_order, tokens_of_masks


class BankWriter(Phase):
    """The write `Phase`: one sampling run of the identity images that fills a bank; `finish` returns it."""

    writes = True
    shaped_by = ()

    def __init__(
        self, recipe: Recipe, geometry: Geometry, pinned: int | None = None, masks: torch.Tensor | None = None
    ) -> None:
        """At most `pinned` bytes of the bank are pinned, of one that is written on CUDA; None: all.

        `masks` (M, height, width), 1 where the subject is, serve in place of cross-attention.
        """
        self.recipe = recipe
        self.geometry = geometry
        self.images = len(recipe.prompts)
        self._features: dict[Slot, torch.Tensor] = {}
        self._pinned = pinned
        self._memory: HostMemory | None = None
        self._device = torch.device("cpu")
        self._written_at: dict[int, float] = {}
        self._step = 0
        self._kept: dict[int, torch.Tensor] = {}
        self._order: dict[tuple[int, int], torch.Tensor] = {}
        self._masks = masks
        self._words: Words | None = None
        self._maps = SubjectMaps(recipe.height // 8, recipe.width // 8)
        self.watches = recipe.keep != "random" and masks is None

    def introduce(self, words: Words | None) -> None:
        """Where the subject's words are in the prompts; an image whose prompt has none counts as a whole."""
        self._words = words

    @property
    def blind(self) -> bool:
        """Whether evaluations have shown no cross-attention of words that some prompt has."""
        return self.watches and self._maps.empty and any(places for _, places in self._words or ())

    def watch(self, place: Hashable, q: torch.Tensor, k: torch.Tensor, heads: int, words: Words) -> None:
        """A cross-attention of the identity images' prompts: see `SubjectMaps.add`."""
        self._maps.add(place, q, k, heads, words)

    def start(self, sigmas: Sequence[float], seed: int | None) -> None:
        """The sampling run begins; `sigmas` are the noise levels of its steps, falling, without the final 0."""
        self._sigmas = sigmas

    def begin(self, sigma: float, size: tuple[int, int] | None = None) -> None:
        """An evaluation at noise level `sigma` begins."""
        self._step = step_of(sigma, self._sigmas)
        self._written_at.setdefault(self._step, sigma)
        self._kept = {}
        self._maps.begin()

    def attend(
        self, layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]
    ) -> torch.Tensor:
        """Store the layer's input and return the context its attention should read.

        `hidden_states` (chunks*M, N, C) holds one chunk for each entry of `halves` (COND or UNCOND), in that order;
        `context` is (chunks*M, N or more, C). ValueError where the rows are not one batch of the M identity images.
        """
        if not self.recipe.stores(self._step, layer):
            return context
        self._require_whole(layer, hidden_states, halves)
        consistent = self.images > 1 and is_consistent(self.recipe.schedule, self.recipe.seed, self._step, layer)
        tokens = []
        for half, chunk in zip(halves, hidden_states.chunk(len(halves)), strict=True):
            if self.recipe.schedule.everything(self._step) and self.recipe.storage == "compact":
                self._store((self._step, layer, half), chunk)
                continue
            kept = gather_kept(chunk, self._kept_tokens(layer.level, chunk.device))
            self._store((self._step, layer, half), chunk if self.recipe.storage == "full" else kept)
            if consistent:
                tokens.append(of_the_others(kept))
        return append(context, tokens) if consistent else context

    def finish(self, latents: torch.Tensor, previews: torch.Tensor | None = None) -> IdentityBank:
        """The bank, complete. `latents` are the identity images (M, 4, h, w), `previews` rough pictures of them.

        ValueError where the sampler passed over a step, so that the bank would have a hole.
        """
        missing = [step for step in range(self.recipe.steps) if step not in self._written_at]
        if missing:
            raise ValueError(
                f"sampler (sampler_name): '{self.recipe.sampler_name}' never evaluated the model in step "
                f"{missing[0]} of {self.recipe.steps}, so the bank would have a hole. Use a sampler with "
                "fixed steps: ddim, euler."
            )
        sigmas = tuple(self._written_at[step] for step in range(self.recipe.steps))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # the copies into pinned memory
        return IdentityBank(
            self.recipe, sigmas, self.geometry.tokens, latents.cpu(), self._features, previews, self._order
        )

    def memory_needed(self, rows: int, tokens: Mapping[int, int], itemsize: int) -> int:
        """Bytes that writing adds to an evaluation of `rows` rows whose levels have so many `tokens`."""
        last = self.recipe.steps - 1
        kept = {level: self.images * self.recipe.stored_tokens(last, level, tokens[level]) for level in tokens}
        channels = {layer.level: channels for layer, channels in self.geometry.layers.items()}
        return appended_bytes(rows, tokens, kept, channels, itemsize)

    def _require_whole(self, layer: Layer, hidden_states: torch.Tensor, halves: list[int]) -> None:
        rows, tokens, _ = hidden_states.shape
        expected = self.geometry.tokens[layer.level]
        if rows != len(halves) * self.images or tokens != expected or len(set(halves)) != len(halves):
            raise ValueError(
                f"model: while the bank is written every evaluation must cover the {self.images} identity images whole "
                f"({expected} tokens each at this level), but it came as {rows} rows of {tokens} tokens in "
                f"{len(halves)} conditionings. Regional or area conditioning and context windows cannot be used here; "
                "apply them to the panels instead."
            )

    def _kept_tokens(self, level: int, device: torch.device) -> torch.Tensor:
        if level not in self._kept:
            tokens = self.geometry.tokens[level]
            kept = self.recipe.schedule.kept(level, tokens)
            if self.recipe.keep == "random":
                order = kept_tokens(self.recipe.seed, self._step, level, self.images, tokens, kept)
            else:
                order = self._subject_order(level, tokens)
                order = order[:, : self.recipe.schedule.kept(level, order.shape[1])]
            cuda = device.type == "cuda"  # from pinned memory the host need not wait for the device
            self._kept[level] = (order.pin_memory() if cuda else order).to(device, non_blocking=cuda)
        return self._kept[level]

    def _subject_order(self, level: int, tokens: int) -> torch.Tensor:
        """The subject's tokens in the order in which they are kept, (M, n); one order for all that a step evaluates."""
        key = self._step, level
        if key not in self._order:
            if self._masks is not None:
                height, width = self._maps.grid(tokens)
                scores = tokens_of_masks(self._masks, height, width)
                masks = [subject_of_mask(score) for score in scores]
            else:
                scores = self._maps.level(tokens)
                if scores is None:
                    scores = torch.zeros(self.images, tokens)
                masks = [above_otsu(score) for score in scores]
                for image, (_, places) in enumerate(self._words or ()):
                    if not places:
                        masks[image] = torch.ones(tokens, dtype=torch.bool)
            recipe = self.recipe
            self._order[key] = subject_order(recipe.keep, list(scores), masks, recipe.seed, self._step, level)
        return self._order[key]

    def _store(self, slot: Slot, tokens: torch.Tensor) -> None:
        # Some samplers and guiders evaluate a step more than once: what was read first stays.
        if slot in self._features:
            return
        if self._memory is None:
            self._device = tokens.device
            self._memory = HostMemory(tokens.device, self._pinned)
        dtype, cuda = DTYPES[self.recipe.dtype], tokens.device.type == "cuda"
        if dtype == torch.float8_e4m3fn:
            if not cuda:  # not every other device knows this type
                tokens = tokens.cpu()
            # Outside its range it turns to NaN instead of saturating.
            limit = torch.finfo(dtype).max
            tokens = tokens.clamp(-limit, limit)
        stored = self._memory.take(tokens.numel() * dtype.itemsize).view(dtype).view(tokens.shape)
        # Only on CUDA does the end of the run wait for copies that are still under way.
        self._features[slot] = stored.copy_(tokens.to(dtype), non_blocking=cuda)
