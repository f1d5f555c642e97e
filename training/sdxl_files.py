"""SDXL's networks from a checkpoint file or a diffusers folder: without ComfyUI, and without a network connection."""

import json
import os
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from . import sdxl_shapes
from .unet import build_unet, diffusers_config

Weights = dict[str, torch.Tensor]
TextEncoders = tuple[CLIPTokenizer, CLIPTextModel, CLIPTextModelWithProjection]
Network = TypeVar("Network", bound=torch.nn.Module)

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_CLIP_L, _CLIP_G = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."


class CheckpointFile:
    """An SDXL checkpoint in one .safetensors file. Raises ValueError naming `model` for another kind of file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._weights = _load(path, "model")
        kinds = {"v_pred": "v_prediction", "edm_mean": "EDM", "edm_vpred.sigma_max": "EDM"}
        kinds |= {"ztsnr": "zero terminal SNR"}
        _require_epsilon(next((kind for name, kind in kinds.items() if name in self._weights), "epsilon"))

    def unet(self, dtype: torch.dtype) -> UNet2DConditionModel:
        """The frozen UNet; on the file's own memory where `dtype` is the file's."""
        config = sdxl_shapes.unet_config(self._part(_UNET))
        weights = convert_ldm_unet_checkpoint(self._weights, diffusers_config(config))
        return build_unet(config, lambda name: weights[name].to(dtype))

    def vae(self) -> AutoencoderKL:
        """The autoencoder in fp32."""
        return _vae(self._part(_VAE))

    def text_encoders(self, tokenizer: Path | None) -> TextEncoders:
        """Tokenizer and text encoders in fp32. A file has no tokenizer: `tokenizer`, or a ComfyUI's, stands in."""
        weights = self._part(_CLIP_L)
        clip_l = _fill(CLIPTextModel(sdxl_shapes.clip_l_config(weights)), weights)
        clip_g = CLIPTextModelWithProjection(sdxl_shapes.clip_g_config(self._part(_CLIP_G)))
        _fill(clip_g, convert_open_clip_checkpoint(clip_g, self._weights, _CLIP_G))
        return _tokenizer(tokenizer or _comfyuis_tokenizer()), clip_l, clip_g

    def _part(self, prefix: str) -> Weights:
        part = {name.removeprefix(prefix): w for name, w in self._weights.items() if name.startswith(prefix)}
        if not part:
            raise ValueError(
                f"model: {self._path.name} lacks {prefix}*. Use an SDXL base checkpoint with UNet, both text encoders "
                "and VAE, such as sd_xl_base_1.0.safetensors."
            )
        return part


class DiffusersFolder:
    """An SDXL pipeline as diffusers saves it. Raises ValueError naming `model` where a part is missing or unfit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        scheduler = path / "scheduler" / "scheduler_config.json"
        if scheduler.is_file():
            try:
                told = json.loads(scheduler.read_text(encoding="utf-8-sig"))
                zero_terminal = told.get("rescale_betas_zero_snr")
                prediction = told.get("prediction_type", "epsilon")
            except (ValueError, AttributeError) as error:
                raise ValueError(f"model: {scheduler} cannot be read as JSON ({error}). Download it anew.") from error
            _require_epsilon("zero terminal SNR" if zero_terminal else prediction)

    def unet(self, dtype: torch.dtype) -> UNet2DConditionModel:
        """The frozen UNet."""
        unet = self._load(UNet2DConditionModel, "unet", dtype)
        if unet.config.in_channels != 4 or unet.config.addition_embed_type != "text_time":
            raise ValueError(f"model: the UNet in {self._path} is not SDXL's. Use an SDXL base model.")
        return unet.requires_grad_(False)

    def vae(self) -> AutoencoderKL:
        """The autoencoder in fp32."""
        return self._load(AutoencoderKL, "vae").requires_grad_(False)

    def text_encoders(self, tokenizer: Path | None) -> TextEncoders:
        """Tokenizer and text encoders in fp32."""
        clip_l = self._load(CLIPTextModel, "text_encoder").requires_grad_(False)
        clip_g = self._load(CLIPTextModelWithProjection, "text_encoder_2").requires_grad_(False)
        return _tokenizer(tokenizer or self._path / "tokenizer"), clip_l, clip_g

    def _load(self, kind: type[Network], part: str, dtype: torch.dtype = torch.float32) -> Network:
        return _from_folder(kind, self._path / part, "model", dtype)


def open_checkpoint(path: Path) -> CheckpointFile | DiffusersFolder:
    """SDXL at `path`, a file or a folder. Raises FileNotFoundError naming `model` where there is neither."""
    if path.is_file():
        return CheckpointFile(path)
    if (path / "unet").is_dir():
        return DiffusersFolder(path)
    if not path.exists():
        raise FileNotFoundError(f"model: there is no {path}. Name a .safetensors file, or a folder in diffusers' form.")
    raise FileNotFoundError(
        f"model: got {str(path)!r}, expected a .safetensors file, or a folder in diffusers' form, with unet/, vae/, "
        "text_encoder/, text_encoder_2/ and tokenizer/ in it."
    )


def open_vae(path: Path) -> AutoencoderKL:
    """A VAE of its own, in fp32: a .safetensors file in the original names, or a folder in diffusers' form."""
    return _vae(_load(path, "vae")) if path.is_file() else _from_folder(AutoencoderKL, path, "vae", torch.float32)


def _load(path: Path, name: str) -> Weights:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{name}: {path} cannot be read as a .safetensors file ({error}).") from error


def _from_folder(kind: type[Network], folder: Path, name: str, dtype: torch.dtype) -> Network:
    whole = [file for file in folder.glob("*.safetensors") if ".fp16." not in file.name]
    try:
        return kind.from_pretrained(
            folder,
            torch_dtype=dtype,
            variant=None if whole else "fp16",  # what some downloads hold only
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: {folder} cannot be loaded as {kind.__name__} ({error}).") from error


def _vae(weights: Weights) -> AutoencoderKL:
    if "encoder.down.0.block.0.conv1.weight" not in weights:
        raise ValueError(
            "vae: its weights have other names than SDXL's. Use the VAE of an SDXL checkpoint, or "
            "sdxl_vae.safetensors; of a VAE in diffusers' form, name the folder that holds its config.json."
        )
    config = sdxl_shapes.vae_config(weights)
    return _fill(AutoencoderKL.from_config(config), convert_ldm_vae_checkpoint(weights, config))


def _fill(network: Network, weights: Weights) -> Network:
    """`network`, frozen, with `weights` in fp32. Where transformers 5 leaves `text_model.` out of its names, we do."""
    values = {name: weights.get(name, weights.get(f"text_model.{name}")) for name in network.state_dict()}
    network.load_state_dict({name: value.float() for name, value in values.items()}, assign=True)
    return network.requires_grad_(False)


def _tokenizer(folder: Path) -> CLIPTokenizer:
    # transformers makes one without words of a folder that has none, and says nothing.
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"tokenizer: {folder} has no {name}. Name a folder with CLIP's tokenizer.")
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _comfyuis_tokenizer() -> Path:
    """CLIP's tokenizer as every ComfyUI has it: in the one that COMFYUI_PATH names, or in which the pack lies."""
    comfyui = Path(os.environ.get("COMFYUI_PATH") or Path(__file__).parents[3])
    tokenizer = comfyui / "comfy" / "sd1_tokenizer"
    if not tokenizer.is_dir():
        raise FileNotFoundError(
            "tokenizer: a checkpoint file has none, and there is no ComfyUI around it to take one from. Name a folder "
            "with CLIP's vocab.json and merges.txt (comfy/sd1_tokenizer of any ComfyUI, or tokenizer/ of any SDXL in "
            "diffusers' form), or set COMFYUI_PATH."
        )
    return tokenizer


def _require_epsilon(kind: str) -> None:
    if kind != "epsilon":
        raise ValueError(
            f"model: got one of prediction type {kind}, expected epsilon (noise). Use an SDXL checkpoint that predicts "
            "noise, such as sd_xl_base_1.0."
        )
