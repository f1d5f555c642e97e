"""An identity bank as one safetensors file.

Tensors are named `features.<step>.<block>.<index>.<cond|uncond>`, `latents` and, if there are any, `previews` and
`order.<step>.<level>`, the subject's tokens of a bank that keeps these alone; the metadata holds the recipe, noise
levels and token counts as JSON. Everything about a file is checked against its recipe before any feature is read.
Features are memory-mapped and looked through once: opening a bank takes the time to read it, as its first panel would,
and no memory.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..files import write_whole
from .bank import DTYPES, IdentityBank, Recipe, Slot, tokens_of
from .schedule import COND, LEVELS, UNCOND, Layer
from .subject import KEEPS

FORMAT = "storybooth identity bank 1"

_ORDER = re.compile(r"order\.(\d{1,4})\.(32|64)")
_HALVES = {COND: "cond", UNCOND: "uncond"}
_NAME = re.compile(r"features\.(\d{1,4})\.([0-5])\.(\d{1,2})\.(cond|uncond)")
_LONGEST_HEADER = 2**24
"""Bytes: twice the header of a bank of a thousand steps. safetensors itself would read a hundred million."""

_LARGEST = 2**14
"""Pixels and steps: ComfyUI's own limits, so that nothing takes long to check."""

_STORED = {"fp16": "F16", "fp8": "F8_E4M3", "fp32": "F32"}
_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.uint8: "U8",
    torch.int32: "I32",
}
_LATENTS = ("F32", "F16", "BF16")


def save(bank: IdentityBank, path: Path, each: Callable[[Iterable[str]], Iterable[str]] = iter) -> None:
    """Write `bank` to `path`, whole or not at all.

    `each` wraps the names of the tensors, which are written one by one, and may raise to end that.
    FileExistsError where there is a file already, OSError where the disk is full or the folder read-only.
    """
    tensors, metadata = _parts(bank)
    write_whole(path, lambda temporary: _write(temporary, tensors, metadata, each), new=True)


def digest(bank: IdentityBank, each: Callable[[Iterable[str]], Iterable[str]] = iter) -> str:
    """The SHA-256 of the file that `save` makes of `bank`: a name that says what is in it. Arguments as of `save`."""
    found = sha256()
    for piece in _bytes(*_parts(bank), each):
        found.update(piece)
    return found.hexdigest()


def _parts(bank: IdentityBank) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a bank's file."""
    tensors = {
        f"features.{step}.{layer.block}.{layer.index}.{_HALVES[half]}": feature
        for (step, layer, half), feature in bank.features.items()
    }
    tensors["latents"] = bank.latents
    tensors |= {f"order.{step}.{level}": order.int() for (step, level), order in bank.order.items()}
    if bank.previews is not None:
        tensors["previews"] = bank.previews
    metadata = {
        "format": FORMAT,
        "recipe": json.dumps(bank.recipe.to_dict()),
        "sigmas": json.dumps(bank.sigmas),
        "tokens": json.dumps(bank.tokens),
    }
    return tensors, metadata


def _write(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    each: Callable[[Iterable[str]], Iterable[str]],
) -> None:
    with path.open("wb") as file:
        file.writelines(_bytes(tensors, metadata, each))


def _bytes(
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    each: Callable[[Iterable[str]], Iterable[str]],
) -> Iterator[bytes | memoryview]:
    """A safetensors file piece by piece; safetensors itself would hold a second copy of a bank of gigabytes."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # its order: all are aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _DTYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in each(order):
        yield tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def load(path: Path, each: Callable[[Iterable[Slot]], Iterable[Slot]] = iter) -> IdentityBank:
    """Open the bank at `path`. ValueError, naming the file, where it is damaged or no identity bank.

    `each` wraps its features, which are looked through one by one, and may raise to end that.
    """
    try:
        _require_short_header(path)
        with safe_open(path, framework="pt") as file:
            recipe, sigmas, tokens = _contents(file.metadata() or {})
            order = _order(file, recipe, tokens)
            slots = _slots(file, recipe, tokens, order)
            features = {slot: file.get_tensor(name) for slot, name in slots.items()}
            latents = file.get_tensor("latents")
            previews = file.get_tensor("previews") if "previews" in file.keys() else None  # noqa: SIM118, it is no dict
            for slot in each(slots):
                _require(_is_finite(features[slot]), f"tensor {slots[slot]} has numbers that are not finite (NaN)")
        _require(bool(latents.isfinite().all()), "its identity images are not finite")
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise ValueError(
            f"name: {path.name} is not an identity bank that can be read ({str(error)[:200]}). "
            "Choose a file that Save Identity Bank wrote, or write the bank again."
        ) from error
    return IdentityBank(recipe, sigmas, tokens, latents, features, previews, order)


def _require_short_header(path: Path) -> None:
    """Refuse a file that would cost memory before anything in it can be checked."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    _require(length <= _LONGEST_HEADER, "its header is too large")


def _contents(metadata: dict[str, str]) -> tuple[Recipe, tuple[float, ...], dict[int, int]]:
    """Recipe, noise levels and token counts, checked for form."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its metadata says format {str(metadata.get('format'))[:60]!r} instead of {FORMAT!r}")
    recipe = Recipe.from_dict(json.loads(metadata["recipe"]))
    sigmas = tuple(json.loads(metadata["sigmas"]))
    tokens = {level: json.loads(metadata["tokens"])[str(level)] for level in LEVELS}
    _require(recipe.dtype in DTYPES and recipe.storage in ("compact", "full"), "unknown storage or precision")
    _require(recipe.keep in KEEPS, "unknown choice of tokens")
    _require(1 <= len(recipe.prompts) == len(recipe.seeds), "it lists no identity images")
    _require(min(recipe.width, recipe.height) >= 8, "its images have no size")
    _require(max(recipe.width, recipe.height, recipe.steps) <= _LARGEST, "its images or steps are too large")
    _require(math.isfinite(recipe.cfg), "its cfg is not finite")
    _require(tokens == tokens_of(recipe.height // 8, recipe.width // 8), "token counts and size differ")
    _require(0 < len(sigmas) == recipe.steps, "noise levels and steps differ")
    _require(
        all(isinstance(sigma, float) and 0 < sigma < math.inf for sigma in sigmas), "noise levels are not positive"
    )
    _require(list(sigmas) == sorted(sigmas, reverse=True), "noise levels do not fall")
    return recipe, sigmas, tokens


def _order(file: Any, recipe: Recipe, tokens: dict[int, int]) -> dict[tuple[int, int], torch.Tensor]:
    """The subject's tokens by step and level; none of a bank of random tokens."""
    order: dict[tuple[int, int], torch.Tensor] = {}
    for name in file.keys():  # noqa: SIM118, it is no dict
        if match := _ORDER.fullmatch(name):
            step, level = int(match[1]), int(match[2])
            part = file.get_slice(name)
            rows, count = part.get_shape() if len(part.get_shape()) == 2 else (0, 0)
            fits = rows == len(recipe.prompts) and 1 <= count <= tokens[level] and part.get_dtype() == "I32"
            _require(fits and step < recipe.steps and recipe.keep != "random", f"tensor {name} does not fit")
            kept = file.get_tensor(name).long()
            alone = all(len(set(row)) == count for row in kept.tolist())
            _require(alone and int(kept.min()) >= 0 and int(kept.max()) < tokens[level], f"tensor {name} is damaged")
            order[step, level] = kept
    return order


def _slots(
    file: Any, recipe: Recipe, tokens: dict[int, int], order: dict[tuple[int, int], torch.Tensor]
) -> dict[Slot, str]:
    """The name of every feature, each checked against the recipe without reading it."""
    slots: dict[Slot, str] = {}
    held: defaultdict[tuple[Layer, int], set[int]] = defaultdict(set)
    images, height, width = len(recipe.prompts), recipe.height // 8, recipe.width // 8
    others = {"latents": ([images, 4, height, width], _LATENTS), "previews": ([images, height, width, 3], ("U8",))}
    for name in file.keys():  # noqa: SIM118, it is no dict
        shape, dtype = file.get_slice(name).get_shape(), file.get_slice(name).get_dtype()
        if _ORDER.fullmatch(name):
            continue  # looked at already
        if name in others:
            fits = shape == others[name][0] and dtype in others[name][1]
        else:
            match = _NAME.fullmatch(name)
            _require(match is not None, f"tensor {name[:60]!r} is none of a bank's")
            step, block, index = (int(part) for part in match.groups()[:3])
            layer, half = Layer(block, index), COND if match[4] == "cond" else UNCOND
            chosen = order.get((step, layer.level))
            all_of_it = recipe.schedule.everything(step) and recipe.storage == "compact"
            _require(
                recipe.keep == "random" or all_of_it or chosen is not None, f"it does not say which tokens {name} are"
            )
            stock = None if chosen is None else chosen.shape[1]
            kept = recipe.stored_tokens(step, layer.level, tokens[layer.level], stock)
            fits = len(shape) == 3 and shape[:2] == [images, kept] and dtype == _STORED[recipe.dtype]
            slots[step, layer, half] = name
            held[layer, half].add(step)
        _require(fits, f"tensor {name} is {dtype} {shape}")
    for (layer, _), steps in held.items():
        stored = {step for step in range(recipe.steps) if recipe.stores(step, layer)}
        _require(stored == steps, f"layer {layer.block}.{layer.index} holds {len(steps)} of {len(stored)} steps")
    return slots


def _is_finite(feature: torch.Tensor) -> bool:
    """Whether every number is finite. By extremes, which take a sixth of the time of asking each one, and no memory."""
    if feature.dtype == torch.float8_e4m3fn:  # its NaN are 0x7f and 0xff; it has no infinity
        return feature.view(torch.int8).max() < 0x7F and feature.view(torch.uint8).max() < 0xFF
    return bool(torch.stack(feature.aminmax()).isfinite().all())


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
