"""CLIP's text encoders as transformers has them, on weights that lie in memory in whatever precision they are stored.

They compute in fp32, as ComfyUI's do, and hold no fp32 copy of a matrix for longer than its layer computes: not for the
backward pass either, for which autograd alone would keep all of them.
"""

from collections.abc import Mapping

import torch
from accelerate import init_empty_weights
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from .sdxl_shapes import clip_l_config


class _Frozen(torch.autograd.Function):
    """x·Wᵀ + bias, where W and bias are frozen, and W is of any precision."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return torch.nn.functional.linear(x, weight.to(x.dtype), bias)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return gradient @ weight.to(gradient.dtype), None, None


class _FrozenLinear(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Frozen.apply(x, self.weight, self.bias)


def build_text_encoder(
    weights: Mapping[str, torch.Tensor], heads: int, projects: bool
) -> CLIPTextModel | CLIPTextModelWithProjection:
    """CLIP-L, or with `projects` CLIP-G, frozen, on `weights` under transformers' names, with `text_model.` in front.

    Matrices and the table of tokens share the memory of their weights; all else is small, and copied to fp32.
    """
    values = {"hidden_act": "quick_gelu"}
    if projects:
        values = {"hidden_act": "gelu", "projection_dim": weights["text_projection.weight"].shape[0]}
    config = clip_l_config(weights, num_attention_heads=heads, **values)
    with init_empty_weights(include_buffers=False):
        network = (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)
    # transformers 5 leaves `text_model.` out of CLIP-L's names.
    found = {name: weights.get(name, weights.get(f"text_model.{name}")) for name in network.state_dict()}
    kept = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)}
    kept |= {name for name in found if name.endswith("token_embedding.weight")}
    values = {name: weight if name in kept else weight.float() for name, weight in found.items()}
    network.load_state_dict(values, assign=True)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.__class__ = _FrozenLinear
    return network.eval().requires_grad_(False)
