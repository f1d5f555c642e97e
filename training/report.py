"""The report of a run as a picture: its loss, and the timesteps it drew beside the distribution that was asked for."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from . import timesteps
from .batches import DRAWS, generator, step_batches
from .curve import outline, smooth, top
from .plotting import FAINT, INK, STRONG, Plot, side_by_side
from .settings import Settings
from .timesteps import TRAIN_TIMESTEPS

_SIZE = (640, 480)  # pixels of each plot
_BARS = 40
Each = Callable[[Iterable[Any]], Iterable[Any]]


def draw_report(
    settings: Settings, losses: Sequence[float], buckets: Sequence[Hashable], each: Each = iter
) -> Image.Image:
    """Loss curve and histogram of a run of `len(losses)` steps, side by side. `buckets[i]` is the size of photo i.

    All steps are drawn again, which takes seconds where they are tens of thousands: `each` wraps them, and may raise.
    """
    drawn = drawn_timesteps(settings, len(losses), buckets, each)
    return side_by_side([draw_losses(losses), draw_timesteps(settings, drawn)])


def drawn_timesteps(settings: Settings, steps: int, buckets: Sequence[Hashable], each: Each = iter) -> np.ndarray:
    """The timesteps at which a run of so many steps has seen its photos, in order. They follow from its seed."""
    drawn = [
        timesteps.sample(
            settings.timestep_sampling, len(batch), generator(settings, DRAWS, step, index), settings.mu, settings.sigma
        )
        for step, batches in enumerate(each(islice(step_batches(buckets, settings), steps)))
        for index, batch in enumerate(batches)
    ]
    return np.concatenate(drawn)


def draw_losses(losses: Sequence[float]) -> Image.Image:
    """The loss of every step, faint, and smoothed, strong."""
    smoothed = smooth(losses)
    plot = Plot(_SIZE, right=max(len(losses), 2), top=top(losses))
    plot.line(outline(losses, _SIZE[0]), FAINT, 1)
    plot.line(outline(smoothed, _SIZE[0]), STRONG, 3)
    note = f"steps: {len(losses)}; smoothed over a tenth of them, last {smoothed[-1]:.3g}"
    return plot.finish("Loss", note, "step", "mean squared error")


def draw_timesteps(settings: Settings, drawn: np.ndarray | None = None) -> Image.Image:
    """The density of the distribution asked for, over the histogram of the timesteps `drawn`, if any were."""
    name, shape = settings.timestep_sampling, (settings.mu, settings.sigma)
    edges = np.linspace(0, TRAIN_TIMESTEPS, _BARS + 1)
    heights = np.zeros(0) if drawn is None else np.histogram(drawn, edges)[0] * _BARS / len(drawn)
    plot = Plot(_SIZE, right=TRAIN_TIMESTEPS, top=1.15 * max(*_density(name, shape, edges), *heights))
    if drawn is not None:
        plot.bars(edges, heights)
    steps = np.arange(TRAIN_TIMESTEPS)
    curve = zip(steps[:-1] + 0.5, _density(name, shape, steps), strict=True)
    plot.line(curve, STRONG if drawn is None else INK, 2)
    title = f"Timesteps: {name}" + (f" (mu {shape[0]:g}, sigma {shape[1]:g})" if name == "log_normal" else "")
    note = describe(settings) if drawn is None else f"{len(drawn)} drawn (bars) and the density asked for (line)"
    return plot.finish(title, note, "timestep t: 0 is almost no noise, 999 is all noise", "density of t / 999")


def _density(name: str, shape: tuple[float, float], t: np.ndarray) -> np.ndarray:
    """The mean density between successive timesteps: the density itself may have no upper end."""
    u = np.clip(t / (TRAIN_TIMESTEPS - 1), 1e-12, 1 - 1e-12)
    return np.diff(timesteps.cumulative(name, u, *shape)) / np.diff(t) * (TRAIN_TIMESTEPS - 1)


def describe(settings: Settings) -> str:
    """A distribution in numbers: its median, and the shares of much and of little noise."""

    u = np.arange(1, TRAIN_TIMESTEPS - 1) / (TRAIN_TIMESTEPS - 1)
    below = timesteps.cumulative(settings.timestep_sampling, u, settings.mu, settings.sigma)  # P(t < 1), P(t < 2), ...
    median = np.searchsorted(below, 0.5)
    return f"median {median}; {below[99]:.1%} below 100; {1 - below[899]:.1%} at 900 and above"
