"""What a T-LoRA is beyond its matrices, which `tlora` has: how many ranks act when, and what its file says.

    r(t) = floor(((T − t) / T)^exponent · (rank − min_rank)) + min_rank         arXiv:2507.05964, equation 4

With no import that takes long: nodes that only load a file need no more than this.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch

from .settings import LORA, ORTHOGONAL, T_LORA, Initialisation, Options, Settings, smallest_rank
from .timesteps import TRAIN_TIMESTEPS

LOADER = "T-LoRA Loader"
_METADATA = "storybooth_tlora"


@dataclass(frozen=True)
class Kind:
    """What a T-LoRA is beyond its matrices: how many ranks act at which timestep, and how they began."""

    rank: int
    min_rank: int
    exponent: float
    initialisation: str

    @classmethod
    def asked_for(cls, settings: Settings) -> "Kind | None":
        """The T-LoRA that `settings` train; None where they train a LoRA."""
        options = settings.options
        if options.method != T_LORA:
            return None
        return cls(settings.rank, settings.min_rank, options.rank_exponent, options.initialisation)

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any]) -> "Kind | None":
        """The T-LoRA that a run of this recipe trains; None where it trains a LoRA."""
        if recipe.get("method") != T_LORA:
            return None
        usual = Options()
        exponent = recipe.get("rank_exponent", usual.rank_exponent)
        begun = recipe.get("initialisation", usual.initialisation)
        return cls(recipe["rank"], smallest_rank(recipe["rank"], recipe.get("min_rank", 0)), exponent, begun)

    @classmethod
    def of_file(cls, metadata: Mapping[str, str]) -> "Kind | None":
        """The T-LoRA that a file's metadata tell of; None for any other file. ValueError where they are damaged."""
        if _METADATA not in metadata:
            return None
        try:
            kind = cls(**json.loads(metadata[_METADATA]))
            ranks = kind.rank >= max(kind.min_rank, 1) and kind.min_rank >= 0
            if ranks and kind.exponent >= 0 and kind.initialisation in get_args(Initialisation):
                return kind
        except (ValueError, TypeError, RecursionError):
            pass
        raise ValueError(f"its metadata {_METADATA} are damaged: {metadata[_METADATA][:200]}")

    @property
    def file_rank(self) -> int:
        """The rank of the LoRA that its file is."""
        return self.rank * 2 if self.initialisation == ORTHOGONAL else self.rank

    def metadata(self, alpha: float) -> dict[str, str]:
        """What its file tells beside what every LoRA's does; `alpha` is that of the training."""
        return {
            "ss_network_dim": str(self.file_rank),
            "ss_network_alpha": str(alpha * (self.file_rank // self.rank)),
            "modelspec.usage_hint": f"A T-LoRA: {LOADER} masks its ranks by timestep. Others load it unmasked.",
            _METADATA: json.dumps(asdict(self), sort_keys=True),
        }

    def ranks(self, t: torch.Tensor) -> torch.Tensor:
        """How many ranks act at the timesteps `t`, of any shape: 0 is almost no noise, 999 is all."""
        kept = (TRAIN_TIMESTEPS - t.double().clamp(0, TRAIN_TIMESTEPS)) ** self.exponent
        # In this order, so that an exponent of 1 divides whole numbers, which is exact.
        acting = kept * (self.rank - self.min_rank) / float(TRAIN_TIMESTEPS) ** self.exponent
        return acting.floor().long() + self.min_rank

    def mask(self, t: torch.Tensor) -> torch.Tensor:
        """(rows, file_rank), 1 where a rank acts and 0 where not, for timesteps `t` (rows,)."""
        mask = (torch.arange(self.rank, device=t.device) < self.ranks(t)[:, None]).float()
        return mask.repeat(1, self.file_rank // self.rank)


def require_same_kind(name: str, metadata: Mapping[str, str], settings: Settings) -> None:
    """Raise ValueError, naming the setting, where a run cannot go on from the file `name`: a T-LoRA from a LoRA, a LoRA
    from a T-LoRA, or one that began otherwise.
    """
    asked = Kind.asked_for(settings)
    try:
        found = Kind.of_file(metadata)
    except ValueError as error:
        raise ValueError(f"continue_from: {name} cannot go on: {error}. Choose another file.") from error
    if (asked is None) != (found is None):
        is_now, not_this = (T_LORA, LORA) if found else (LORA, T_LORA)
        raise ValueError(
            f"method: got {not_this}, but {name} (continue_from) is a {is_now}. Set method to {is_now}, or choose "
            "another file."
        )
    if found and found.initialisation != asked.initialisation:
        raise ValueError(
            f"initialisation: got {asked.initialisation}, but {name} (continue_from) began {found.initialisation}. Set "
            f"initialisation to {found.initialisation}."
        )
