"""Pictures of two on StoryBooth Mini, drawn by the pack's own nodes in several ways, for the benchmark
`two_characters`."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import load_file

from storybooth.development.benchmarks.kept import Kept
from storybooth.development.benchmarks.studio import (
    SAMPLING,
    SCHEDULE,
    SIZE,
    STORYBOARD,
    SUBJECTS,
    TRAINING,
    BankSettings,
    Subject,
    run_node,
)
from storybooth.nodes.comic.character import CharacterNode
from storybooth.nodes.comic.panel_sampler import PanelSampler
from storybooth.nodes.comic.storyboard import Storyboard
from storybooth.nodes.consistency.patch import ConsistentAttention
from storybooth.nodes.consistency.writer import IdentityBankWriter

PLACES = ("in a forest", "on a beach", "in a vintage cafe")
"""The seed of a picture of two chooses among them."""
IDENTITIES = ("standing in a forest", "walking in a forest")
"""What a character does in the [id] lines that its bank is written from."""
NAMES = ("nupjuki", "bob")
SIZES = ("192x192", "256x128")
"""As the workflow of a cast on Mini draws, and with parts as large as the pictures that Mini was trained on."""
BANK = BankSettings()
WAYS = ("one prompt", "a part each", "a part and a bank each")
OF_REFERENCES = 1000
"""Seed of the pictures that toys without photos are known by. Nothing else is drawn from it."""


@dataclass(frozen=True)
class Toy:
    """Who can be in a picture: the words for it, its kind and colour; `learned` has photos and gets a LoRA."""

    words: str
    kind: str
    colour: str
    learned: Subject | None = None

    def differs_in(self, other: "Toy") -> str:
        """What sets it apart from another."""
        return " and ".join(what for what in ("kind", "colour") if getattr(self, what) != getattr(other, what))


KNOWN = tuple(
    Toy(f"a {colour} {noun}", noun, colour)
    for noun in ("rabbit plush", "cat plush", "frog plush", "robot")
    for colour in ("blue", "red", "yellow")
)
LEARNED = tuple(Toy(subject.words, subject.name, subject.name, subject) for subject in SUBJECTS)
Pair = tuple[Toy, Toy]


def pairs(toys: Sequence[Toy], count: int) -> list[Pair]:
    """`count` of all ordered pairs of different toys, by chance but always the same."""
    found = list(itertools.permutations(toys, 2))
    return [found[index] for index in np.random.default_rng(0).permutation(len(found))[:count]]


class Pictures(Kept):
    """What is drawn, each once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, PLACES, IDENTITIES, SAMPLING, SCHEDULE, STORYBOARD, BANK, TRAINING)

    def alone(self, toy: Toy, seed: int) -> torch.Tensor:
        """A toy in each of PLACES as Mini draws it alone, at the size that it was trained on."""
        lines = [f"{toy.words} {place}" for place in PLACES]
        return self._kept(f"{toy.words}, {seed}", lambda: self._drawn(self._with_loras(toy), lines, seed))

    def together(self, pair: Pair, seed: int, way: str, size: str) -> torch.Tensor:
        """A picture (1, height, width, 3) of both of a pair, in one of WAYS and of a size such as 256x128."""
        name = f"{pair[0].words}, {pair[1].words}, {seed}, {way}, {size}"
        return self._kept(name, lambda: self._together(pair, seed, way, *map(int, size.split("x"))), 1)

    def _kept(self, name: str, draw: Callable[[], torch.Tensor], count: int | None = None) -> torch.Tensor:
        return self.pictures(name, lambda: (draw(), {}), count)[0]

    def _together(self, pair: Pair, seed: int, way: str, width: int, height: int) -> torch.Tensor:
        place = PLACES[np.random.default_rng(seed).integers(len(PLACES))]
        if way == WAYS[0]:
            line = f"{pair[0].words} and {pair[1].words} {place}"
            return self._drawn(self._with_loras(*pair), [line], seed, width, height)
        cast = None
        for name, toy in zip(NAMES, pair, strict=True):
            model = self._with_loras(toy) if toy.learned else None
            cast = run_node(CharacterNode, name=name, subject=toy.words, model=model, cast=cast)
        written = [f"[id] [hidden] {{{name}}}, {doing}" for name in NAMES for doing in IDENTITIES]
        lines = [*(written if way == WAYS[2] else ()), f"{{{NAMES[0]}}} and {{{NAMES[1]}}} {place}"]
        return self._drawn(self.studio.model, lines, seed, width, height, cast, way == WAYS[2])

    def _with_loras(self, *toys: Toy) -> ModelPatcher:
        """Mini with the LoRAs of those that have one."""
        model = self.studio.model
        for toy in toys:
            if toy.learned:
                file = self.lora(toy.learned.name, toy.learned.photos, replace(TRAINING, seed=0))
                model = self.studio.with_lora(load_file(file), model=model)
        return model

    def _drawn(
        self,
        model: ModelPatcher,
        lines: Sequence[str],
        seed: int,
        width: int = SIZE,
        height: int = SIZE,
        cast: Any = None,
        banks: bool = False,
    ) -> torch.Tensor:
        """The lines that are not hidden, all from one noise: Story Panel Sampler's seed mode same."""
        storyboard = run_node(
            Storyboard, clip=self.studio.clip, script="\n".join(lines), subject="", cast=cast, **STORYBOARD
        )
        sampling = {**SAMPLING, "width": width, "height": height, "seed": seed}
        if banks:
            bank = run_node(IdentityBankWriter, model=model, storyboard=storyboard, **sampling, **BANK.of_writer())
            model = run_node(ConsistentAttention, model=model, bank=bank, **BANK.of_reader())
        drawn = {"model": model, "storyboard": storyboard, "vae": self.studio.vae, "seed_mode": "same"}
        (images,) = run_node(PanelSampler, **drawn, **sampling, at_once=len(PLACES))
        return images


def halves(picture: torch.Tensor) -> torch.Tensor:
    """Two squares of a picture (1, height, width, 3) that is not wider than two of them: the lower ends of its left and
    its right half, as all toys stand below."""
    side = picture.shape[2] // 2
    return torch.cat([picture[:, -side:, :side], picture[:, -side:, -side:]])
