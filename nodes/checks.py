"""Checks of what comes through sockets and widgets. Every message names the input, what came and what to do."""

import math
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import comfy.model_base
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE

from .sockets import EncodedStoryboard


def require_kind(name: str, value: Any, kind: type, source: str) -> None:
    """Raise ValueError where a socket brings something else than `kind`.

    ComfyUI lets everything through that comes from the API as a plain value, or from a node that passes on any type.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"{name}: got {'nothing' if value is None else type(value).__name__}, expected what {source} gives. Wire "
            "that into this socket."
        )


def require_option(name: str, value: str, options: Sequence[str]) -> None:
    """Raise ValueError where a combo's value is not one of its options; ComfyUI 0.3.75 does not check this."""
    if value not in options:
        raise ValueError(f"{name}: got '{str(value)[:100]}', expected one of: {shorten(', '.join(options), 1000)}.")


def require_sampling(width: int, height: int, steps: int, cfg: float) -> None:
    """Raise ValueError where a number cannot be sampled with. ComfyUI checks none that another node gives, and lets NaN
    through."""
    for name, size in (("width", width), ("height", height)):
        if size % 8:
            raise ValueError(f"{name}: got {size}, expected a multiple of 8, such as {round(size / 8) * 8}.")
        if not 64 <= size <= 8192:
            raise ValueError(f"{name}: got {size}, expected a number of pixels from 64 to 8192.")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected 1 or more.")
    if not math.isfinite(cfg):
        raise ValueError(f"cfg: got {cfg}, expected a finite number such as 5.")


def require_sdxl(model: ModelPatcher) -> None:
    """Raise ValueError where `model` is not an SDXL base model, with its four latent channels and its blocks."""
    require_kind("model", model, ModelPatcher, "Load Checkpoint")
    base = model.model
    channels, blocks = (base.model_config.unet_config.get(name) for name in ("in_channels", "num_res_blocks"))
    if not isinstance(base, comfy.model_base.SDXL) or channels != 4 or blocks != [2, 2, 2]:
        kind = f"{type(base).__name__} with {channels} input channels and blocks {blocks}"
        raise ValueError(
            f"model: got a {kind}, expected an SDXL base model. Refiner, inpainting, KOALA and other model families "
            "have a different UNet; load an SDXL checkpoint such as sd_xl_base_1.0, or StoryBooth Mini Checkpoint."
        )


def require_text_for(model: ModelPatcher, storyboard: EncodedStoryboard) -> None:
    """Raise ValueError where `storyboard` was encoded by text encoders of another width than `model` reads."""
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    (got,) = {states.shape[-1] for conditioning in storyboard.positive for states, _ in conditioning}
    expected = model.model.model_config.unet_config["context_dim"]
    if got != expected:
        raise ValueError(
            f"storyboard: its text is {got} numbers wide, and the model reads {expected}. Wire the CLIP of the "
            "checkpoint that the model comes from into Storyboard."
        )


def require_sdxl_vae(vae: VAE | None) -> None:
    """Raise ValueError where `vae` does not decode pictures of SDXL's four latent channels."""
    if vae is None:
        raise ValueError("vae: the checkpoint has none. Load SDXL's VAE, such as sdxl-vae-fp16-fix, with Load VAE.")
    require_kind("vae", vae, VAE, "Load VAE")
    if (vae.latent_channels, vae.latent_dim) != (4, 2):
        raise ValueError(
            f"vae: got a {type(vae.first_stage_model).__name__} with {vae.latent_channels} latent channels, expected "
            "SDXL's with 4. Use the VAE of an SDXL checkpoint, or sdxl-vae-fp16-fix."
        )
