"""An identity bank as one safetensors file.

Tensors are named `features.<step>.<block>.<index>.<cond|uncond>` and `latents`; the metadata holds the recipe, noise
levels and token counts as JSON. Everything about a file is checked against its recipe before any tensor is read, and
features are read memory-mapped: opening a bank costs no memory until a panel reads it.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..files import write_whole
from .bank import DTYPES, IdentityBank, Recipe, Slot
from .schedule import COND, LEVELS, UNCOND, Layer

FORMAT = "storybooth identity bank 1"

_HALVES = {COND: "cond", UNCOND: "uncond"}
_NAME = re.compile(r"features\.(\d{1,4})\.([0-5])\.(\d{1,2})\.(cond|uncond)")
_STORED = {"fp16": "F16", "fp8": "F8_E4M3", "fp32": "F32"}


def save(bank: IdentityBank, path: Path) -> None:
    """Write `bank` to `path`, whole or not at all. OSError where the disk is full or the folder read-only."""
    tensors = {
        f"features.{step}.{layer.block}.{layer.index}.{_HALVES[half]}": feature.contiguous()
        for (step, layer, half), feature in bank.features.items()
    }
    tensors["latents"] = bank.latents.contiguous()
    metadata = {
        "format": FORMAT,
        "recipe": json.dumps(bank.recipe.to_dict()),
        "sigmas": json.dumps(bank.sigmas),
        "tokens": json.dumps(bank.tokens),
    }
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))


def load(path: Path) -> IdentityBank:
    """Open the bank at `path`. ValueError, naming the file, where it is damaged or no identity bank."""
    try:
        with safe_open(path, framework="pt") as file:
            recipe, sigmas, tokens = _contents(file.metadata() or {})
            slots = _slots(file, recipe, tokens)
            features = {slot: file.get_tensor(name) for slot, name in slots.items()}
            latents = file.get_tensor("latents")
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"name: {path.name} is not an identity bank that can be read ({error}). "
            "Choose a file that Save Identity Bank wrote, or write the bank again."
        ) from error
    return IdentityBank(recipe, sigmas, tokens, latents, features)


def _contents(metadata: dict[str, str]) -> tuple[Recipe, tuple[float, ...], dict[int, int]]:
    """Recipe, noise levels and token counts, checked for form."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its metadata says format {metadata.get('format')!r} instead of {FORMAT!r}")
    recipe = Recipe.from_dict(json.loads(metadata["recipe"]))
    sigmas = tuple(json.loads(metadata["sigmas"]))
    tokens = {level: json.loads(metadata["tokens"])[str(level)] for level in LEVELS}
    _require(recipe.dtype in DTYPES and recipe.storage in ("compact", "full"), "unknown storage or precision")
    _require(all(type(value) is int for value in (recipe.steps, recipe.seed, *tokens.values())), "numbers are missing")
    _require(1 <= len(recipe.prompts) == len(recipe.seeds) <= 64, "it lists no identity images")
    _require(0 < len(sigmas) == recipe.steps, "noise levels and steps differ")
    _require(
        all(isinstance(sigma, float) and 0 < sigma < math.inf for sigma in sigmas), "noise levels are not positive"
    )
    return recipe, sigmas, tokens


def _slots(file: Any, recipe: Recipe, tokens: dict[int, int]) -> dict[Slot, str]:
    """The name of every feature, each checked against the recipe without reading it."""
    slots: dict[Slot, str] = {}
    images = len(recipe.prompts)
    for name in file.keys():  # noqa: SIM118, it is no dict
        if name == "latents":
            continue
        match = _NAME.fullmatch(name)
        _require(match is not None, f"tensor {name[:60]!r} is none of a bank's")
        step, block, index = (int(part) for part in match.groups()[:3])
        layer = Layer(block, index)
        shape, dtype = file.get_slice(name).get_shape(), file.get_slice(name).get_dtype()
        kept = recipe.stored_tokens(layer.level, tokens[layer.level])
        fits = len(shape) == 3 and shape[:2] == [images, kept] and dtype == _STORED[recipe.dtype]
        _require(fits, f"tensor {name} is {dtype} {shape}")
        slots[step, layer, COND if match[4] == "cond" else UNCOND] = name
    latents = file.get_slice("latents").get_shape()
    _require(len(latents) == 4 and latents[0] == images, f"tensor latents is {latents}")
    for layer in {layer for _, layer, _ in slots}:
        stored = {step for step in range(recipe.steps) if recipe.stores(step, layer)}
        held = {step for step, held_layer, half in slots if held_layer == layer and half == COND}
        _require(stored == held, f"layer {layer.block}.{layer.index} holds {len(held)} of {len(stored)} steps")
    return slots


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
