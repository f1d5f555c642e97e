"""Training steps side by side: this trainer, a plain loop in diffusers' way, and ComfyUI's own Train LoRA node.

Run it with `python dev.py benchmark training`. Each variant trains in a process of its own, so that its peak memory is
its own; on a processor they take turns, step by step. Times are medians, and what counts are their ratios. On a
graphics card the network is SDXL at full size with random weights, else StoryBooth Mini.

Same network, latents, text and settings: rank 4 on the self-attention, AdamW, one image a batch, `--accumulation` of
them a step. The plain loop is written for this comparison after the method of diffusers' DreamBooth scripts: peft's
adapters under autocast, text encoded beforehand, every image through the VAE at every step. Its second form keeps the
latents. ComfyUI's node has no choice of layers: it trains all of them.

`--loops` names others to compare. `--earlier` takes a folder with another state of this project, such as
`git worktree add ../earlier d059565` makes one, whose trainer takes turns with this one: what was added since shall not
slow it down.
"""

import argparse
import inspect
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import comfy.utils
import comfy_extras.nodes_train
import folder_paths
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from diffusers import AutoencoderKL, DDPMScheduler
from machine import keep
from peft import LoraConfig
from random_sdxl import unet
from tqdm import tqdm

from storybooth.nodes.mini import network as mini
from storybooth.nodes.training.weights import training_unet
from storybooth.training.examples import Example, Examples
from storybooth.training.precision import DTYPES
from storybooth.training.run import make_trainer
from storybooth.training.settings import Options, Settings
from storybooth.training.timesteps import NOISE_SCHEDULE, sample
from storybooth.workshop import ROOT

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
PHOTOS, RANK = 10, 4
VAE_CHANNELS = [128, 256, 512, 512] if CUDA else [32, 32, 64, 64]


class FinishedError(Exception):
    """No further step is asked for."""


class Turns:
    """A variant's end of the conversation: steps are done when the standard input says so, and their times printed."""

    def __init__(self) -> None:
        self._before = _memory()
        self._started: float | None = None

    def step_done(self) -> None:
        """Report the step that is done, if any, and wait for the next. Raises FinishedError where there is none."""
        if CUDA:
            torch.cuda.synchronize()
        if self._started is not None:
            print(json.dumps({"seconds": time.perf_counter() - self._started}), flush=True)
        if not sys.stdin.readline():
            print(json.dumps({"memory": _memory() - self._before}), flush=True)
            raise FinishedError
        self._started = time.perf_counter()


def _memory() -> int:
    """The most memory in use so far, in bytes: of the device, or of this process."""
    if CUDA:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def examples(model: ModelPatcher, size: int) -> list[Example]:
    """Encoded images and captions of random numbers; the speed does not depend on them."""
    config = model.model.model_config.unet_config
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    latent, time_ids = (4, size // 8, size // 8), torch.tensor([size, size, 0, 0, size, size], dtype=torch.float32)
    text, pooled = (77, config["context_dim"]), config["adm_in_channels"] - 6 * 256
    spread = torch.full(latent, 0.05)
    return [Example(draw(*latent), spread, draw(*text), draw(pooled), time_ids) for _ in range(PHOTOS)]


def storybooth(model: ModelPatcher, settings: Settings, checkpointing: bool, turns: Turns) -> None:
    """This pack's trainer."""
    network = training_unet(model, DTYPES[settings.precision])
    shown = Examples(examples(model, settings.resolution))
    trainer = make_trainer(network, shown, settings, DEVICE, checkpointing)
    while True:
        turns.step_done()
        trainer.advance()


def diffusers_loop(
    model: ModelPatcher,
    settings: Settings,
    checkpointing: bool,
    turns: Turns,
    keep_latents: bool = False,
    dora: bool = False,
) -> None:
    """A plain training loop with diffusers and peft."""
    dtype = DTYPES[settings.precision]
    network = training_unet(model, dtype)
    if checkpointing:
        network.enable_gradient_checkpointing()
    layers = r".*\.attn1\.(to_q|to_k|to_v|to_out\.0)"
    network.add_adapter(
        LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=layers, use_dora=dora)
    )
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=1e-2)
    schedule = DDPMScheduler(**NOISE_SCHEDULE)
    vae = None if keep_latents else vae_of_size(VAE_CHANNELS)
    shown, size, rng = examples(model, settings.resolution), settings.resolution, np.random.default_rng(1)
    pixels = torch.rand(PHOTOS, 1, 3, size, size) * 2 - 1
    order = itertools.cycle(range(PHOTOS))
    while True:
        turns.step_done()
        for _ in range(settings.gradient_accumulation):
            index = next(order)
            example = shown[index]
            if vae is None:
                latent = example.latent_mean[None].to(DEVICE)
                latent = latent + example.latent_std[None].to(DEVICE) * torch.randn_like(latent)
            else:
                latent = vae.encode(pixels[index].to(DEVICE)).latent_dist.sample() * 0.13025
            noise = torch.randn_like(latent)
            t = torch.from_numpy(sample("log_normal", 1, rng)).to(DEVICE)
            noisy = schedule.add_noise(latent, noise, t).to(dtype)
            conditions = {"text_embeds": example.pooled[None], "time_ids": example.time_ids[None]}
            conditions = {name: value.to(DEVICE, dtype) for name, value in conditions.items()}
            text = example.text[None].to(DEVICE, dtype)
            with torch.autocast(DEVICE.type, dtype, enabled=dtype != torch.float32):
                predicted = network(noisy, t, encoder_hidden_states=text, added_cond_kwargs=conditions).sample
            loss = torch.nn.functional.mse_loss(predicted.float(), noise)
            (loss / settings.gradient_accumulation).backward()
            loss.detach().item()  # for the progress bar and the log
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def vae_of_size(channels: list[int]) -> AutoencoderKL:
    """An autoencoder of SDXL's layout with random weights, in fp32 as the scripts run it."""
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    vae = AutoencoderKL.from_config({"block_out_channels": channels, "layers_per_block": 2, **blocks})
    return vae.to(DEVICE).requires_grad_(False)


def keeping_latents(*arguments: object) -> None:
    """The plain loop on latents that it keeps."""
    diffusers_loop(*arguments, keep_latents=True)


def dora(*arguments: object) -> None:
    """The plain loop on latents that it keeps, with peft's DoRA in the place of its LoRA."""
    diffusers_loop(*arguments, keep_latents=True, dora=True)


def t_lora(model: ModelPatcher, settings: Settings, checkpointing: bool, turns: Turns) -> None:
    """This pack's trainer by T-LoRA."""
    storybooth(model, replace(settings, options=Options(method="T-LoRA")), checkpointing, turns)


def comfyui_node(model: ModelPatcher, settings: Settings, checkpointing: bool, turns: Turns) -> None:
    """ComfyUI's Train LoRA. Its progress bar, which it moves after each image, is where it takes turns."""

    class Bar:
        def __init__(self, total: int) -> None:
            self._images = 0
            turns.step_done()

        def update(self, _: int) -> None:
            self._images += 1
            if self._images % settings.gradient_accumulation == 0:
                turns.step_done()

    comfy_extras.nodes_train.ProgressBar = Bar
    shown = examples(model, settings.resolution)
    values = {
        "model": model,
        "latents": {"samples": torch.stack([example.latent_mean for example in shown]) / 0.13025},
        "positive": [[shown[0].text[None], {"pooled_output": shown[0].pooled[None]}]],
        "batch_size": 1,
        "steps": 1_000_000,
        "grad_accumulation_steps": settings.gradient_accumulation,
        "learning_rate": settings.learning_rate,
        "rank": RANK,
        "optimizer": "AdamW",
        "loss_function": "MSE",
        "seed": 1,
        "training_dtype": settings.precision,
        "lora_dtype": "fp32",
        "quantized_backward": False,
        "algorithm": "LoRA",
        "gradient_checkpointing": checkpointing,
        "checkpoint_depth": 1,
        "offloading": False,
        "existing_lora": "[None]",
        "bucket_mode": False,
        "bypass_mode": False,
    }
    node = comfy_extras.nodes_train.TrainLoraNode
    known = inspect.signature(node.execute).parameters
    node.execute(**{name: [value] for name, value in values.items() if name in known})


VARIANTS = {
    "this trainer": storybooth,
    "diffusers' way": diffusers_loop,
    "diffusers' way, latents kept": keeping_latents,
    "ComfyUI's Train LoRA, every layer": comfyui_node,
    "this trainer, T-LoRA": t_lora,
    "diffusers' way, latents kept, DoRA": dora,
}
USUAL = list(VARIANTS)[:4]
OURS, EARLIER = USUAL[0], "this trainer, earlier"


def work(arguments: argparse.Namespace) -> None:
    """Be one variant, until the standard input ends."""
    settings = Settings(
        steps=1_000_000,
        rank=RANK,
        resolution=arguments.size,
        precision=arguments.precision,
        gradient_accumulation=arguments.accumulation,
    )
    comfy.utils.set_progress_bar_enabled(False)
    turns = Turns()
    with torch.inference_mode(False), torch.enable_grad():
        model = unet(DTYPES[settings.precision]) if CUDA else mini.load_model()
        try:
            VARIANTS[arguments.variant](model, settings, arguments.gradient_checkpointing, turns)
        except FinishedError:
            return


class Worker:
    """A variant at work in a process of its own."""

    def __init__(self, variant: str, arguments: argparse.Namespace) -> None:
        root = arguments.earlier.resolve() if variant == EARLIER else ROOT
        within = [root / "development" / "within.py", *(["--cuda"] if CUDA else []), folder_paths.base_path]
        told = [f"--{name}={getattr(arguments, name)}" for name in ("size", "accumulation", "precision")]
        told += ["--gradient-checkpointing"] if arguments.gradient_checkpointing else []
        script = root / "development" / "benchmarks" / "training.py"
        variant = OURS if variant == EARLIER else variant
        command = [sys.executable, *within, script, *told, "--variant", variant]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []

    def step(self) -> None:
        """Let it do one step."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(self._answer()["seconds"])

    def end(self) -> int:
        """End it; return the memory that it took at its peak, in bytes."""
        self._process.stdin.close()
        memory = self._answer()["memory"]
        self._process.wait()
        return memory

    def _answer(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self._process.args[-1]} ended with {self._process.wait()}; its error is above.")


def measure(arguments: argparse.Namespace) -> list[dict[str, str | float]]:
    """A row for each variant. On a graphics card one after another, since each of them may need all of its memory."""
    rows = []
    loops = [OURS, *([EARLIER] if arguments.earlier else []), *(name for name in arguments.loops if name != OURS)]
    for names in [[name] for name in loops] if CUDA else [loops]:
        workers = {name: Worker(name, arguments) for name in names}
        for _ in tqdm(range(arguments.repeats + 1), desc=", ".join(names)):
            for worker in workers.values():
                worker.step()
        for name, worker in workers.items():
            # The first step warms up.
            rows.append({"loop": name, "seconds": statistics.median(worker.seconds[1:]), "memory": worker.end()})
    ours = rows[0]
    for row in rows:
        row |= {"speed_ratio": ours["seconds"] / row["seconds"], "memory_ratio": row["memory"] / ours["memory"]}
    return rows


def table(rows: list[dict[str, str | float]]) -> str:
    """The figures as Markdown."""
    lines = ["| training loop | one step | speed | peak memory | |", "|---|--:|--:|--:|--:|"]
    for row in rows:
        memory = f"{row['memory'] / 2**20:,.0f} MiB | {row['memory_ratio']:.2f} ×"
        lines.append(f"| {row['loop']} | {row['seconds']:.2f} s | {row['speed_ratio']:.2f} × | {memory} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, and write the figures to `--output`."""
    parser = argparse.ArgumentParser(description="Training steps beside those of a plain diffusers loop and ComfyUI.")
    parser.add_argument("--size", type=int, default=1024 if CUDA else 256, help="side of the pictures in pixels")
    parser.add_argument("--repeats", type=int, default=20 if CUDA else 10, help="steps that count, of each variant")
    parser.add_argument("--accumulation", type=int, default=4, help="images in a step")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16" if CUDA else "fp32")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--loops", nargs="+", choices=VARIANTS, default=USUAL, metavar="LOOP", help="what to compare")
    parser.add_argument("--earlier", type=Path, help="a folder with another state of this project, to compare as well")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        work(arguments)
        return
    rows = measure(arguments)
    print(table(rows))
    asked = ("size", "repeats", "accumulation", "precision", "gradient_checkpointing")
    settings = {name: getattr(arguments, name) for name in asked}
    if arguments.earlier:
        commit = ["git", "-C", arguments.earlier, "rev-parse", "--short", "HEAD"]
        settings["earlier"] = subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip()
    keep("training", CUDA, settings | {"rows": rows}, arguments.output)


if __name__ == "__main__":
    main()
