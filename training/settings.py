"""What a training run can be told, with the StoryBooth report's values as defaults."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from .timesteps import DISTRIBUTIONS

TargetLayers = Literal["self_attention", "self_and_cross_attention"]
Precision = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True)
class Settings:
    """Everything that shapes the result of a run, apart from the images, the captions and the models.

    `steps` counts optimizer steps. Raises ValueError naming the setting that is out of range.
    """

    steps: int = 1450
    learning_rate: float = 1e-4
    rank: int = 4
    batch_size: int = 1
    gradient_accumulation: int = 4
    resolution: int = 1024
    timestep_sampling: str = "log_normal"
    mu: float = -0.3
    sigma: float = 1.6
    target_layers: TargetLayers = "self_attention"
    precision: Precision = "fp32"
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("steps", "rank", "batch_size", "gradient_accumulation"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("learning_rate", 0 < self.learning_rate < 1, "more than 0 and less than 1, such as 1e-4")
        self._require("resolution", self.resolution >= 64 and self.resolution % 8 == 0, "a multiple of 8, 64 or more")
        self._require("timestep_sampling", self.timestep_sampling in DISTRIBUTIONS, " or ".join(DISTRIBUTIONS))
        self._require("mu", math.isfinite(self.mu), "a finite number")
        self._require("sigma", 0 < self.sigma < math.inf, "more than 0 and finite")
        for name, options in (("target_layers", get_args(TargetLayers)), ("precision", get_args(Precision))):
            self._require(name, getattr(self, name) in options, " or ".join(options))
        self._require("seed", self.seed >= 0, "0 or more")

    def _require(self, name: str, fulfilled: bool, expected: str) -> None:
        if not fulfilled:
            raise ValueError(f"{name}: got {getattr(self, name)!r}, expected {expected}.")
