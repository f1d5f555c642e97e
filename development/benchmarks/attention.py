"""One sampling step of full-size SDXL: plain, with StoryBooth's bank, and with a bank as StoryDiffusion reads it.

Run it with `python dev.py benchmark attention`. All variants run in turn in one process, `--repeats` times; times are
medians, and what counts are their ratios. Weights and bank are random: neither speed nor memory depends on them.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from machine import keep
from peak import Peak
from random_sdxl import unet
from tqdm import tqdm

from storybooth.consistency.bank import Geometry, IdentityBank, Recipe
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Layer, Schedule
from storybooth.consistency.writer import BankWriter
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.mini import network as mini
from storybooth.nodes.model import bank_geometry
from storybooth.nodes.sampling import empty_latent, noise_for, sample

IMAGES, SEED = 2, 42


class DenseReader:
    """StoryDiffusion's read: all tokens of the identity images in every layer, a dense mask over them and one's own.

    Its mask for a level is (N, (M+1)*N), drawn anew at every step with one keep-or-drop number for each key.
    """

    def __init__(self, features: dict[tuple[Layer, int], torch.Tensor], strength: float) -> None:
        self._features = features
        self._strength = strength
        self._masks: dict[int, torch.Tensor] = {}

    def patch(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of `model` that reads so in all layers of the up blocks."""
        patched = model.clone()
        patched.set_model_attn1_patch(self._extend)
        for layer in {layer for layer, _ in self._features}:
            patched.set_model_attn1_replace(self._attend, "output", layer.block, layer.index)
        patched.set_model_unet_function_wrapper(self._step)
        return patched

    def _step(self, apply: Callable, arguments: dict) -> torch.Tensor:
        self._masks = {}
        return apply(arguments["input"], arguments["timestep"], **arguments["c"])

    def _extend(self, states: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict) -> tuple:
        name, block = options["block"]
        if name != "output":
            return states, context, value
        layer = Layer(block, options["block_index"])
        stored = [
            self._features[layer, half].to(states.device, non_blocking=True) for half in options["cond_or_uncond"]
        ]
        stored = torch.stack(stored).to(states.dtype).flatten(1, 2)
        extended = torch.cat([stored, context], dim=1)
        return states, extended, extended

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict) -> torch.Tensor:
        tokens = q.shape[1]
        if tokens not in self._masks:
            kept = torch.rand(k.shape[1] - tokens, device=q.device) < self._strength
            row = torch.cat([kept, torch.ones(tokens, dtype=torch.bool, device=q.device)])
            self._masks[tokens] = row.expand(tokens, -1).contiguous()
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, options["n_heads"], mask=self._masks[tokens])


class ProjectedReader:
    """Our read of a bank that stores projected keys and values: no projection of what is appended, twice the bank."""

    def __init__(self, features: dict[tuple[Layer, int], torch.Tensor]) -> None:
        self._features = features

    def patch(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of `model` that reads so in all layers of the up blocks."""
        patched = model.clone()
        for layer in {layer for layer, _ in self._features}:
            patched.set_model_attn1_replace(self._attend, "output", layer.block, layer.index)
        return patched

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict) -> torch.Tensor:
        layer = Layer(options["block"][1], options["block_index"])
        stored = [self._features[layer, half].to(q.device, non_blocking=True) for half in options["cond_or_uncond"]]
        keys, values = torch.stack(stored).to(q.dtype).flatten(1, 2).chunk(2, dim=-1)
        k, v = torch.cat([k, keys], dim=1), torch.cat([v, values], dim=1)
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, options["n_heads"])


def recipe(size: int, strength: float) -> Recipe:
    """A bank of one step in which every layer is consistent: the most that a step can cost."""
    return Recipe(
        model="",
        lora="",
        prompts=("",) * IMAGES,
        seeds=(None,) * IMAGES,
        width=size,
        height=size,
        steps=1,
        cfg=5.0,
        sampler_name="euler",
        scheduler="normal",
        seed=SEED,
        schedule=Schedule(strength, strength, 0, 0, 1.0, 1.0),
        storage="compact",
        dtype="fp16",
    )


def bank(made_of: Recipe, geometry: Geometry, sigma: float) -> IdentityBank:
    """A bank of random features, in system memory as a written one is."""
    features = {}
    for layer, channels in geometry.layers.items():
        kept = made_of.stored_tokens(made_of.steps - 1, layer.level, geometry.tokens[layer.level])
        for half in (COND, UNCOND):
            features[0, layer, half] = _pinned(torch.randn(IMAGES, kept, channels).to(torch.float16))
    return IdentityBank(made_of, (sigma,), geometry.tokens, torch.zeros(IMAGES, 4, 1, 1), features)


def _pinned(feature: torch.Tensor) -> torch.Tensor:
    return feature.pin_memory() if torch.cuda.is_available() else feature


class StreamedReader(BankReader):
    """Finds no room on the device for the bank to stay, though one step's is small."""

    def settle(self, room: int) -> None:
        """Take no room."""
        super().settle(0)


def step(model: ModelPatcher, size: int, batch: int) -> Peak:
    """One step of euler at cfg 5."""
    widths = model.model.model_config.unet_config
    text = torch.zeros(batch, 77, widths["context_dim"])
    pooled = torch.zeros(batch, widths["adm_in_channels"] - mini.MICRO_CONDITIONING)
    conditioning = [[text, {"pooled_output": pooled}]]
    noise = noise_for(empty_latent(size, size, batch), SEED)
    with torch.inference_mode():
        # Loading the weights is no part of a step.
        comfy.model_management.load_models_gpu([model])
        with Peak() as peak:
            sample(model, conditioning, conditioning, noise, SEED, 1, 5.0, "euler", "normal", lambda *_: None)
    return peak


Variant = tuple[Callable[[], ModelPatcher], int]


def variants(model: ModelPatcher, size: int) -> dict[str, Variant]:
    """What makes each variant's model, anew for every step since a writer fills only one bank, and its batch size."""
    geometry = bank_geometry(model, size, size)
    sigma = float(model.get_model_object("model_sampling").sigma_max)

    def reading(strength: float, kind: type[BankReader] = StreamedReader) -> Variant:
        made_of = recipe(size, strength)
        reader = kind(bank(made_of, geometry, sigma), made_of.schedule)
        return lambda: with_phase(model, reader), 1

    def writing(strength: float) -> Variant:
        return lambda: with_phase(model, BankWriter(recipe(size, strength), geometry)), IMAGES

    def dense() -> Variant:
        full = bank(recipe(size, 1.0), geometry, sigma)
        features = {(layer, half): feature for (_, layer, half), feature in full.features.items()}
        reader = DenseReader(features, 0.5)
        return lambda: reader.patch(model), 1

    def projected() -> Variant:
        half = bank(recipe(size, 0.5), geometry, sigma)
        # Random numbers again: keys and values in one tensor.
        features = {
            (layer, side): _pinned(feature.repeat(1, 1, 2)) for (_, layer, side), feature in half.features.items()
        }
        reader = ProjectedReader(features)
        return lambda: reader.patch(model), 1

    return {
        "plain": (lambda: model, 1),
        "read, half of the tokens": reading(0.5),
        **({"the same, the bank staying on the GPU": reading(0.5, BankReader)} if torch.cuda.is_available() else {}),
        "the same from keys and values": projected(),
        "read, all tokens": reading(1.0),
        "dense read, half of the tokens": dense(),
        f"plain, batch of {IMAGES}": (lambda: model, IMAGES),
        "write, half of the tokens": writing(0.5),
    }


def measure(model: ModelPatcher, size: int, repeats: int) -> list[dict[str, str | float]]:
    """A row for each variant: its median time, the peak memory that it adds, and both beside the plain step."""
    measured = variants(model, size)
    peaks: dict[str, list[Peak]] = {name: [] for name in measured}
    for _ in tqdm(range(repeats + 1), desc="rounds"):
        for name, (make, batch) in measured.items():
            peaks[name].append(step(make(), size, batch))
    rows, plains = [], {}  # of each batch size, the plain step comes first
    for name, (_, batch) in measured.items():
        seconds = statistics.median(peak.seconds for peak in peaks[name][1:])  # the first round warms up
        memory = max(peak.memory for peak in peaks[name][1:])
        plain = plains.setdefault(batch, seconds)
        rows.append({"step": name, "seconds": seconds, "memory": memory, "time_ratio": seconds / plain})
    return rows


def main() -> None:
    """Measure, print a table, and write the figures to `--output`."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description="One sampling step of full-size SDXL, with and without a bank.")
    parser.add_argument("--size", type=int, default=1024 if cuda else 256, help="side of the picture in pixels")
    parser.add_argument("--repeats", type=int, default=7 if cuda else 5)
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16" if cuda else "float32")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    comfy.utils.set_progress_bar_enabled(False)
    model = unet(getattr(torch, arguments.dtype))
    rows = measure(model, arguments.size, arguments.repeats)
    print(table(rows))
    keep("attention", cuda, {"size": arguments.size, "dtype": arguments.dtype, "rows": rows}, arguments.output)


def table(rows: list[dict[str, str | float]]) -> str:
    """The figures as Markdown."""
    lines = ["| one step | time | beside plain | added memory |", "|---|--:|--:|--:|"]
    for row in rows:
        memory = f"{row['memory'] / 2**20:,.0f} MiB"
        lines.append(f"| {row['step']} | {row['seconds']:.2f} s | {row['time_ratio']:.2f} × | {memory} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
