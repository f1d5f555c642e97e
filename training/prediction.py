"""What an SDXL network answers, and at which noise levels: noise, as SDXL itself, or v, as many anime models.

    z_t = √ᾱ z + √(1 − ᾱ) ε
    epsilon         ε
    v_prediction    v = √ᾱ ε − √(1 − ᾱ) z          Salimans and Ho 2022, appendix D

With zero terminal SNR the levels are stretched until the last one is noise alone (Lin et al. 2024, algorithm 1). There
ε would tell nothing of the picture, so only v goes with it. ComfyUI keeps ᾱ a little above 0 at the last level, and
this does as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from . import timesteps

PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Prediction:
    """A network's kind of answer, in diffusers' words, and whether its noise levels end at zero SNR.

    Raises ValueError where noise is predicted at zero terminal SNR.
    """

    kind: PredictionType = "epsilon"
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        if self.zero_terminal_snr and self.kind == "epsilon":
            raise ValueError("a network that predicts noise (epsilon) cannot have zero terminal SNR.")

    def scheduler(self, kind: type, **more: Any) -> Any:
        """One of diffusers' schedulers, of the class `kind`, at these noise levels; `more` goes to it too."""
        schedule = kind(**timesteps.NOISE_SCHEDULE, prediction_type=self.kind, **more)
        if self.zero_terminal_snr:
            levels = torch.from_numpy(timesteps.noise_levels(zero_terminal_snr=True))
            schedule.alphas_cumprod = (1 / (1 + levels**2)).float()
            schedule.final_alpha_cumprod = schedule.alphas_cumprod[0]
        return schedule

    def recipe(self) -> Mapping[str, str]:
        """What tells a run apart from one on SDXL itself: nothing there."""
        if self == EPSILON:
            return {}
        return {"prediction": self.kind + (", zero terminal SNR" if self.zero_terminal_snr else "")}


EPSILON = Prediction()
"""SDXL's own."""
