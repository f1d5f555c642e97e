"""ComfyUI's weights as a diffusers UNet: shared where that is safe, copied where it is not."""

import logging
from collections import Counter
from typing import Any

import comfy.lora
import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from diffusers import UNet2DConditionModel

from ...training.unet import FP8, alias, build_unet

PREFIX = "diffusion_model."


def require_plain_weights(model: ModelPatcher) -> None:
    """Raise ValueError where `model` carries changes of its weights that cannot be baked into a copy."""
    if model.injections or model.weight_wrapper_patches or model.hook_patches:
        raise ValueError(
            "model: it carries a LoRA in bypass mode or with a schedule, which cannot be trained upon. Load that LoRA "
            "with the plain Load LoRA node, or wire the model without it."
        )


def training_unet(model: ModelPatcher, dtype: torch.dtype) -> UNet2DConditionModel:
    """A frozen UNet on the weights of `model`, on its load device and in `dtype`, LoRAs from upstream baked in.

    All models are unloaded first. Weights are shared with ComfyUI where nothing is patched into them, the precision
    fits and they lie on the device for good; all others are copied. Matrices in plain fp8 stay so and are converted
    layer by layer while the UNet computes. Call this under `torch.inference_mode(False)`.
    """
    dynamic = getattr(model, "is_dynamic", lambda: False)()
    comfy.model_management.unload_all_models()
    if not (dynamic or model.patches) and model.model_dtype() in (dtype, *FP8):
        comfy.model_management.load_models_gpu([model], force_full_load=True)
    entries = model.get_key_patches(PREFIX)
    config = model.model.model_config.unet_config
    names = comfy.utils.unet_to_diffusers(config)
    reasons: Counter[str] = Counter()

    def weight(name: str) -> torch.Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        key = PREFIX + names[name]
        (stored, convert), *patches = entries[key]
        converted = convert(stored)
        plain = converted is stored and type(stored) in (torch.Tensor, torch.nn.Parameter)
        fits = plain and (stored.dtype == dtype or (stored.dtype in FP8 and stored.ndim > 1))
        hindrances = {
            "a LoRA changes them": bool(patches),
            "their precision is another": not fits,
            "ComfyUI manages them piece by piece": dynamic,
            "they are not on the device": stored.device != model.load_device,
        }
        why = next((reason for reason, applies in hindrances.items() if applies), "")
        reasons[why] += 1
        if not why:
            return alias(stored)
        if fits and not patches:
            return stored.to(model.load_device, copy=True)
        return _copy(key, converted, patches, model.load_device).to(dtype)

    unet = build_unet(config, weight)
    copied = ", ".join(f"{count} copied because {why}" for why, count in sorted(reasons.items()) if why)
    logging.info("StoryBooth: of the model's weights, training shares %d%s.", reasons[""], copied and f"; {copied}")
    return unet


@torch.no_grad()
def _copy(key: str, stored: torch.Tensor, patches: list[Any], device: torch.device) -> torch.Tensor:
    """An fp32 copy of a weight with its patches applied. Turns fp8 into plain numbers, too."""
    weight = stored.to(device, torch.float32, copy=True)
    return comfy.lora.calculate_weight(patches, weight, key)
