"""StoryBooth Mini: SDXL's architecture at a tenth of its width, built from ComfyUI's own classes.

The widths are the only difference from SDXL (Podell et al. 2023): the same three resolutions, the same transformer
blocks at each of them, a text context joined from two CLIP encoders, micro-conditioning, four latent channels at an
eighth of the image. So whatever works on Mini takes the same path as on SDXL.
"""

import math

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from comfy.supported_models_base import ClipTarget

# Overrides for the encoders' own configurations; SDXL has widths 768 and 1280, 12 and 32 layers, heads of 64.
# CLIP skips the last layer and ComfyUI insists on one more, hence three.
CLIP_L = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 3}
CLIP_G = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "num_hidden_layers": 3}
MICRO_CONDITIONING = 6 * 256  # original size, crop and target size: two numbers each, embedded in 256 channels

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,  # SDXL: 320. Group normalisation allows nothing narrower
    "channel_mult": [1, 2, 4],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "context_dim": CLIP_L["hidden_size"] + CLIP_G["hidden_size"],
    "adm_in_channels": CLIP_G["hidden_size"] + MICRO_CONDITIONING,
    "num_classes": "sequential",
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
    "use_checkpoint": False,
    "legacy": False,
}

VAE = {
    "embed_dim": 4,
    "ddconfig": {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,  # SDXL: 128
        "ch_mult": [1, 1, 2, 2],  # SDXL: 1, 2, 4, 4. Four entries make the image eight times its latent
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}

Weights = dict[str, torch.Tensor]

SEED = 42
# How much larger than its input a layer's output is, by the end of its name; 1 for all others.
_GAINS = {
    ("to_q", "to_k"): 1.5,  # attention that has favourites among the tokens, so that prompt and bank make a difference
    # The last layer of a residual branch, damped: seventy branches in a row add up to something of order 1.
    ("ff.net.2", "proj_out", "out_layers.3", "conv2", "self_attn.out_proj", "mlp.fc2"): 0.5,
    ("out.2",): 1.7,  # behind the SiLU, which leaves 0.6 of a normalised signal: the predicted noise has size 1
}


class _Allocated(comfy.ops.disable_weight_init):
    """Layers that have their weights from the start; ComfyUI's own may wait for a state dict before they do."""

    Linear = torch.nn.Linear
    Embedding = torch.nn.Embedding


def _draw(shapes: dict[str, torch.Size], seed: int) -> Weights:
    """Draw fp32 weights of these shapes, scaled so that signals keep their size from layer to layer.

    Uniform numbers from a private generator: unlike normal ones they are the same bits on every platform.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in sorted(shapes.items()):
        layer, _, kind = name.rpartition(".")
        if kind == "bias":
            weights[name] = torch.zeros(shape)
        elif len(shape) == 1:
            weights[name] = torch.ones(shape)
        else:
            fan_in = 1 if "embedding" in layer else math.prod(shape[1:])
            gain = next((gain for endings, gain in _GAINS.items() if layer.endswith(endings)), 1.0)
            bound = gain * math.sqrt(3 / fan_in)
            weights[name] = torch.rand(shape, generator=generator).mul_(2 * bound).sub_(bound)
    return weights


def _shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items() if tensor.ndim > 0}


def unet_weights() -> Weights:
    """Return the UNet's state dict under ComfyUI's names (input_blocks..., middle_block..., output_blocks...)."""
    config = comfy.supported_models.SDXL(UNET).unet_config
    return _draw(_shapes(UNetModel(**config, device="meta", operations=_Allocated)), SEED)


def clip_weights() -> Weights:
    """Return both text encoders' state dict (clip_l..., clip_g...)."""
    options = {**_clip_options(), "custom_operations": _Allocated}
    return _draw(_shapes(SDXLClipModel(device="meta", model_options=options)), SEED + 1)


def vae_weights() -> Weights:
    """Return the autoencoder's state dict (encoder..., decoder..., quant_conv, post_quant_conv)."""
    with torch.device("meta"):
        network = AutoencoderKL(**VAE)
    return _draw(_shapes(network), SEED + 2)


def load_model(disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Build the MODEL in the precision and on the device that ComfyUI would choose for a checkpoint.

    `disable_dynamic` is ComfyUI's own word for a copy whose weights are not managed piece by piece.
    """
    weights = unet_weights()
    management = comfy.model_management
    parameters = sum(tensor.numel() for tensor in weights.values())
    device = management.get_torch_device()
    config = comfy.supported_models.SDXL(UNET)
    dtype = management.unet_dtype(model_params=parameters, supported_dtypes=config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, config.supported_inference_dtypes))

    model = config.get_model(weights, device=management.unet_inital_load_device(parameters, dtype))
    plain = comfy.model_patcher.ModelPatcher
    # Releases that can manage weights piece by piece have a second class for that.
    patcher_class = plain if disable_dynamic else getattr(comfy.model_patcher, "CoreModelPatcher", plain)
    patcher = patcher_class(model, load_device=device, offload_device=management.unet_offload_device())
    model.load_model_weights(weights)
    patcher.cached_patcher_init = (load_model, ())
    return patcher


def load_clip() -> comfy.sd.CLIP:
    """Build the CLIP: two narrow text encoders behind SDXL's tokenizer."""
    weights = clip_weights()
    clip = comfy.sd.CLIP(
        ClipTarget(SDXLTokenizer, SDXLClipModel),
        parameters=sum(tensor.numel() for tensor in weights.values()),
        model_options=_clip_options(),
    )
    clip.load_sd(weights, full_model=True)
    return clip


def load_vae() -> comfy.sd.VAE:
    """Build the VAE: a narrow AutoencoderKL."""
    return comfy.sd.VAE(sd=vae_weights(), config={"params": VAE})


def _clip_options() -> dict:
    return {"clip_l_model_config": CLIP_L, "clip_g_model_config": CLIP_G, "initial_device": torch.device("cpu")}
