"""Checks of what comes through sockets and widgets. Every message names the input, what came and what to do."""

import math
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import comfy.model_base
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE

from ..consistency.bank import IdentityBank
from .canvas import until_cancelled
from .model import network_of, sampling_of
from .sockets import CastBank, Character, EncodedStoryboard


def require_kind(name: str, value: Any, kind: type, source: str) -> None:
    """Raise ValueError where a socket brings something else than `kind`.

    ComfyUI lets everything through that comes from the API as a plain value, or from a node that passes on any type.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"{name}: got {'nothing' if value is None else type(value).__name__}, expected what {source} gives. Wire "
            "that into this socket."
        )


def require_bank(name: str, value: Any) -> None:
    """Raise ValueError where a socket for one character's bank brings something else, such as the banks of a cast."""
    if isinstance(value, CastBank):
        raise ValueError(
            f"{name}: got the banks of a cast ({', '.join(value.banks)}), expected one character's. Save "
            "them with Save Identity Bank, and load the one that is wanted with Load Identity Bank."
        )
    require_kind(name, value, IdentityBank, "Identity Bank Writer or Load Identity Bank")


def require_cast(value: Any) -> tuple[Character, ...]:
    """The characters of a cast, none where nothing is wired. ValueError where a socket brings something else."""
    if value is None:
        return ()
    require_kind("cast", value, tuple, "Character")
    return value


def require_tensor_list(name: str, images: Sequence[Any], source: str) -> None:
    """Raise ValueError where a list of IMAGE batches is empty, or holds no picture, no numbers or something else."""
    number = 0
    for batch in images:
        require_kind(name, batch, torch.Tensor, source)
        for image in until_cancelled(batch):
            number += 1
            if not image.isfinite().all():
                raise ValueError(
                    f"{name}: image {number} has numbers that are not finite (NaN), so that nothing can be made of it. "
                    "Take it out, or mend the node that it comes from."
                )
    if not number:
        raise ValueError(
            f"{name}: got an empty list, expected one picture or more. The node that is wired in gives none: look at "
            f"what it reads, or wire in {source}."
        )


def single_values(inputs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What a node that takes lists finds on sockets and widgets that hold one value each.

    Raises ValueError naming the input where another node gives none or several: one of them would be taken silently.
    """
    for name, values in inputs.items():
        if len(values) != 1:
            raise ValueError(
                f"{name}: got a list of {len(values)} values, expected one. Wire in a node that gives a single value, "
                "or set the widget by hand."
            )
    return {name: values[0] for name, values in inputs.items()}


def require_option(name: str, value: str, options: Sequence[str]) -> None:
    """Raise ValueError where a combo's value is none of its options: ComfyUI 0.3.75 lets even a JSON object through."""
    if value not in list(options):
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
        raise ValueError(f"CFG (cfg): got {cfg}, expected a finite number such as 5.")


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


def require_same_network(model: ModelPatcher, bank: IdentityBank) -> None:
    """Raise ValueError where the bank was written by another network than `model`, as both are while they sample."""
    weights, lora = network_of(model)
    _require_weights(weights, bank)
    if lora != bank.recipe.lora:
        raise ValueError(
            f"bank: it was written {'with' if bank.recipe.lora else 'without'} a LoRA, and the model carries "
            f"{'another' if lora and bank.recipe.lora else 'one' if lora else 'none'}. Use the same LoRA, at the same "
            "strength, to write the bank and to read it."
        )
    sampling = sampling_of(model)
    if bank.recipe.sampling not in (None, sampling):
        raise ValueError(
            f"bank: it was written by a model that predicts {bank.recipe.sampling}, and the one that is to read it "
            f"predicts {sampling}. Use the same checkpoint and the same ModelSampling node, or none, for both."
        )


def require_same_weights(model: ModelPatcher, bank: IdentityBank) -> None:
    """Raise ValueError where the bank was written by another checkpoint, which no node behind can make good."""
    _require_weights(network_of(model)[0], bank)


def _require_weights(weights: str, bank: IdentityBank) -> None:
    if weights != bank.recipe.model:
        raise ValueError(
            "bank: it was written by another model than the one that is to read it, whose features differ. Wire the "
            "checkpoint that Identity Bank Writer used, or write the bank again with this one."
        )


def require_one_gpu(model: ModelPatcher) -> None:
    """Raise ValueError where `model` is shared out to several GPUs."""
    if model.get_additional_models_with_key("multigpu"):
        raise ValueError(
            "model: it is shared out to several GPUs, and an identity bank is written and read on one. Remove MultiGPU "
            "CFG Split from the model."
        )


def require_untiled(model_options: dict[str, Any], writing: bool) -> None:
    """Raise ValueError where pictures are cut up: by HyperTile, and while `writing` by Context Windows."""
    if writing and model_options.get("context_handler"):
        raise ValueError(
            "model: Context Windows cut pictures into parts, and a bank is written by whole ones. Remove Context "
            "Windows from the model of Identity Bank Writer; panels may have them."
        )
    patches = model_options["transformer_options"].get("patches", {}).get("attn1_patch", [])
    if any(getattr(patch, "__qualname__", "").startswith("HyperTile.") for patch in patches):
        raise ValueError(
            "model: HyperTile lets each tile of a picture see only a part of what self-attention reads, so that an "
            "identity bank can be neither written nor read with it. Remove HyperTile from the model."
        )


def require_whole(lists: Sequence[list[dict[str, Any]] | None]) -> None:
    """Raise ValueError where one of the `lists` of conditionings is more than one prompt for the whole picture."""
    for entries in lists:
        if entries and (len(entries) > 1 or entries[0].keys() & {"area", "mask"}):
            raise ValueError(
                "storyboard: while a bank is written, a picture has one prompt for all of it, but this one comes in "
                "regions. Use regional conditioning on panels, with KSampler and Identity Bank Hook."
            )
