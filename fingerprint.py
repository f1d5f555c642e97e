"""Digests of models, pictures and texts by content, so that what was made from them can be found again."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import torch


def fingerprint(values: Iterable[Any], samples: int | None = 64) -> str:
    """A digest of nested tuples, lists, tensors and plain values, by content.

    Of each tensor its shape and about `samples` values spread over it (None: all) count, whatever its precision and
    device; of an object that holds `weights`, as ComfyUI's adapters do, those. Functions and other objects do not.
    """
    digest = sha256()

    def add(value: Any) -> None:
        value = getattr(value, "weights", value)
        if isinstance(value, torch.Tensor):
            flat = value.detach().reshape(-1)
            stride = max(1, flat.numel() // samples) if samples else 1
            picked = flat[::stride].to("cpu", torch.float32).contiguous()
            digest.update(f"{tuple(value.shape)}".encode() + picked.numpy().tobytes())
        elif isinstance(value, tuple | list):
            digest.update(f"[{len(value)}".encode())
            for part in value:
                add(part)
        else:
            digest.update(f"{value if value is None or isinstance(value, str | int | float) else ''!r},".encode())

    add(list(values))
    return digest.hexdigest()[:32]
