"""What a training run can be told, with the StoryBooth report's values as defaults."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from .timesteps import DISTRIBUTIONS

TargetLayers = Literal["self_attention", "self_and_cross_attention"]
Precision = Literal["bf16", "fp16", "fp32"]
OptimizerName = Literal["adamw", "adamw_8bit", "prodigy"]
Schedule = Literal["constant", "linear", "cosine"]


class _Checked:
    def _require(self, name: str, fulfilled: bool, expected: str) -> None:
        if not fulfilled:
            raise ValueError(f"{name}: got {getattr(self, name)!r}, expected {expected}.")

    def _require_option(self, name: str, options: tuple[str, ...]) -> None:
        self._require(name, getattr(self, name) in options, " or ".join(options))


@dataclass(frozen=True)
class Options(_Checked):
    """What the report leaves off. Raises ValueError naming the option that is out of range.

    `alpha` 0 means as large as the rank. `min_snr_gamma` 0 is off. `text_dropout` is a probability.
    `prior_weight` is the weight of the loss on class images, where there are any.
    """

    alpha: float = 0.0
    feed_forward: bool = False
    optimizer: OptimizerName = "adamw"
    lr_schedule: Schedule = "constant"
    warmup_steps: int = 0
    min_snr_gamma: float = 0.0
    noise_offset: float = 0.0
    text_dropout: float = 0.0
    flip: bool = False
    aspect_ratio_buckets: bool = False
    prior_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "min_snr_gamma", "noise_offset", "prior_weight"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        self._require("warmup_steps", self.warmup_steps >= 0, "0 or more")
        self._require("text_dropout", 0 <= self.text_dropout < 1, "0 or more and less than 1")
        self._require_option("optimizer", get_args(OptimizerName))
        self._require_option("lr_schedule", get_args(Schedule))


@dataclass(frozen=True)
class Settings(_Checked):
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
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        for name in ("steps", "rank", "batch_size", "gradient_accumulation"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("learning_rate", 0 < self.learning_rate <= 1, "more than 0 and at most 1, such as 1e-4")
        if self.options.optimizer == "prodigy":
            self._require(
                "learning_rate",
                self.learning_rate >= 0.1,
                "1 with the optimizer prodigy, which finds the rate by itself and takes this one as a factor",
            )
        self._require("resolution", self.resolution >= 64 and self.resolution % 8 == 0, "a multiple of 8, 64 or more")
        self._require_option("timestep_sampling", DISTRIBUTIONS)
        self._require("mu", math.isfinite(self.mu), "a finite number")
        self._require("sigma", 0 < self.sigma < math.inf, "more than 0 and finite")
        self._require_option("target_layers", get_args(TargetLayers))
        self._require_option("precision", get_args(Precision))
        self._require("seed", self.seed >= 0, "0 or more")

    @property
    def alpha(self) -> float:
        """The LoRA's alpha: what it adds is scaled by alpha / rank."""
        return self.options.alpha or float(self.rank)

    def recipe(self) -> dict[str, Any]:
        """All settings as plain values, of the options only those that differ from their defaults.

        So a run from before an option existed stays the same run.
        """
        values = asdict(self)
        values.pop("options")
        defaults = asdict(Options())
        return values | {name: value for name, value in asdict(self.options).items() if value != defaults[name]}
