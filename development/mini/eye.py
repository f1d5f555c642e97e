"""An eye for Mini's pictures: which place they show, and a code of their subject that same subjects share.

A small convolutional network that `train_eye` trained on pictures of the world; it judges what the benchmark
`quality` draws. The subject's code comes from where the network looks for it, so that the place does not count.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from .places import PLACES

WEIGHTS = Path(__file__).with_name("eye.safetensors")
PLACE_NAMES = (*(place.name for place in PLACES), "plain", "elsewhere")
"""What the eye can call a place; "elsewhere" is where photos are taken. An eye that never learned it has one fewer."""
SIZE = 64
"""Pictures are brought to this many pixels first: Mini's own hold no finer detail."""
CODE = 64
"""Numbers in a subject's code."""
_WIDTHS = (24, 48, 96)
_GLANCES = 2


class Seen(NamedTuple):
    """What the eye makes of n pictures: scores of PLACE_NAMES (n, places), subjects' codes of length 1 (n, CODE)."""

    places: torch.Tensor
    subjects: torch.Tensor


class _Block(nn.Module):
    """Two convolutions around a shortcut (He et al. 2016), of half the resolution where `stride` is 2."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, width)
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.norm1(self.first(x)))
        return functional.relu(self.shortcut(x) + self.norm2(self.second(inner)))


class Eye(nn.Module):
    """The network. `forward` takes pictures (n, 3, height, width) from 0 to 1."""

    def __init__(self, places: int = len(PLACE_NAMES)) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.stem = nn.Conv2d(3, fine, 5, 2, 2)
        self.blocks = nn.Sequential(
            _Block(fine, fine),
            _Block(fine, middle, 2),
            _Block(middle, middle),
            _Block(middle, coarse, 2),
            _Block(coarse, coarse),
        )
        self.place = nn.Linear(coarse, places)
        self.glance = nn.Conv2d(coarse, _GLANCES, 1)
        self.subject = nn.Linear(_GLANCES * coarse, CODE)

    def forward(self, pictures: torch.Tensor) -> Seen:
        """Look at pictures of any size."""
        if pictures.shape[-2:] != (SIZE, SIZE):
            pictures = functional.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True)
        features = self.blocks(functional.relu(self.stem(pictures * 2 - 1)))
        # Where each glance rests, a distribution over positions; what it sees there, averaged.
        rests = self.glance(features).flatten(2).softmax(-1)
        there = torch.einsum("ngp,ncp->ngc", rests, features.flatten(2)).flatten(1)
        return Seen(self.place(features.mean((2, 3))), functional.normalize(self.subject(there), dim=-1))


def load_eye(file: Path = WEIGHTS) -> Eye:
    """The trained eye."""
    weights = load_file(file)
    eye = Eye(len(weights["place.bias"]))
    eye.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return eye.eval().requires_grad_(False)
