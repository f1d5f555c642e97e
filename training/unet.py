"""A diffusers UNet of SDXL's architecture on weights that already lie in memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel

TIME_ID_CHANNELS = 256
"""Each of SDXL's six micro-conditioning numbers is embedded in this many channels."""

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


class _Fp8Linear(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight.to(x.dtype), self.bias)


class _Fp8Conv2d(torch.nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight.to(x.dtype), self.bias)


def diffusers_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a UNet configuration in the names of the original SDXL code into diffusers' names.

    Raises ValueError for an architecture other than SDXL's: other input channels, other than linear projections, or
    blocks whose transformers differ in depth within one resolution, as in the distilled SSD-1B.
    """
    multipliers: Sequence[int] = config["channel_mult"]
    channels = [config["model_channels"] * multiplier for multiplier in multipliers]
    repeats = config["num_res_blocks"]
    layers = repeats if isinstance(repeats, int) else repeats[0]
    depths = list(config["transformer_depth"])[::layers]
    regular = (
        config["in_channels"] == 4
        and config.get("use_linear_in_transformer", False)
        and config.get("adm_in_channels") is not None
        and (isinstance(repeats, int) or len(set(repeats)) == 1)
        and list(config["transformer_depth"]) == [depth for depth in depths for _ in range(layers)]
        and list(config["transformer_depth_output"]) == [depth for depth in depths for _ in range(layers + 1)]
        and config["transformer_depth_middle"] == depths[-1] > 0
    )
    if not regular:
        raise ValueError(
            "model: this UNet differs from SDXL's. Load an SDXL base checkpoint or one fine-tuned from it."
        )
    head_channels = config.get("num_head_channels", -1)
    heads = [c // head_channels for c in channels] if head_channels != -1 else [config["num_heads"]] * len(channels)
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)]
    return {
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": down,
        "up_block_types": up,
        "transformer_layers_per_block": [depth or 1 for depth in depths],
        "attention_head_dim": heads,  # diffusers' name for the number of heads
        "cross_attention_dim": config["context_dim"],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIME_ID_CHANNELS,
        "projection_class_embeddings_input_dim": config["adm_in_channels"],
    }


def build_unet(config: Mapping[str, Any], weight: Callable[[str], torch.Tensor]) -> UNet2DConditionModel:
    """Build a frozen UNet whose parameters are the tensors that `weight` returns for diffusers' names.

    `config` is in the names of the original SDXL code. Nothing is copied: a parameter shares its tensor's memory.
    Matrices may be in fp8: each is converted when its layer computes. With gradient checkpointing no more than a block
    of them is in full size at once.

    Raises ValueError for an architecture other than SDXL's.
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(diffusers_config(config))
    unet.load_state_dict({name: weight(name) for name in unet.state_dict()}, assign=True)
    for module in unet.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and module.weight.dtype in FP8:
            module.__class__ = _Fp8Linear if isinstance(module, torch.nn.Linear) else _Fp8Conv2d
    return unet.requires_grad_(False)


def alias(tensor: torch.Tensor) -> torch.Tensor:
    """A normal tensor on the memory of `tensor`, which may be an inference tensor. Never write to it.

    Autograd refuses to save inference tensors for backward, and ComfyUI loads its weights as such. Call this under
    `torch.inference_mode(False)`.
    """
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
