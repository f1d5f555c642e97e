"""The identity bank: the self-attention inputs that the identity images left behind."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal
from uuid import uuid4

import torch

from .draws import is_consistent
from .host_memory import give_back
from .schedule import COND, UNCOND, Layer, Schedule

Storage = Literal["compact", "full"]

DTYPES = {"fp16": torch.float16, "fp8": torch.float8_e4m3fn, "fp32": torch.float32}
"""Stored to the nearest number: fp16 is off by at most 2^-11 of the value, fp8 (e4m3) by 2^-4, and by 2^-25 and 2^-10
where a value is next to nothing. Features are normalised, of order 1; beyond 448 fp8 saturates."""


@dataclass(frozen=True)
class Geometry:
    """The part of a UNet that a bank covers, at one image size.

    `layers` gives every layer its channels; `tokens` gives every level its token count.
    """

    layers: Mapping[Layer, int]
    tokens: Mapping[int, int]


def tokens_of(latent_height: int, latent_width: int) -> dict[int, int]:
    """Token counts of the two levels: the UNet halves the latent once (64) and twice (32), rounding up."""
    height, width = -(-latent_height // 2), -(-latent_width // 2)
    return {64: height * width, 32: -(-height // 2) * -(-width // 2)}


@dataclass(frozen=True)
class Recipe:
    """What a bank was made with.

    `model` and `lora` are fingerprints of the network. `prompts` are those of the M identity images and `seeds` the
    seeds that a line sets for its own noise, or None. `steps` counts the steps that were sampled; some schedulers
    make one more than was asked. `dtype` is a key of DTYPES. `sampling` says what the network predicts at which noise
    levels, `negative` is the negative prompt; None in banks that were saved before these were noted. `keep` is one of
    subject.KEEPS; where it is not random, `subject` are the subject's words, or `masks` a fingerprint of the masks that
    said where it is.
    """

    model: str
    lora: str
    prompts: tuple[str, ...]
    seeds: tuple[int | None, ...]
    width: int
    height: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    seed: int
    schedule: Schedule
    storage: Storage
    dtype: str
    sampling: str | None = None
    negative: str | None = None
    keep: str = "random"
    subject: str = ""
    masks: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain values that JSON can carry. What is new is left out where it says nothing."""
        values = asdict(self)
        if self.keep == "random":
            del values["keep"], values["subject"], values["masks"]
        if self.schedule.before_start == "nothing":
            del values["schedule"]["before_start"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """The inverse of `to_dict`; TypeError where names or values do not fit."""
        made = {name: tuple(values[name]) for name in ("prompts", "seeds")}
        recipe = cls(**{**values, **made, "schedule": Schedule(**values["schedule"])})
        _require_plain(recipe)
        _require_plain(recipe.schedule)
        if not all(isinstance(prompt, str) for prompt in recipe.prompts):
            raise TypeError("prompts are no texts")
        if not all(seed is None or type(seed) is int for seed in recipe.seeds):
            raise TypeError("seeds are no whole numbers")
        if not all(told is None or isinstance(told, str) for told in (recipe.sampling, recipe.negative)):
            raise TypeError("sampling or negative is no text")
        return recipe

    def agrees_with(self, other: "Recipe") -> bool:
        """Whether both are the same in all that both of them tell."""
        told = {
            name: getattr(other, name)
            for name in ("sampling", "negative")
            if getattr(self, name) is None or getattr(other, name) is None
        }
        return replace(self, **told) == other

    def stores(self, step: int, layer: Layer) -> bool:
        """Whether a bank of this recipe holds `layer` at `step`."""
        return self.stores_all(step) or is_consistent(self.schedule, self.seed, step, layer)

    def stores_all(self, step: int) -> bool:
        """Whether a bank of this recipe holds every layer and token at `step`, tokens in their natural order."""
        return self.storage == "full" or self.schedule.everything(step)

    def stored_tokens(self, step: int, level: int, tokens: int, stock: int | None = None) -> int:
        """How many tokens of each identity image a bank of this recipe holds at `step` and `level`, where `stock` of
        its `tokens` are to choose from: all of them, or the subject's."""
        return tokens if self.stores_all(step) else self.schedule.kept(level, tokens if stock is None else stock)


def _require_plain(made: Recipe | Schedule) -> None:
    """Raise TypeError where a number or a text of `made` is something else."""
    for field in fields(made):
        kinds = {int: (int,), float: (int, float), str: (str,)}.get(field.type)
        if kinds and type(getattr(made, field.name)) not in kinds:
            raise TypeError(f"{field.name} is no {field.type.__name__}")


def size_in_bytes(recipe: Recipe, geometry: Geometry, halves: int = 2) -> int:
    """The size of the features that a bank of this recipe will hold, known before it is written; the most that it
    will hold where it keeps the subject's alone, which takes as much room as the subject does in the pictures.

    With M = 2 identity images at 1024x1024 in 50 steps a full bank in fp16 takes 22,020,096,000 bytes.
    """
    size = 0
    for layer, channels in geometry.layers.items():
        steps = [step for step in range(recipe.steps) if recipe.stores(step, layer)]
        tokens = geometry.tokens[layer.level]
        size += sum(recipe.stored_tokens(step, layer.level, tokens) for step in steps) * channels
    return size * len(recipe.prompts) * halves * DTYPES[recipe.dtype].itemsize


Slot = tuple[int, Layer, int]
"""Where a feature lives: (step, layer, COND or UNCOND)."""


class IdentityBank:
    """The written features and the identity images' latents. Never changes once made.

    `features[step, layer, half]` is (M, k, C): in a compact bank the k kept tokens in the order of `token_order`, so
    that a smaller strength is a prefix; in a full bank all N tokens in their natural order.
    `sigmas[step]` is the noise level at which that step was written. `latents` is (M, 4, h, w). `previews` are rough
    pictures of them, (M, h, w, 3) in uint8, or None. `id` is given to no other bank. `order[step, level]` (M, n) are
    the subject's tokens in the order in which they are kept (subject.py); a bank of random tokens has none.

    ComfyUI copies model options when it clones a model; a bank is shared, never copied.
    """

    def __init__(
        self,
        recipe: Recipe,
        sigmas: tuple[float, ...],
        tokens: Mapping[int, int],
        latents: torch.Tensor,
        features: Mapping[Slot, torch.Tensor],
        previews: torch.Tensor | None = None,
        order: Mapping[tuple[int, int], torch.Tensor] | None = None,
    ) -> None:
        self.recipe = recipe
        self.sigmas = sigmas
        self.tokens = dict(tokens)
        self.latents = latents
        self.features = features
        self.previews = previews
        self.order = dict(order or {})
        self.id = uuid4().hex

    def __deepcopy__(self, memo: dict[int, Any]) -> "IdentityBank":
        return self

    def __del__(self) -> None:
        # The next bank may need the room, and torch would keep pinned memory to itself.
        if self.__dict__.pop("features", None) and torch is not None:
            give_back()

    @property
    def images(self) -> int:
        """M, the number of identity images."""
        return len(self.recipe.prompts)

    @property
    def size(self) -> int:
        """Bytes that the features take."""
        return sum(feature.nbytes for feature in self.features.values())

    def stock(self, step: int, level: int) -> int:
        """How many tokens of each identity image there were to choose from: all, or the subject's."""
        order = self.order.get((step, level))
        return self.tokens[level] if order is None else order.shape[1]

    @cached_property
    def largest_stock(self) -> dict[int, int]:
        """The most tokens to choose from at any step, of each level."""
        return {level: max(self.stock(step, level) for step in range(self.recipe.steps)) for level in self.tokens}

    @cached_property
    def channels(self) -> dict[int, int]:
        """The channels of the layers of each level that the bank holds."""
        return {layer.level: feature.shape[-1] for (_, layer, _), feature in self.features.items()}

    @cached_property  # every layer asks
    def halves(self) -> set[int]:
        """Which of COND and UNCOND the bank has; a bank written at cfg 1 has no UNCOND."""
        return {half for _, _, half in self.features}

    def require_half(self, half: int) -> None:
        """Raise ValueError where the sampler asks for a half that was never written."""
        if self.features and half not in self.halves:
            name = {COND: "conditional", UNCOND: "unconditional"}[half]
            raise ValueError(
                f"bank: it was written at cfg {self.recipe.cfg:g} and holds no {name} features, but this sampler asks "
                "for them. Sample at cfg 1, without Self-Attention Guidance, which needs them at any cfg; or write the "
                "bank again with the sampler's cfg."
            )
