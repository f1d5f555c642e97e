"""What the networks of an SDXL checkpoint file look like, read off the shapes of its weights.

The file itself does not say. Heads have 64 channels throughout SDXL; all the rest shows in the shapes.
"""

from collections.abc import Mapping
from itertools import count
from typing import Any

import torch
from transformers import CLIPTextConfig

HEAD_CHANNELS = 64
SCALING_FACTOR = 0.13025
"""SDXL's UNet sees the VAE's latents multiplied by this."""

Weights = Mapping[str, torch.Tensor]


def _number(weights: Weights, pattern: str) -> int:
    """How many of the names `pattern` with 0, 1, 2, … in it begin a name in `weights`."""
    return next(n for n in count() if not any(name.startswith(pattern.format(n)) for name in weights))


def unet_config(weights: Weights) -> dict[str, Any]:
    """The configuration of a UNet in the names of the original SDXL code. Raises KeyError for another kind of UNet."""
    model_channels = weights["input_blocks.0.0.weight"].shape[0]
    multipliers, repeats, depths = [], [0], []
    for block in range(1, _number(weights, "input_blocks.{}.")):
        if f"input_blocks.{block}.0.op.weight" in weights:
            repeats.append(0)
            continue
        channels = weights[f"input_blocks.{block}.0.out_layers.3.weight"].shape[0]
        if repeats[-1] == 0:
            multipliers.append(channels // model_channels)
        repeats[-1] += 1
        depths.append(_number(weights, f"input_blocks.{block}.1.transformer_blocks.{{}}."))
    outputs = range(_number(weights, "output_blocks.{}."))
    depths_output = [_number(weights, f"output_blocks.{block}.1.transformer_blocks.{{}}.") for block in outputs]
    middle = "middle_block.1.transformer_blocks."
    return {
        "in_channels": weights["input_blocks.0.0.weight"].shape[1],
        "out_channels": weights["out.2.weight"].shape[0],
        "model_channels": model_channels,
        "channel_mult": multipliers,
        "num_res_blocks": repeats,
        "transformer_depth": depths,
        "transformer_depth_middle": _number(weights, middle + "{}."),
        "transformer_depth_output": depths_output[::-1],
        "context_dim": weights[f"{middle}0.attn2.to_k.weight"].shape[1],
        "use_linear_in_transformer": weights["middle_block.1.proj_in.weight"].ndim == 2,
        "adm_in_channels": weights["label_emb.0.0.weight"].shape[1] if "label_emb.0.0.weight" in weights else None,
        "num_head_channels": HEAD_CHANNELS,
    }


def vae_config(weights: Weights) -> dict[str, Any]:
    """diffusers' configuration of an AutoencoderKL, from weights in the original names."""
    levels = _number(weights, "encoder.down.{}.")
    return {
        "in_channels": weights["encoder.conv_in.weight"].shape[1],
        "out_channels": weights["decoder.conv_out.weight"].shape[0],
        "latent_channels": weights["decoder.conv_in.weight"].shape[1],
        "block_out_channels": [weights[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)],
        "layers_per_block": _number(weights, "encoder.down.0.block.{}."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "scaling_factor": SCALING_FACTOR,
    }


def clip_l_config(weights: Weights, **values: Any) -> CLIPTextConfig:
    """Of CLIP-L, whose weights have transformers' names, or of another encoder under such, by `values` of its own."""
    return _clip_config(
        weights["text_model.embeddings.token_embedding.weight"],
        weights["text_model.embeddings.position_embedding.weight"],
        weights["text_model.encoder.layers.0.mlp.fc1.weight"],
        num_hidden_layers=_number(weights, "text_model.encoder.layers.{}."),
        **({"hidden_act": "quick_gelu"} | values),
    )


def clip_g_config(weights: Weights) -> CLIPTextConfig:
    """Of CLIP-G, whose weights have OpenCLIP's names."""
    return _clip_config(
        weights["token_embedding.weight"],
        weights["positional_embedding"],
        weights["transformer.resblocks.0.mlp.c_fc.weight"],
        num_hidden_layers=_number(weights, "transformer.resblocks.{}."),
        hidden_act="gelu",
        projection_dim=weights["text_projection"].shape[1],
    )


def _clip_config(tokens: torch.Tensor, positions: torch.Tensor, inner: torch.Tensor, **values: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=tokens.shape[0],
        max_position_embeddings=positions.shape[0],
        hidden_size=tokens.shape[1],
        intermediate_size=inner.shape[0],
        bos_token_id=tokens.shape[0] - 2,
        eos_token_id=tokens.shape[0] - 1,
        **({"num_attention_heads": tokens.shape[1] // HEAD_CHANNELS} | values),
    )
