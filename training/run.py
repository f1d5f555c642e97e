"""A training run from start to file: checkpoints, Cancel, and finding a finished run again.

    nupjuki.safetensors                       the finished LoRA
    nupjuki.1a2b3c4d.step000350.safetensors   what an unfinished run has learned so far: a LoRA like any other

The part in the middle is the start of the run's digest, so that unfinished runs never overwrite one another. A run
keeps its latest such file only, and removes it when it finishes.
"""

import glob
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from diffusers import UNet2DConditionModel

from ..files import SUFFIX, prepare_folder, write_whole
from .loop import Example, train
from .lora import add_lora, lora_state_dict
from .settings import Settings

_RECIPE, _STEP, _LOSSES = "storybooth_recipe", "storybooth_step", "storybooth_losses"

Recipe = Mapping[str, Any]
"""All that determines a run's result: its settings, and fingerprints of models, images and captions. Plain values."""


class TrainedLora(NamedTuple):
    """`tensors` under kohya's names, and the mean loss of every optimizer step."""

    tensors: dict[str, torch.Tensor]
    losses: list[float]


def find_finished(path: Path, recipe: Recipe) -> TrainedLora | None:
    """The LoRA that a finished run of the same recipe left in `path`, or None if there is no such file.

    Raises FileExistsError if the file comes from another run or another program: it is never overwritten.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        metadata = {}
    made = json.loads(metadata.get(_RECIPE, "{}"))
    if made == dict(recipe):
        return TrainedLora(safetensors.torch.load_file(path), json.loads(metadata[_LOSSES]))
    differing = ", ".join(name for name in recipe if made.get(name) != recipe[name])
    reason = f"was trained with other {differing}" if made else "was not made by this node"
    raise FileExistsError(
        f"lora_name: {path.name} exists already and {reason}. Choose another name, or delete the file to train again."
    )


def train_lora(
    unet: UNet2DConditionModel,
    examples: Sequence[Example],
    settings: Settings,
    recipe: Recipe,
    path: Path,
    checkpoint_every: int,
    device: torch.device,
    on_step: Callable[[int, float], None],
) -> TrainedLora:
    """Train adapters on `unet` and save them as `path`.

    `on_step(step, loss)` is called after each optimizer step and may raise to stop the run. Whatever stops it, what
    was learned is saved first (see the top of this file), and so it is after every `checkpoint_every` steps.

    Raises OSError if nothing can be written, FloatingPointError if the loss is no longer finite, ValueError if
    `checkpoint_every` is less than 1.
    """
    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every: got {checkpoint_every}, expected at least 1.")
    run = _Files(path, recipe)
    prepare_folder(path.parent)
    add_lora(unet, settings.rank, settings.target_layers, settings.seed)
    losses: list[float] = []
    saved = 0
    try:
        for loss in train(unet, examples, settings, device):
            losses.append(loss)
            step = len(losses)
            if step % checkpoint_every == 0 and step < settings.steps:
                run.save_unfinished(lora_state_dict(unet), losses)
                saved = step
            on_step(step, loss)
        return run.save_finished(lora_state_dict(unet), losses)
    except BaseException:
        tensors = lora_state_dict(unet)
        if len(losses) > saved and all(tensor.isfinite().all() for tensor in tensors.values()):
            run.save_unfinished(tensors, losses)
        raise


class _Files:
    """The files of one run."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._path = path
        self._recipe = recipe
        digest = sha256(json.dumps(dict(recipe), sort_keys=True).encode()).hexdigest()
        self._stem = f"{path.name.removesuffix(SUFFIX)}.{digest[:8]}.step"

    def save_finished(self, tensors: dict[str, torch.Tensor], losses: list[float]) -> TrainedLora:
        self._save(self._path, tensors, losses)
        self._remove_unfinished(before=len(losses) + 1)
        return TrainedLora(tensors, losses)

    def save_unfinished(self, tensors: dict[str, torch.Tensor], losses: list[float]) -> None:
        path = self._path.with_name(f"{self._stem}{len(losses):06d}{SUFFIX}")
        self._save(path, tensors, losses)
        self._remove_unfinished(before=len(losses))
        logging.info("StoryBooth: the LoRA after step %d is saved as %s", len(losses), path)

    def _save(self, path: Path, tensors: dict[str, torch.Tensor], losses: list[float]) -> None:
        metadata = {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(self._recipe["rank"]),
            "ss_network_alpha": str(float(self._recipe["rank"])),
            "ss_base_model_version": "sdxl_base_v1-0",
            "ss_output_name": path.name.removesuffix(SUFFIX),
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            _RECIPE: json.dumps(dict(self._recipe), sort_keys=True),
            _STEP: str(len(losses)),
            _LOSSES: json.dumps(losses),
        }
        data = safetensors.torch.save(tensors, metadata)
        write_whole(path, lambda temporary: temporary.write_bytes(data))

    def _remove_unfinished(self, before: int) -> None:
        for path in self._path.parent.glob(f"{glob.escape(self._stem)}*{SUFFIX}"):
            step = path.name.removeprefix(self._stem).removesuffix(SUFFIX)
            if step.isdigit() and int(step) < before:
                path.unlink()
