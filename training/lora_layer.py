"""A frozen layer with an adapter, in as few passes over the activations as it takes.

peft's own forward computes the same with a scaling and a sum of their own, forward and backward, and casts its input to
the adapter's fp32. Here both matrix products add to one result, in the precision of the input, and what backward needs
is the input that the layers beside it keep anyway.
"""

import torch
from peft.tuners.lora import Conv2d, Linear

ADAPTER = "default"


class _Adapted:
    """The two matrices of one of peft's LoRA layers."""

    def matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """down (rank, in) and up (out, rank) now; a convolution's are (rank, in, k, k) and (out, rank, 1, 1)."""
        return self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight

    @torch.no_grad()
    def start_from(self, down: torch.Tensor, up: torch.Tensor) -> None:
        """Go on from matrices as `matrices` gives them."""
        self.lora_A[ADAPTER].weight.copy_(down)
        self.lora_B[ADAPTER].weight.copy_(up)


class LowRankConvolution(_Adapted, Conv2d):
    """peft's LoRA of a convolution, as LyCORIS's LoCon has it: one to `rank` channels, then one of single pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in, h, w) to (n, out, h', w')."""
        base = self.base_layer
        down, up = (matrix.to(x.dtype) for matrix in self.matrices())
        narrow = torch.nn.functional.conv2d(x, down, stride=base.stride, padding=base.padding)
        return base(x).add_(torch.nn.functional.conv2d(narrow, up * self.scaling[ADAPTER]))


class LowRankLinear(_Adapted, Linear):
    """peft's LoRA layer with one adapter, never merged and without dropout, as training has it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        base, a, b = self.base_layer, self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        return _LowRank.apply(x, base.weight, base.bias, a, b, self.scaling[ADAPTER])


class _LowRank(torch.autograd.Function):
    """x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ, where W and bias are frozen."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow = rows @ a.to(x.dtype).T
        result = torch.nn.functional.linear(rows, weight.to(x.dtype), bias)
        result.addmm_(narrow, b.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(x, narrow, weight, a, b)
        ctx.scale = scale
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, narrow, weight, a, b = ctx.saved_tensors
        rows, of_result = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_narrow = (of_result @ b.to(x.dtype)).mul_(ctx.scale)
        of_a = (of_narrow.T @ rows).to(a.dtype)
        of_b = (of_result.T @ narrow).to(b.dtype).mul_(ctx.scale)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (of_result @ weight.to(x.dtype)).addmm_(of_narrow, a.to(x.dtype)).view_as(x)
        return of_x, None, None, of_a, of_b, None
