"""Digests of models, pictures and texts by content, so that what was made from them can be found again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch


@dataclass(frozen=True)
class Rounded:
    """A tensor that counts as it is in `dtype`."""

    tensor: torch.Tensor
    dtype: torch.dtype


def fingerprint(
    values: Iterable[Any], samples: int | None = 64, each: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> str:
    """A digest of nested tuples, lists, tensors and plain values, by content.

    Of each tensor its shape and about `samples` values spread over it (None: all) count, whatever its precision and
    device; of a quantised one what it stores; of an object that holds `weights`, as ComfyUI's adapters do, those.
    Functions and other objects do not. `each` wraps the values, and may raise where reading them takes too long.
    """
    digest = sha256()

    def add(value: Any, dtype: torch.dtype | None = None) -> None:
        if isinstance(value, Rounded):
            value, dtype = value.tensor, value.dtype
        value = getattr(value, "weights", value)
        parts = stored_parts(value) if isinstance(value, torch.Tensor) else [value]
        if len(parts) > 1:
            add(parts)
        elif isinstance(parts[0], torch.Tensor):
            (tensor,) = parts
            flat = tensor.detach().reshape(-1)
            stride = max(1, flat.numel() // samples) if samples else 1
            picked = flat[::stride].to("cpu")  # first, as not every device knows every precision
            picked = picked.to(dtype or picked.dtype).to(torch.float32).contiguous()
            digest.update(f"{tuple(tensor.shape)}".encode() + picked.numpy().tobytes())
        elif isinstance(value, tuple | list):
            digest.update(f"[{len(value)}".encode())
            for part in value:
                add(part)
        else:
            digest.update(f"{value if value is None or isinstance(value, str | int | float) else ''!r},".encode())

    values = list(values)
    digest.update(f"[{len(values)}".encode())
    for value in each(values):
        add(value)
    return digest.hexdigest()[:32]


def stored_parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors that `tensor` is made of: itself, or what a quantised one stores, such as numbers and scales.

    What only looks like a tensor of another kind, as weights of a GGUF file do, is taken as the bytes that it holds.
    """
    if type(tensor) in (torch.Tensor, torch.nn.Parameter):
        return [tensor]
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return [part for name in names for part in stored_parts(getattr(tensor, name))]
    return [tensor.as_subclass(torch.Tensor)]
