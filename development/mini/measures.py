"""What can be measured on a story's panels, and how sure one can be of it.

Pictures are (n, height, width, 3) from 0 to 1. All measures are shares: 1 is most, and for the subject's two 0 is what
unrelated subjects get.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import bootstrap
from torch.nn import functional

from .eye import PLACE_NAMES, Eye, Seen

THUMBNAIL = 16
"""Pixels of the grey thumbnails that compositions are compared by."""


def look(eye: Eye, pictures: torch.Tensor) -> Seen:
    """What the eye makes of pictures."""
    with torch.no_grad():
        return eye(pictures.float().permute(0, 3, 1, 2))


def fidelity(panels: torch.Tensor, references: torch.Tensor) -> float:
    """Mean cosine between codes of panels (n, c) and of reference photos (m, c), as DreamBooth's DINO score is made
    (Ruiz et al. 2023)."""
    return float((panels @ references.T).mean())


def consistency(panels: torch.Tensor) -> float:
    """Mean cosine between codes of different panels (n, c), n of 2 or more."""
    return _mean_of_pairs(panels @ panels.T)


def adherence(scores: torch.Tensor, named: Sequence[str]) -> float:
    """Share of panels that show the place that their prompt names, by the eye's scores (n, places)."""
    seen = scores.argmax(-1).tolist()
    return float(np.mean([PLACE_NAMES[place] == name for place, name in zip(seen, named, strict=True)]))


def diversity(pictures: torch.Tensor) -> float:
    """How much compositions differ: 1 less the mean correlation between grey thumbnails of different panels."""
    grey = pictures.float().mean(-1)[:, None]
    small = functional.interpolate(grey, (THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True).flatten(1)
    centred = functional.normalize(small - small.mean(1, keepdim=True), dim=-1)
    return 1 - _mean_of_pairs(centred @ centred.T)


def leakage(pictures: torch.Tensor, subject: torch.Tensor) -> float:
    """How alike the backgrounds of different panels are: the mean correlation between their thumbnails in colour, over
    the cells in and beside which neither shows its subject. `subject` (n, height, width) says where that is.

    NaN where no two panels have two cells of background in common.
    """
    size = THUMBNAIL, THUMBNAIL
    small = functional.interpolate(pictures.float().permute(0, 3, 1, 2), size, mode="bilinear", antialias=True)
    shown = functional.adaptive_max_pool2d(subject.float()[:, None], size)
    behind = functional.max_pool2d(shown, 3, stride=1, padding=1)[:, 0] == 0  # masks are coarse: a cell more
    found = []
    for first, second in itertools.combinations(range(len(pictures)), 2):
        both = behind[first] & behind[second]
        if both.sum() > 1:
            values = torch.stack([small[first][:, both], small[second][:, both]]).flatten(1)
            centred = functional.normalize(values - values.mean(1, keepdim=True), dim=-1)
            found.append(float(centred[0] @ centred[1]))
    return float(np.mean(found)) if found else float("nan")


def _mean_of_pairs(similarities: torch.Tensor) -> float:
    n = len(similarities)
    if n < 2:
        raise ValueError(f"panels: got {n}, expected 2 or more to compare.")
    return float((similarities.sum() - similarities.diagonal().sum()) / (n * (n - 1)))


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` is outside."""
        return not self.low <= value <= self.high


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of these, and its interval by the bootstrap (percentiles of 9,999 resamples). NaN, which could not be
    measured, is left out; all is NaN where nothing is left."""
    numbers = np.asarray(values, float)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return Interval(*(float("nan"),) * 3)
    if np.ptp(numbers) == 0:
        return Interval(*(float(numbers[0]),) * 3)
    made = bootstrap(
        (numbers,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(float(numbers.mean()), float(made.low), float(made.high))


def difference(values: Sequence[float], others: Sequence[float], seed: int = 0) -> Interval:
    """The mean of paired differences, values less others, with its interval."""
    return interval([a - b for a, b in zip(values, others, strict=True)], seed)


def area_under_curve(same: torch.Tensor, different: torch.Tensor) -> float:
    """The probability that a similarity of two alike exceeds one of two unlike (area under the ROC curve)."""
    order, found = torch.cat([same, different]).double().sort().values, same.double()
    ranks = torch.searchsorted(order, found, right=False) + torch.searchsorted(order, found, right=True)
    # The mean rank of equals counts a tie as half.
    above = (ranks / 2 + 0.5).sum() - len(same) * (len(same) + 1) / 2
    return float(above / (len(same) * len(different)))
