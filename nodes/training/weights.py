"""ComfyUI's weights as a diffusers UNet: shared where that is safe, copied where it is not."""

import logging
from collections import Counter

import comfy.lora
import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from diffusers import UNet2DConditionModel

from ...training.unet import FP8, alias, build_unet
from ..tlora import tloras_of
from ..weights import Weight, is_dynamic, weights_of

PREFIX = "diffusion_model."


def require_plain_weights(model: ModelPatcher) -> None:
    """Raise ValueError where `model` carries changes of its weights that cannot be baked into a copy."""
    if model.injections or model.weight_wrapper_patches or model.hook_patches:
        raise ValueError(
            "model: it carries a LoRA in bypass mode or with a schedule, which cannot be trained upon. Load that LoRA "
            "with the plain Load LoRA node, or wire the model without it."
        )
    if tloras_of(model):
        raise ValueError(
            "model: it carries a T-LoRA, which is another one at each timestep and cannot be trained upon. Wire the "
            "model without it; continue from of LoRA Training Options goes on from its file."
        )


def require_readable_weights(model: ModelPatcher) -> None:
    """Raise ValueError where weights of `model` are stored in a form that nobody here makes numbers of."""
    for name, weight in weights_of(model, PREFIX).items():
        kind = type(weight.stored)
        plain = weight.is_plain or hasattr(weight.stored, "__tensor_flatten__") or kind is torch.nn.Parameter
        if not plain and kind is not torch.Tensor:
            raise ValueError(
                f"model: its weights are stored as {kind.__name__} ({name}), as those of a GGUF file are, and cannot "
                "be trained upon. Load the same model from a .safetensors file; fp8 ones need no more memory."
            )


def training_unet(model: ModelPatcher, dtype: torch.dtype) -> UNet2DConditionModel:
    """A frozen UNet on the weights of `model`, on its load device and in `dtype`, LoRAs from upstream baked in.

    All models are unloaded first. Weights are shared with ComfyUI where nothing is patched into them, the precision
    fits and they lie on the device for good; all others are copied. Matrices that the model has in plain fp8 stay so,
    also where ComfyUI would bring them to fp8 only when they are needed, and are converted layer by layer while the
    UNet computes; not so on devices that know no fp8. Quantised weights are copied as plain numbers. Call this under
    `torch.inference_mode(False)`.
    """
    dynamic = is_dynamic(model)
    comfy.model_management.unload_all_models()
    if not (dynamic or model.patches) and model.model_dtype() in (dtype, *FP8):
        comfy.model_management.load_models_gpu([model], force_full_load=True)
    entries = weights_of(model, PREFIX)
    config = model.model.model_config.unet_config
    names = comfy.utils.unet_to_diffusers(config)
    device = model.load_device
    knows_fp8 = all(comfy.model_management.supports_cast(device, kind) for kind in FP8)
    reasons: Counter[str] = Counter()

    def weight(name: str) -> torch.Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        key = PREFIX + names[name]
        entry = entries[key]
        stored = entry.stored
        stays_fp8 = entry.dtype in FP8 and knows_fp8 and stored.ndim > 1
        wanted = entry.dtype if entry.is_plain and stays_fp8 and not entry.patches else dtype
        hindrances = {
            "a LoRA changes them": bool(entry.patches),
            "their precision is another": not entry.is_plain or stored.dtype != wanted,
            "ComfyUI manages them piece by piece": dynamic,
            "they are not on the device": stored.device != device,
        }
        why = next((reason for reason, applies in hindrances.items() if applies), "")
        reasons[why] += 1
        if not why:
            return alias(stored)
        if entry.is_plain and not entry.patches:
            there = stored.to(device if knows_fp8 else stored.device)
            made = there.to(entry.dtype).to(wanted).to(device)
            return made.clone() if _share_memory(made, stored) else made
        return plain_copy(key, entry, device, knows_fp8).to(dtype)

    unet = build_unet(config, weight)
    copied = ", ".join(f"{count} copied because {why}" for why, count in sorted(reasons.items()) if why)
    logging.info("StoryBooth: of the model's weights, training shares %d%s.", reasons[""], copied and f"; {copied}")
    return unet


def _share_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


@torch.no_grad()
def plain_copy(key: str, weight: Weight, device: torch.device, knows_fp8: bool) -> torch.Tensor:
    """An fp32 copy of a weight, as plain numbers, with its patches applied."""
    # Quantised ones are small on their way to the device, which is also faster in making numbers of them.
    plain = weight.plain(device if knows_fp8 else weight.stored.device).to(torch.float32).to(device)
    if weight.is_plain and _share_memory(plain, weight.stored):
        plain = plain.clone()
    return comfy.lora.calculate_weight(weight.patches, plain, key)
