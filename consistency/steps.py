"""Which step an evaluation of the model belongs to, told by its noise level alone.

Samplers evaluate the model once a step or several times, between steps or twice at one sigma, so evaluations cannot
simply be counted.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import neg


def step_of(sigma: float, sigmas: Sequence[float]) -> int:
    """The step in progress at `sigma`, where `sigmas` are a run's falling noise levels: the last at or above it."""
    slack = sigma * (1 - 1e-4)
    return max(0, bisect_right(sigmas, -slack, key=neg) - 1)


def nearest_step(sigma: float, sigmas: Sequence[float], tolerance: float = 2.0) -> int:
    """The written step whose noise level is nearest to `sigma` on a logarithmic scale.

    Raises ValueError where `sigma` lies outside the written range by more than the factor `tolerance`.
    """
    if not sigmas[-1] / tolerance <= sigma <= sigmas[0] * tolerance:
        raise ValueError(
            f"bank: it was written at noise levels (sigmas) from {sigmas[0]:.3g} to {sigmas[-1]:.3g}, but this sampler "
            f"evaluates at {sigma:.3g}. Use the sampler, scheduler and steps of the bank, or write the bank with those "
            "of this sampler."
        )
    below = bisect_left(sigmas, -sigma, key=neg)
    return min(
        range(max(0, below - 1), min(below + 1, len(sigmas))), key=lambda step: abs(math.log(sigmas[step] / sigma))
    )
