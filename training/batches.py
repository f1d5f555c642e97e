"""Which images each optimizer step looks at."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import count

import numpy as np

from .settings import Settings

ORDER, DRAWS, CLASS_DRAWS, SAMPLE, FIRST_VALUES, WORD = range(6)
"""What random numbers are for: each purpose has a stream of its own, a function of (seed, purpose, number, ...)."""


def generator(settings: Settings, *key: int) -> np.random.Generator:
    """Random numbers that follow from the seed and `key` alone, whatever was drawn before."""
    return np.random.default_rng([settings.seed, *key])


def step_batches(buckets: Sequence[Hashable], settings: Settings) -> Iterator[list[list[int]]]:
    """The image indices of each optimizer step, without end: a list of micro-batches each.

    `buckets[i]` is the size of image i: only images of one size share a batch. Every pass over the data is shuffled
    anew. A step never reaches past the end of the data: ten images with batch size 1 and accumulation 4 give steps
    of 4, 4 and 2 micro-batches.

    Raises ValueError naming `images` where there are none: there would never be a step.
    """
    if not buckets:
        raise ValueError("images: there are none to learn from. Give at least one.")
    for epoch in count():
        order = generator(settings, ORDER, epoch).permutation(len(buckets))
        batches = list(_fill(order.tolist(), buckets, settings.batch_size))
        for start in range(0, len(batches), settings.gradient_accumulation):
            yield batches[start : start + settings.gradient_accumulation]


def _fill(order: Sequence[int], buckets: Sequence[Hashable], size: int) -> Iterator[list[int]]:
    """Batches in the order in which they fill up, then those that stay smaller."""
    open_batches: dict[Hashable, list[int]] = {}
    for index in order:
        batch = open_batches.setdefault(buckets[index], [])
        batch.append(index)
        if len(batch) == size:
            yield open_batches.pop(buckets[index])
    yield from open_batches.values()


def companions(buckets: Sequence[Hashable], amount: int, rng: np.random.Generator) -> list[int]:
    """`amount` image indices drawn at random, all of one size: that of an image drawn first."""
    bucket = buckets[rng.integers(len(buckets))]
    return rng.choice([index for index, other in enumerate(buckets) if other == bucket], amount).tolist()
