"""The precisions that a UNet trains in. The LoRA itself is always fp32."""

import torch

from .settings import Precision

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def automatic_precision(device: torch.device) -> Precision:
    """The precision that suits a device: bf16 where a GPU computes in it, else fp16 there, and fp32 elsewhere."""
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
