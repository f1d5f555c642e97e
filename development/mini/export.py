"""Write the trained networks for ComfyUI: `python -m development.mini.export --work FOLDER --tokenizer FOLDER`.

Three safetensors files in fp16 under `assets/mini/`: UNet and autoencoder under diffusers' names, which ComfyUI
knows, text encoders under ComfyUI's own.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file

from .captions import NEGATIVES
from .course import Weights, mean_weights, write
from .latents import load_vae
from .text import TextEncoders, Tokenizer

T = TypeVar("T")
WEIGHTS = Path(__file__).parents[2] / "assets" / "mini"
SCALE = 0.13025
"""SDXL multiplies the autoencoder's latents by this before its UNet sees them."""


def normalised(vae: Weights, mean: torch.Tensor, std: torch.Tensor) -> Weights:
    """The autoencoder whose latents · SCALE have mean 0 and deviation 1, where these had `mean` and `std` (4,).

    Encoder's last and decoder's first layer are 1×1 convolutions: they take shift and scale without a trace.
    """
    scale, channels = std * SCALE, len(std)
    weight, bias = vae["quant_conv.weight"].clone(), vae["quant_conv.bias"].clone()
    weight[:channels] /= scale.view(-1, 1, 1, 1)
    bias[:channels] = (bias[:channels] - mean) / scale
    bias[channels:] -= 2 * scale.log()  # of the variance's logarithm
    back = vae["post_quant_conv.weight"]
    return vae | {
        "quant_conv.weight": weight,
        "quant_conv.bias": bias,
        "post_quant_conv.weight": back * scale.view(1, -1, 1, 1),
        "post_quant_conv.bias": vae["post_quant_conv.bias"] + back[:, :, 0, 0] @ mean,
    }


def as_comfyui_names(text: dict[str, T]) -> dict[str, T]:
    """The text encoders' weights, or anything that bears their names, as ComfyUI's SDXLClipModel calls them."""
    named = {}
    for name, tensor in text.items():
        encoder, rest = name.split(".", 1)
        rest = rest.removeprefix("text_model.")  # which transformers 5 leaves out for one of them
        inner = rest if rest.startswith("text_projection.") else f"text_model.{rest}"
        named[f"{encoder}.transformer.{inner}"] = tensor
    return named


def from_comfyui_names(exported: Weights, encoders: torch.nn.Module) -> Weights:
    """The opposite: exported weights under the names of `encoders`."""
    names = as_comfyui_names({name: name for name in encoders.state_dict()})
    return {names[name]: tensor for name, tensor in exported.items()}


def without_unused_words(text: Weights, used: Mapping[str, torch.Tensor]) -> Weights:
    """The text encoders with nothing in place of words that no caption held: they never learned what those mean.

    `used`: token ids by encoder, "l" and "g".
    """
    kept = dict(text)
    for name, ids in used.items():
        key = next(key for key in text if key.startswith(f"clip_{name}.") and key.endswith("token_embedding.weight"))
        kept[key] = torch.zeros_like(text[key])
        kept[key][ids] = text[key][ids]
    return kept


def load(folder: Path) -> Weights:
    """UNet and text encoders out of `folder`, named as they are trained ("unet...", "text...")."""
    weights = {f"unet.{name}": tensor for name, tensor in load_file(folder / "unet.safetensors").items()}
    text = from_comfyui_names(load_file(folder / "text.safetensors"), TextEncoders())
    weights |= {f"text.{name}": tensor for name, tensor in text.items()}
    return {name: tensor.float() for name, tensor in weights.items()}


def save(weights: Weights, name: str) -> None:
    """Write weights in fp16. Raises ValueError for a number that fp16 cannot hold."""
    halved = {key: tensor.half() for key, tensor in weights.items()}
    for key, tensor in halved.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name}: {key} holds numbers that fp16 cannot.")
    file = WEIGHTS / f"{name}.safetensors"
    write(file, halved)
    print(f"{file} {file.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Export what has been trained so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--tokenizer", type=Path, required=True, help="such as ComfyUI's comfy/sd1_tokenizer")
    arguments = parser.parse_args()
    work = arguments.work
    latents = load_file(work / "latents.safetensors")
    save(normalised(load_vae(work).state_dict(), latents["mean"], latents["std"]), "vae")
    both = mean_weights(work / "unet.safetensors")
    for name in ("unet", "text"):
        weights = {key.removeprefix(f"{name}."): tensor for key, tensor in both.items() if key.startswith(f"{name}.")}
        if name == "text":
            captions = {encoder: latents[encoder].unique().long() for encoder in ("l", "g")}
            nothing = Tokenizer(arguments.tokenizer)(["", ", ".join(NEGATIVES)])
            used = {encoder: torch.cat([ids, nothing[encoder].flatten()]) for encoder, ids in captions.items()}
            weights = as_comfyui_names(without_unused_words(weights, used))
        save(weights, name)


if __name__ == "__main__":
    main()
