"""StoryBooth Mini: SDXL's architecture at a tenth of its width, with weights that `development/mini` trained.

The widths are the only difference from SDXL (Podell et al. 2023): the same three resolutions, the same transformer
blocks at each of them, a text context joined from two CLIP encoders, micro-conditioning, four latent channels at an
eighth of the image. So whatever works on Mini takes the same path as on SDXL.
"""

from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
import torch
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from comfy.supported_models_base import ClipTarget
from safetensors.torch import load_file

WEIGHTS = Path(__file__).parents[2] / "assets" / "mini"
"""What `python -m development.mini.export` wrote: unet, text and vae, each a safetensors file in fp16."""

# Overrides for the encoders' own configurations; SDXL has widths 768 and 1280, 12 and 32 layers, heads of 64.
# CLIP skips the last layer and ComfyUI insists on one more, hence three.
CLIP_L = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 3}
CLIP_G = CLIP_L
MICRO_CONDITIONING = 6 * 256  # original size, crop and target size: two numbers each, embedded in 256 channels

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,  # SDXL: 320
    "channel_mult": [1, 2, 1],  # SDXL: 1, 2, 4
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
        "ch": 64,  # SDXL: 128
        "ch_mult": [1, 1, 1, 1],  # SDXL: 1, 2, 4, 4. Four entries make the image eight times its latent
        "num_res_blocks": 0,  # SDXL: 2. The decoder has one more
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}

Weights = dict[str, torch.Tensor]


def unet_weights() -> Weights:
    """Return the UNet's state dict under ComfyUI's names (input_blocks..., middle_block..., output_blocks...)."""
    names = comfy.utils.unet_to_diffusers(UNET)
    return {names[name]: tensor for name, tensor in load_file(WEIGHTS / "unet.safetensors").items()}


def clip_weights() -> Weights:
    """Return both text encoders' state dict (clip_l..., clip_g...)."""
    return load_file(WEIGHTS / "text.safetensors")


def vae_weights() -> Weights:
    """Return the autoencoder's state dict, under diffusers' names, which ComfyUI's VAE knows."""
    return load_file(WEIGHTS / "vae.safetensors")


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
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
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
