"""SDXL at full size with random weights: its speed and memory are the real ones, its pictures are noise."""

import math
from collections.abc import Iterator
from pathlib import Path

import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher
from comfy.sdxl_clip import SDXLClipModel
from safetensors.torch import save_file

from storybooth.nodes.mini import network as mini

_VAE = {"ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2}  # Mini's has less

# Last layers of residual branches, damped: seventy branches in a row add up to something of order 1.
_DAMPED = ("ff.net.2", "proj_out", "out_layers.3", "conv2", "self_attn.out_proj", "mlp.fc2")


def draw(network: torch.nn.Module, dtype: torch.dtype, seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and weights of every parameter of `network` (which may be on the meta device), one after another.

    Uniform, and scaled so that signals keep their size from layer to layer.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if parameter.ndim < 2:
            yield name, torch.full(parameter.shape, float(kind != "bias"), dtype=dtype)
            continue
        fan_in = 1 if "embedding" in layer else math.prod(parameter.shape[1:])
        bound = math.sqrt(3 / fan_in) * (0.5 if layer.endswith(_DAMPED) else 1.0)
        yield name, torch.rand(parameter.shape, generator=generator).mul_(2 * bound).sub_(bound).to(dtype)


def unet(dtype: torch.dtype, seed: int = 42) -> ModelPatcher:
    """ComfyUI's MODEL of SDXL's UNet."""
    weights = dict(draw(_unet(), dtype, seed))
    return comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": dtype})


def save_checkpoint(path: Path, dtype: torch.dtype = torch.float16, seed: int = 42) -> None:
    """Write UNet, text encoders and VAE as one checkpoint under the names that SDXL's has; in fp16, 7 GB."""
    config = _config()
    with torch.device("meta"):
        vae = AutoencoderKL(**{**mini.VAE, "ddconfig": {**mini.VAE["ddconfig"], **_VAE}})
    text = SDXLClipModel(device="meta")
    weights = {
        **config.process_unet_state_dict_for_saving(dict(draw(_unet(), dtype, seed))),
        **config.process_clip_state_dict_for_saving(dict(draw(text, dtype, seed + 1))),
        **config.process_vae_state_dict_for_saving(dict(draw(vae, dtype, seed + 2))),
    }
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)


def _config() -> comfy.supported_models.SDXL:
    sdxl = comfy.supported_models.SDXL
    return sdxl({**mini.UNET, **sdxl.unet_config, "channel_mult": [1, 2, 4]})


def _unet() -> UNetModel:
    return UNetModel(**_config().unet_config, device="meta", operations=comfy.ops.disable_weight_init)
