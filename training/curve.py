"""A loss curve as a picture needs it: smoothed, of bounded length, with a top that outliers do not push up."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Points = list[tuple[int, float]]
"""(step, loss) pairs, steps counted from 1."""


def smooth(losses: Sequence[float]) -> np.ndarray:
    """The mean over the steps around each step, a tenth of the run in all and fewer at both ends. Shape (steps,)."""
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    count = len(losses)
    steps, half = np.arange(count), count // 20
    low, high = np.maximum(steps - half, 0), np.minimum(steps + half + 1, count)
    return (sums[high] - sums[low]) / (high - low)


def outline(losses: Sequence[float], most: int) -> Points:
    """The curve in at most `most` points: every loss, or the lowest and the highest of each stretch of steps."""
    if len(losses) <= most:
        return [(index + 1, float(loss)) for index, loss in enumerate(losses)]
    points: Points = []
    for start, end in pairwise(np.linspace(0, len(losses), most // 2 + 1).astype(int)):
        stretch = losses[start:end]
        lowest, highest = int(np.argmin(stretch)), int(np.argmax(stretch))
        points += [(int(start) + index + 1, float(stretch[index])) for index in sorted((lowest, highest))]
    return points


def top(losses: Sequence[float]) -> float:
    """The loss at the upper edge of the picture: above the smoothed curve and 95 % of all losses."""
    return max(1.15 * float(smooth(losses).max()), float(np.quantile(losses, 0.95)), 1e-6)
