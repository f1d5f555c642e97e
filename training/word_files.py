"""The files of an own word: an embedding beside the LoRA of its run, or alone, with the same care.

    embeddings/toy.safetensors   clip_l (n, 768) and clip_g (n, 1280) in fp32: what ComfyUI, A1111 and diffusers know

ComfyUI reads it as embedding:toy, so that its name may have nothing at which ComfyUI ends one.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import safetensors
import safetensors.torch
import torch

from ..files import SUFFIX, file_name
from ..fingerprint import fingerprint
from .own_word import EMBEDDING, Rows, named_embedding
from .recipe import Recipe
from .run_files import RunFiles, TrainedLora
from .settings import TEXTUAL_INVERSION, Options, Settings, named

_ENDS = re.compile(r"[\s<\[\](),]")
"""What ends a name in a prompt, or its weight."""


def require_word_name(name: PurePosixPath) -> None:
    """Raise ValueError naming `lora_name` where no prompt could name an embedding of this file name."""
    if found := _ENDS.search(str(name)):
        raise ValueError(
            f"lora_name: got {str(name.with_suffix(''))!r}, in which {found[0]!r} would end the own word's name in a "
            "prompt (embedding:name). Leave blanks, commas and brackets out."
        )


def read_start(settings: Settings, widths: Mapping[str, int], place: Callable[[PurePosixPath], Path]) -> Rows | None:
    """The rows of the embedding that the own word begins as, where `place` says that a file of its name is; None where
    it begins as anything else.

    Raises ValueError naming `word_start` where that is no embedding of the encoders' `widths`.
    """
    name = named_embedding(settings)
    if name is None:
        return None
    setting = named(Options, "word_start")
    path = place(file_name(name, setting))
    try:
        rows = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{setting}: {path} cannot be read ({error}). Choose another embedding, or none.") from error
    shapes = {name: tuple(rows[name].shape) if name in rows else None for name in widths}
    if not all(shape and len(shape) == 2 and shape[0] and shape[1] == widths[name] for name, shape in shapes.items()):
        raise ValueError(
            f"{setting}: {path.name} has "
            + ", ".join(f"{name} {'nowhere' if shape is None else list(shape)}" for name, shape in shapes.items())
            + f", expected one for both encoders of this model, {' and '.join(map(str, widths.values()))} numbers wide."
        )
    return {name: rows[name].float() for name in widths}


def start_recipe(start: Rows | None) -> dict[str, str]:
    """What a run's recipe says of the embedding that its own word begins as."""
    return {"word_rows": fingerprint(sorted(start.items()), samples=None)} if start else {}


def called(name: PurePosixPath | Path) -> str:
    """What calls the word of this file name up in a prompt of ComfyUI."""
    return EMBEDDING + name.as_posix().removesuffix(SUFFIX)


class WordFiles(RunFiles):
    """As `RunFiles`, of a run's own word."""

    KIND = "own word"
    USE = "write its name behind embedding:"

    @property
    def _told(self) -> str:
        return f"the embedding {self.path.name}"

    def _own(self, trained: TrainedLora) -> dict[str, torch.Tensor]:
        return trained.word

    def _trained(self, tensors: dict[str, torch.Tensor], losses: list[float], word: TrainedLora | None) -> TrainedLora:
        return TrainedLora({}, losses, tensors)

    def _metadata(self, path: Path) -> dict[str, str]:
        return {
            "modelspec.architecture": "stable-diffusion-xl-v1-base/textual-inversion",
            "modelspec.title": path.name.removesuffix(SUFFIX),
            "modelspec.trigger_phrase": called(Path(path.name)),
        }


def files_of(
    settings: Settings, name: PurePosixPath, place: Callable[[str], Path], states: Path, recipe: Recipe
) -> RunFiles:
    """The files of a run of this `name`: a LoRA's, with its own word's if it has one, or a word's alone.

    `place(folder)` is where the file lies among "loras" or "embeddings". Raises ValueError naming `lora_name` where it
    cannot be a word's.
    """
    options = settings.options
    if not options.own_word:
        return RunFiles(place("loras"), states, recipe)
    require_word_name(name)
    word = WordFiles(place("embeddings"), states, recipe)
    return word if options.method == TEXTUAL_INVERSION else RunFiles(place("loras"), states, recipe, word)
