"""Every random choice of consistent self-attention, each a pure function of a key.

No draw reads a shared stream, so that calls may be split, repeated or reordered, and a smaller strength or probability
always picks a subset of what a larger one picks.
"""

import struct
from hashlib import blake2b

import torch

from .schedule import Layer, Schedule


def _key(purpose: bytes, *numbers: int) -> int:
    """64 bits that depend on every part of the key. `numbers` may be any integers below 2**64."""
    packed = struct.pack(f"<{len(numbers)}Q", *(number % 2**64 for number in numbers))
    return int.from_bytes(blake2b(packed, digest_size=8, person=purpose).digest(), "little")


def token_order(seed: int, step: int, level: int, image: int, tokens: int) -> torch.Tensor:
    """The tokens of one identity image in the order in which they are kept: strength s takes the first round(s*N).

    Returns int64 (tokens,), on the CPU.
    """
    generator = torch.Generator().manual_seed(_key(b"tokens", seed, step, level, image))
    return torch.randperm(tokens, generator=generator)


def kept_tokens(seed: int, step: int, level: int, images: int, tokens: int, kept: int) -> torch.Tensor:
    """The kept tokens of all identity images at one step and level: int64 (images, kept), on the CPU."""
    return torch.stack([token_order(seed, step, level, image, tokens)[:kept] for image in range(images)])


def layer_draw(seed: int, step: int, layer: Layer) -> float:
    """A uniform number in [0, 1), one for each seed, step and layer."""
    return (_key(b"layer", seed, step, layer.block, layer.index) >> 11) / 2**53


def is_consistent(schedule: Schedule, seed: int, step: int, layer: Layer) -> bool:
    """Whether `layer` attends to the identity images at `step` (Eq. 6: its uniform number is below the probability)."""
    return layer_draw(seed, step, layer) < schedule.probability(step)
