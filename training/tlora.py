"""T-LoRA (arXiv:2507.05964): a LoRA with fewer ranks where there is more noise, so that it learns the subject and not
the layout of its photos.

    W x + scale · (B S M(t) A − B₀ S₀ M(t) A₀) x        M(t) keeps the first r(t) ranks, as `tlora_kind` counts them
           A (rank, in), S (rank,), B (out, rank) learn; A₀, S₀, B₀ are what they were at first

`orthogonal` starts A, S and B as the last singular vectors and values of a random matrix, `plain` as a LoRA starts:
then S = 1, and nothing has to be subtracted. Masks go row by row: every photo of a batch has a timestep of its own.

As a file it is a LoRA, which every loader reads unmasked: of rank `rank` where it began plain, else of twice that, with
down = [A; A₀] and up = [B S, −B₀ S₀]. What it is, for those who mask it, stands in the file's metadata.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigvalsh_tridiagonal

from .batches import FIRST_VALUES, generator
from .lora_layer import ADAPTER, LowRankLinear
from .settings import ORTHOGONAL, Settings
from .tlora_kind import Kind


class MaskedLowRank(LowRankLinear):
    """A frozen linear layer with T-LoRA's matrices. Its `now` is shared by all layers of a UNet."""

    now: "_Now"

    def start(self, now: "_Now", values: "Values | None") -> None:
        """Take over a layer that `add_lora` has made: with `values`, or with the LoRA's own where there are none."""
        self.now, self._frozen = now, values is not None
        if values is None:
            return
        a, b = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        values = Values(*(value.to(a.device) for value in values.matrices))
        a.data, b.data = values.a, values.b
        self.lora_S = torch.nn.Parameter(values.s)
        self.register_buffer("frozen_A", values.a.clone(), persistent=False)
        self.register_buffer("frozen_B", values.b * values.s, persistent=False)

    def matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """down (file_rank, in) and up (out, file_rank)."""
        a, b = super().matrices()
        if not self._frozen:
            return a, b
        return torch.cat([a, self.frozen_A]), torch.cat([b * self.lora_S, -self.frozen_B], 1)

    @torch.no_grad()
    def start_from(self, down: torch.Tensor, up: torch.Tensor) -> None:
        """Go on from matrices as `matrices` gives them."""
        if not self._frozen:
            super().start_from(down, up)
            return
        rank = len(self.lora_S)
        up, frozen = up[:, :rank], -up[:, rank:]
        # A file holds the product of B and S. As at the start, B's columns are of length 1; an empty one is to learn.
        size = up.norm(dim=0)
        super().start_from(down[:rank], torch.where(size > 0, up / size, 0.0))
        self.lora_S.copy_(torch.where(size > 0, size, 1.0))
        self.frozen_A.copy_(down[rank:])
        self.frozen_B.copy_(frozen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, in) to (rows, tokens, out)."""
        base = self.base_layer
        return _Masked.apply(x, base.weight, base.bias, *self.matrices(), self.now.mask, self.scaling[ADAPTER])


class _Now:
    """Which ranks act in the evaluation of the UNet that is under way: `mask` (rows, file_rank)."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.mask = torch.zeros(0)

    def before(self, unet: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        """Before the UNet is called with latents (rows, …) and their timesteps, one each or one for all."""
        latents, t = inputs[:2]
        t = torch.as_tensor(t, device=latents.device)
        self.mask = self._kind.mask(t.expand(len(latents)))


class _Masked(torch.autograd.Function):
    """x·Wᵀ + bias + scale·(mask·(x·downᵀ))·upᵀ, where W and bias are frozen: `lora_layer`'s, with a mask by row."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        mask: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow = _masked(rows @ down.to(x.dtype).T, mask)
        result = torch.nn.functional.linear(rows, weight.to(x.dtype), bias)
        result.addmm_(narrow, up.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(x, narrow, weight, down, up, mask)
        ctx.scale = scale
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, narrow, weight, down, up, mask = ctx.saved_tensors
        rows, of_result = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_narrow = _masked(of_result @ up.to(x.dtype), mask).mul_(ctx.scale)
        of_down = (of_narrow.T @ rows).to(down.dtype)
        of_up = (of_result.T @ narrow).to(up.dtype).mul_(ctx.scale)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (of_result @ weight.to(x.dtype)).addmm_(of_narrow, down.to(x.dtype)).view_as(x)
        return of_x, None, None, of_down, of_up, None, None


def _masked(narrow: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(rows · tokens, rank), in place, times the mask (rows, rank) of its row."""
    narrow.view(len(mask), -1, narrow.shape[-1]).mul_(mask[:, None].to(narrow.dtype))
    return narrow


def mask_ranks(unet: torch.nn.Module, layers: Iterable[LowRankLinear], settings: Settings) -> None:
    """Make T-LoRA's of the LoRA `layers` of `unet`, where `settings` ask for one.

    Raises ValueError naming `rank` where a layer is narrower than the rank, and so has no more singular vectors.
    """
    kind = Kind.asked_for(settings)
    if kind is None:
        return
    now = _Now(kind)
    rng = generator(settings, FIRST_VALUES)
    for layer in layers:
        layer.__class__ = MaskedLowRank
        width, height = layer.in_features, layer.out_features
        values = None
        if kind.initialisation == ORTHOGONAL:
            if kind.rank > min(width, height):
                raise ValueError(
                    f"rank: got {kind.rank}, but a layer of this model is {min(width, height)} wide, and a T-LoRA with "
                    f"orthogonal initialisation has no more ranks. Set rank to {min(width, height)} or less."
                )
            values = last_singular(width, height, kind.rank, rng)
        layer.start(now, values)
    unet.register_forward_pre_hook(now.before)


@dataclass(frozen=True)
class Values:
    """`a` (rank, in) and `b` (out, rank), with rows and columns of length 1, and `s` (rank,)."""

    a: torch.Tensor
    s: torch.Tensor
    b: torch.Tensor

    @property
    def matrices(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.a, self.s, self.b


def last_singular(width: int, height: int, rank: int, rng: np.random.Generator) -> Values:
    """The last `rank` singular vectors and values, the larger first, of a Gaussian matrix (height, width) with standard
    deviation 1 / rank.

    They are drawn from their own distributions instead of decomposing one, which takes minutes for SDXL. Both sides'
    vectors are uniform and independent of the values (as the matrix is the same in every basis): Q of a narrow Gaussian
    matrix is. The values are those of a bidiagonal matrix of chi variables, which are independent (Dumitriu and Edelman
    2002, theorem 3.1): +σ and −σ are the eigenvalues of a tridiagonal one with the same numbers beside a zero diagonal.
    """
    small, large = sorted((width, height))
    beside = np.empty(2 * small - 1)
    beside[0::2] = np.sqrt(rng.chisquare(np.arange(large, large - small, -1)))
    beside[1::2] = np.sqrt(rng.chisquare(np.arange(small - 1, 0, -1)))
    values = eigvalsh_tridiagonal(np.zeros(2 * small), beside, select="i", select_range=(small, small + rank - 1))
    a, b = _orthonormal(width, rank, rng), _orthonormal(height, rank, rng)
    return Values(_fp32(a.T), _fp32(values[::-1] / rank), _fp32(b))


def _orthonormal(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(length, count): orthonormal columns, uniform among all such."""
    q, r = np.linalg.qr(rng.standard_normal((length, count)))
    return q * np.sign(np.diag(r))  # without this LAPACK's choice of signs would count


def _fp32(numbers: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers, np.float32))
