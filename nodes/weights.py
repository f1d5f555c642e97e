"""The weights of a ComfyUI model as it stores them, with what patches and converts them.

ComfyUI's own `get_key_patches` goes by the names that a model has in a file. Those of quantised weights (fp8 scaled,
int8, nvfp4) are not all names of parameters, and it ends in an AttributeError. Here parameters themselves are read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ..fingerprint import Rounded


@dataclass(frozen=True)
class Weight:
    """One parameter or buffer of a model.

    `stored` is what the model was loaded with, whatever is patched into it at present; `dtype` the precision that the
    model computes from, which ComfyUI brings a weight to only when it is needed, where it manages weights piece by
    piece. `patches` are LoRAs and their like in ComfyUI's form. `convert` makes plain numbers of what is `stored`.
    """

    stored: torch.Tensor
    dtype: torch.dtype
    patches: list[Any]
    convert: Callable[[torch.Tensor], torch.Tensor]

    def plain(self, device: torch.device) -> torch.Tensor:
        """The weight without patches, on `device`, not quantised; a tensor subclass where nobody knows how."""
        moved = self.stored.to(device)
        numbers = self.convert(moved)
        if hasattr(numbers, "__tensor_flatten__"):
            numbers = numbers.dequantize()
        return numbers

    @property
    def counted(self) -> torch.Tensor | Rounded:
        """What counts for a fingerprint: the same whether it is loaded or not, and patched at present or not."""
        return Rounded(self.stored, self.dtype) if self.is_plain else self.stored

    @property
    def is_plain(self) -> bool:
        """Whether `stored` holds the very numbers of the weight."""
        return type(self.stored) in (torch.Tensor, torch.nn.Parameter) and self.convert is _as_it_is


def _as_it_is(stored: torch.Tensor) -> torch.Tensor:
    return stored


def is_dynamic(patcher: ModelPatcher) -> bool:
    """Whether ComfyUI brings weights to the device piece by piece (dynamic VRAM, which older releases lack)."""
    return getattr(patcher, "is_dynamic", lambda: False)()


def weights_of(patcher: ModelPatcher, prefix: str = "") -> dict[str, Weight]:
    """All weights of a model whose names begin with `prefix`, by their names."""
    dynamic = is_dynamic(patcher)
    backups = getattr(patcher, "backup_buffers", {})
    found = {}
    with patcher.use_ejected():
        for path, module in patcher.model.named_modules(remove_duplicate=False):
            lasting = {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
            for name, present in (module._parameters | lasting).items():
                key = f"{path}.{name}" if path else name
                if present is None or not key.startswith(prefix):
                    continue
                stored = present
                if key in patcher.backup:
                    stored = patcher.backup[key].weight
                elif key in backups:
                    stored = backups[key]
                if key in patcher.hook_backup:
                    stored = patcher.hook_backup[key][0]
                meant = getattr(module, f"{name}_comfy_model_dtype", None) if dynamic else None
                convert = getattr(module, f"convert_{name}", _as_it_is)
                found[key] = Weight(stored, meant or stored.dtype, patcher.patches.get(key, []), convert)
    return found
