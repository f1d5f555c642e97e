"""Which step an evaluation of the model belongs to, told by its noise level alone.

Samplers evaluate the model once a step or several times, between steps or twice at one sigma, so evaluations cannot
simply be counted.
"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import neg


def step_of(sigma: float, sigmas: Sequence[float]) -> int:
    """The step in progress at `sigma`, where `sigmas` are a run's falling noise levels: the last at or above it."""
    slack = sigma * (1 - 1e-4)
    return max(0, bisect_right(sigmas, -slack, key=neg) - 1)


def nearest_step(sigma: float, sigmas: Sequence[float], tolerance: float = 2.0) -> int:
    """The written step whose noise level is nearest to `sigma` on a logarithmic scale.

    Below the last written one there is nothing but zero noise, so that the last step is the nearest there is. Raises
    ValueError where `sigma` lies above the first by more than the factor `tolerance`.
    """
    if not 0 <= sigma <= sigmas[0] * tolerance:
        raise ValueError(
            f"bank: it was written at noise levels (sigmas) from {sigmas[0]:.3g} to {sigmas[-1]:.3g}, but this sampler "
            f"evaluates at {sigma:.3g}. Use the sampler, scheduler and steps of the bank, or write the bank with those "
            "of this sampler."
        )
    step = step_of(sigma, sigmas)
    later = min(step + 1, len(sigmas) - 1)
    # Halfway, where dpm_2 and others evaluate, the step in progress counts, whatever the rounding.
    return later if sigmas[step] * sigmas[later] > sigma**2 * (1 + 1e-3) else step
