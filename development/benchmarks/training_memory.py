"""What training full-size SDXL takes beyond ComfyUI merely holding the model: memory at its peak, and after the end.

Run it with `python dev.py benchmark training_memory`; once more with `--weights fp8`. Weights and photos are random. On
a graphics card the figures are the device's, else those of this process.

What a card needs at 1024 x 1024, batch 1, gradient checkpointing on (computed, not measured; 1 GB = 1e9 bytes):

    the UNet              2.57e9 weights: 5.1 GB in bf16, 2.6 GB in fp8
    the LoRA of rank 4    2.7e6 weights of self-attention, 16 bytes each with gradient and AdamW's two means: 0.04 GB
    kept between blocks   what enters 70 transformer and 17 residual blocks, and the skips, in bf16: 0.6 GB
    one block, recomputed the widest residual block, 960 to 320 channels at 128 x 128, with its gradients: 0.4 GB
    fp8 only              the matrices of one transformer block in bf16: 0.05 GB
    CUDA itself           0.5 GB

That is 6.7 GB in bf16, and 4.2 GB with the weights in fp8: Load Diffusion Model with weight_dtype fp8_e4m3fn, or
ComfyUI started with --fp8_e4m3fn-unet. Text encoders and VAE are off the card by then.
"""

import argparse
from pathlib import Path

import comfy.model_management
import comfy.utils
import psutil
import torch
from machine import give_back_memory, keep
from peak import Peak
from random_sdxl import unet

from storybooth.nodes.training.weights import training_unet
from storybooth.training.examples import Examples
from storybooth.training.precision import DTYPES
from storybooth.training.run import make_trainer
from storybooth.training.settings import Settings
from training import DEVICE, examples

CUDA = DEVICE.type == "cuda"
WEIGHTS = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp8": torch.float8_e4m3fn}


def held() -> int:
    """The memory in use, in bytes."""
    give_back_memory()
    if CUDA:
        comfy.model_management.soft_empty_cache()
        return torch.cuda.memory_allocated()
    return psutil.Process().memory_info().rss


def measure(weights: str, size: int, steps: int) -> dict[str, float]:
    """Bytes held before, at the peak of, and after a training of `steps` steps."""
    settings = Settings(precision="fp32" if weights == "fp32" else "bf16", resolution=size, gradient_accumulation=1)
    model = unet(WEIGHTS[weights])
    comfy.model_management.load_models_gpu([model])
    before = held()
    with Peak() as peak, torch.inference_mode(False), torch.enable_grad():
        network = training_unet(model, DTYPES[settings.precision])
        trainer = make_trainer(network, Examples(examples(model, size)), settings, DEVICE, gradient_checkpointing=True)
        for _ in range(steps):
            trainer.advance()
    del network, trainer
    return {"held": before, "peak": before + peak.memory, "after": held(), "seconds": peak.seconds}


def main() -> None:
    """Measure, print, and write the figures to `--output`."""
    parser = argparse.ArgumentParser(description="Memory that training full-size SDXL takes beyond holding the model.")
    parser.add_argument(
        "--weights", choices=WEIGHTS, default="bf16" if CUDA else "fp32", help="how ComfyUI holds the model"
    )
    parser.add_argument("--size", type=int, default=1024 if CUDA else 256, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    comfy.utils.set_progress_bar_enabled(False)
    found = measure(arguments.weights, arguments.size, arguments.steps)
    for name in ("held", "peak", "after"):
        print(f"{name:>6} {found[name] / 1e9:6.2f} GB   {found[name] / found['held']:.3f} x")
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    keep(f"training_memory_{arguments.weights}", CUDA, settings | found, arguments.output)


if __name__ == "__main__":
    main()
