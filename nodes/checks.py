"""Checks of what comes through sockets and widgets. Every message names the input, what came and what to do."""

from collections.abc import Sequence

import comfy.model_base
from comfy.model_patcher import ModelPatcher


def require_option(name: str, value: str, options: Sequence[str]) -> None:
    """Raise ValueError where a combo's value is not one of its options; ComfyUI 0.3.75 does not check this."""
    if value not in options:
        raise ValueError(f"{name}: got '{value}', expected one of: {', '.join(options)}.")


def require_multiple_of_8(**sizes: int) -> None:
    """Raise ValueError where a width or height is not a multiple of 8, the VAE's step."""
    for name, size in sizes.items():
        if size % 8:
            raise ValueError(f"{name}: got {size}, expected a multiple of 8, such as {round(size / 8) * 8}.")


def require_sdxl(model: ModelPatcher) -> None:
    """Raise ValueError where `model` is not an SDXL base model with its own four latent channels."""
    base = model.model
    channels = base.model_config.unet_config.get("in_channels")
    if not isinstance(base, comfy.model_base.SDXL) or channels != 4:
        kind = f"{type(base).__name__} with {channels} input channels"
        raise ValueError(
            f"model: got a {kind}, expected an SDXL base model. Refiner, inpainting and other model families have a "
            "different UNet; load an SDXL checkpoint such as sd_xl_base_1.0, or StoryBooth Mini Checkpoint."
        )
