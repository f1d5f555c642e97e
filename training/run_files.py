"""The files of a training run, and how an earlier run of the same recipe is found again.

    loras/toy.safetensors                      the finished LoRA
    loras/toy.1a2b3c4d.step000350.safetensors  what a run that was stopped has learned so far: a LoRA like any other
    loras/toy.step001450.safetensors           a finished LoRA, from before the same run went on to more steps
    states/1a2b3c4d.step000350.safetensors     all that the run needs to go on from there (see resume.py)

1a2b3c4d is the start of a digest of the recipe without its steps, so that runs never overwrite one another, and a run
with more steps is the same run. It keeps its latest state only; what it learned in between goes when it finishes.
Nothing goes that is further than what takes its place: where states are lost, a run may well begin anew. A run with an
own word has files of the same names in `embeddings`, too; one that learns nothing else, only there (see word_files.py).
"""

import glob
import json
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, NamedTuple

import safetensors
import safetensors.torch
import torch

from ..files import SUFFIX, prepare_folder
from .recipe import Recipe
from .stable_safetensors import save_tensors
from .tlora_kind import Kind

_RECIPE, _STEP, _LOSSES = "storybooth_recipe", "storybooth_step", "storybooth_losses"


class TrainedLora(NamedTuple):
    """`tensors` under kohya's names, the mean loss of every optimizer step, and the rows of an own word, `clip_l` and
    `clip_g`. What a run does not learn is empty."""

    tensors: dict[str, torch.Tensor]
    losses: list[float]
    word: dict[str, torch.Tensor] = {}  # noqa: RUF012, never written to


@dataclass(frozen=True)
class RunFiles:
    """`path` of the finished LoRA, the folder of the run's `states`, the recipe, and the files of its own word."""

    path: Path
    states: Path
    recipe: Recipe
    word: "RunFiles | None" = None

    KIND: ClassVar[str] = "LoRA"
    USE: ClassVar[str] = "load it with Load LoRA"

    def find_finished(self) -> TrainedLora | None:
        """The LoRA that a finished run of the same recipe left in `path`; None if there is none, or one of fewer steps
        that can go on.

        Raises FileExistsError if the file comes from another run or another program: it is never overwritten.
        """
        word = self.word.find_finished() if self.word else None
        if not self.path.exists():
            return None
        made, losses = _made(self.path)
        if made == dict(self.recipe):
            if word or not self.word:
                return self._trained(safetensors.torch.load_file(self.path), losses, word)
            if self.latest_state() is not None:
                return None
            raise FileExistsError(
                f"lora_name: {self._told} is there, but its own word is not: {self.word.path}. Put that back, or "
                "delete the LoRA to train again."
            )
        differing = [name for name in {**self.recipe, **made} if made.get(name) != self.recipe.get(name)]
        reason = f"was trained with other {', '.join(differing)}" if made else "was not made by this trainer"
        if differing == ["steps"] and made["steps"] < self.recipe["steps"]:
            if self.latest_state() is not None:
                return None
            reason = f"has {made['steps']} steps, and the state to go on from is gone from {self.states}"
        raise FileExistsError(
            f"lora_name: {self._told} exists already and {reason}. Choose another name, or delete the file to "
            "train again."
        )

    @property
    def paths(self) -> list[Path]:
        """The finished LoRA's, and its own word's."""
        return [self.path, *(self.word.paths if self.word else ())]

    def beside_another_seed(self) -> "RunFiles":
        """These files, or where `path` holds the same run from another seed, those of `<name>.seed<seed>` beside it."""
        made, _ = _made(self.path)
        lasting = {**self.recipe, "seed": made.get("seed"), "steps": made.get("steps")}
        if made != lasting or made["seed"] == self.recipe["seed"]:
            return self
        name = f"{self._name}.seed{self.recipe['seed']}{SUFFIX}"
        word = self.word and replace(self.word, path=self.word.path.with_name(name))
        return replace(self, path=self.path.with_name(name), word=word)

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        if self.word:
            self.word.prepare()
        prepare_folder(self.path.parent)
        prepare_folder(self.states)

    def latest_state(self) -> Path | None:
        """The state to go on from. Raises ValueError naming `steps` if the run has come further than it is asked to."""
        found = self._steps(self.states, f"{self._digest}.step")
        if not found:
            return None
        step = max(found)
        if step > self.recipe["steps"]:
            raise ValueError(
                f"steps: got {self.recipe['steps']}, but this run has already come to step {step}. Set steps to {step} "
                f"or more, or delete {found[step]} to train from the start."
            )
        return found[step]

    def save_state(self, tensors: dict[str, torch.Tensor], metadata: dict[str, str], step: int) -> None:
        """Save the run's state and remove older ones. Raises OSError; older ones then stay."""
        path = self.states / f"{self._digest}.step{step:06d}{SUFFIX}"
        save_tensors(path, tensors, {**metadata, _RECIPE: json.dumps(dict(self.recipe), sort_keys=True)})
        for older, state in self._steps(self.states, f"{self._digest}.step").items():
            if older < step:  # a later one is another server's, which is ahead with the same run
                state.unlink(missing_ok=True)

    def save_finished(self, trained: TrainedLora) -> None:
        """Save the finished LoRA, its own word first; those of the same run with fewer steps are kept beside them.

        Raises OSError; FileExistsError, naming where it is saved instead, if another run has taken the name meanwhile.
        """
        try:
            if self.word:
                self.word.save_finished(trained)
        finally:
            self._save_finished(trained)

    def _save_finished(self, trained: TrainedLora) -> None:
        kept = self._kept()
        try:
            if kept is not None:
                self.path.replace(kept)
                logging.info("StoryBooth: the %s of fewer steps is kept as %s", self.KIND, kept)
            self._save(self.path, trained, new=True)
        except FileExistsError as error:
            if _made(self.path)[0] != dict(self.recipe):  # else another server has done this very run
                path = self._save_unfinished(trained)
                raise FileExistsError(
                    f"lora_name: another run has made {self._told} meanwhile, and it stays as it is. This run is "
                    f"finished and saved as {path.name}: {self.USE}, or rename it."
                ) from error
        except OSError:
            if kept is not None and not self.path.exists():
                kept.replace(self.path)
            raise
        self._remove_unfinished(len(trained.losses))

    def _kept(self) -> Path | None:
        """Where a LoRA of the same run with fewer steps that is in `path` now is to stay; None if there is none."""
        made, losses = _made(self.path)
        if {**made, "steps": 0} != {**self.recipe, "steps": 0} or len(losses) >= self.recipe["steps"]:
            return None
        stem = f"{self._name}.step{len(losses):06d}"
        kept = self.path.with_name(stem + SUFFIX)
        return self.path.with_name(f"{stem}.{self._digest}{SUFFIX}") if kept.exists() else kept

    def save_unfinished(self, trained: TrainedLora) -> Path:
        """Save what a stopped run has learned as a LoRA of its own, its word beside it; return its path. OSError."""
        if self.word:
            self.word.save_unfinished(trained)
        return self._save_unfinished(trained)

    def _save_unfinished(self, trained: TrainedLora) -> Path:
        path = self.path.with_name(f"{self._name}.{self._digest}.step{len(trained.losses):06d}{SUFFIX}")
        self._save(path, trained)
        self._remove_unfinished(len(trained.losses) - 1)
        logging.info("StoryBooth: the %s after step %d is saved as %s", self.KIND, len(trained.losses), path)
        return path

    def ending_at(self, step: int) -> "RunFiles":
        """The files of the same run, had it been asked for so many steps."""
        word = self.word and self.word.ending_at(step)
        return replace(self, recipe={**self.recipe, "steps": step}, word=word)

    @property
    def _name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @cached_property
    def _digest(self) -> str:
        lasting = {name: value for name, value in self.recipe.items() if name != "steps"}
        return sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:8]

    def _save(self, path: Path, trained: TrainedLora, new: bool = False) -> None:
        metadata = {
            **self._metadata(path),
            _RECIPE: json.dumps(dict(self.recipe), sort_keys=True),
            _STEP: str(len(trained.losses)),
            _LOSSES: json.dumps(trained.losses),
        }
        save_tensors(path, self._own(trained), metadata, new)

    @property
    def _told(self) -> str:
        """The file in messages."""
        return self.path.name

    def _own(self, trained: TrainedLora) -> dict[str, torch.Tensor]:
        """What is saved here of all that was trained."""
        return trained.tensors

    def _trained(self, tensors: dict[str, torch.Tensor], losses: list[float], word: TrainedLora | None) -> TrainedLora:
        """What was trained, from what is saved here and in the word's files."""
        return TrainedLora(tensors, losses, word.word if word else {})

    def _metadata(self, path: Path) -> dict[str, str]:
        """What the file at `path` tells other programs."""
        rank = self.recipe["rank"]
        metadata = {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(rank),
            "ss_network_alpha": str(float(self.recipe.get("alpha", rank))),
            "ss_base_model_version": "sdxl_base_v1-0",
            "ss_output_name": path.name.removesuffix(SUFFIX),
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        }
        if "prediction" in self.recipe:
            metadata["modelspec.prediction_type"] = "v"
        if kind := Kind.of_recipe(self.recipe):
            metadata |= kind.metadata(float(self.recipe.get("alpha", rank)))
        return metadata

    def _remove_unfinished(self, until: int) -> None:
        """Remove what this run had learned after so many steps or fewer."""
        for step, path in self._steps(self.path.parent, f"{self._name}.{self._digest}.step").items():
            if step <= until:
                path.unlink(missing_ok=True)

    @staticmethod
    def _steps(folder: Path, stem: str) -> dict[int, Path]:
        """The files `<stem><step>.safetensors` of a folder, by step."""
        found = {
            path.name.removeprefix(stem).removesuffix(SUFFIX): path for path in folder.glob(f"{glob.escape(stem)}*")
        }
        return {int(step): path for step, path in found.items() if step.isdigit()}


def _made(path: Path) -> tuple[Recipe, list[float]]:
    """The recipe and the losses that a LoRA of this trainer holds; both empty for any other file, and for none."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        recipe, losses = json.loads(metadata[_RECIPE]), json.loads(metadata[_LOSSES])
        if isinstance(recipe["steps"], int) and len(losses) == int(metadata[_STEP]):
            return recipe, losses
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        pass
    return {}, []
