"""What the pack reads off a ComfyUI MODEL: where its self-attention layers lie, and which weights it holds."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.model_patcher import ModelPatcher

from ..consistency.bank import Geometry, tokens_of
from ..consistency.schedule import Layer


def bank_geometry(model: ModelPatcher, width: int, height: int) -> Geometry:
    """The self-attention layers of the UNet's up blocks and their token counts for an image of this size."""
    layers = {}
    for block, modules in enumerate(model.model.diffusion_model.output_blocks):
        for module in modules:
            if isinstance(module, SpatialTransformer):
                for index in range(len(module.transformer_blocks)):
                    layers[Layer(block, index)] = module.transformer_blocks[index].attn1.to_q.in_features
    return Geometry(layers, tokens_of(height // 8, width // 8))


def fingerprint(model: ModelPatcher) -> tuple[str, str]:
    """Digests of the UNet's weights and of the LoRAs patched into it ("" for none), by content.

    A few values of every tensor stand for all; ComfyUI's own patch ids are random and differ from run to run.
    """
    weights, patches = blake2b(digest_size=16), blake2b(digest_size=16)
    patched = False
    for key, (weight, *key_patches) in sorted(model.get_key_patches("diffusion_model.").items()):
        weights.update(key.encode())
        weights.update(_sample(weight[0], 16))
        for strength, patch, strength_model, *_ in key_patches:
            patched = True
            patches.update(f"{key} {strength} {strength_model}".encode())
            for part in _leaves(patch):
                patches.update(_sample(part, 1024) if isinstance(part, torch.Tensor) else repr(part).encode())
    return weights.hexdigest(), patches.hexdigest() if patched else ""


def _sample(tensor: torch.Tensor, count: int) -> bytes:
    """`count` neighbouring values from the middle of a tensor, as bytes."""
    flat = tensor.detach().flatten()
    start = max(0, (flat.numel() - count) // 2)
    return flat[start : start + count].to(torch.float32).cpu().numpy().tobytes()


def _leaves(patch: Any) -> Iterable[Any]:
    """The tensors and plain values inside a weight patch: a tuple, or an adapter that holds one in `weights`."""
    patch = getattr(patch, "weights", patch)
    if isinstance(patch, tuple | list):
        for part in patch:
            yield from _leaves(part)
    elif isinstance(patch, torch.Tensor | str | int | float | bool | None):
        yield patch
