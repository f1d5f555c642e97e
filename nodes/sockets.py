"""The socket types that StoryBooth adds to ComfyUI's own, and what travels through them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..comic.cast import Role
from ..comic.storyboard import Panel
from ..consistency.bank import IdentityBank
from ..consistency.subject import WordsRow
from ..training.settings import Options
from ..training.tlora_kind import Kind

Conditioning = list[list[Any]]
"""ComfyUI's CONDITIONING: a list of [text states (1, tokens, 2048), {"pooled_output": (1, 1280), ...}]."""


@dataclass(frozen=True)
class LoraFile:
    """A LoRA's tensors as its file has them, at a strength; `kind` is a T-LoRA's."""

    name: str
    tensors: Mapping[str, torch.Tensor]
    strength: float
    kind: Kind | None = None


@dataclass(frozen=True)
class Character:
    """One character of a CAST socket's tuple.

    What draws it is the story's model with the LoRAs that `model` carries, or with `lora`, if it has one of them.
    `bank` was written before; without it the character's [id] lines are.
    """

    name: str
    subject: str
    model: ModelPatcher | None = None
    lora: LoraFile | None = None
    bank: IdentityBank | None = None

    @property
    def role(self) -> Role:
        """What the script knows of it."""
        return Role(self.name, self.subject)


@dataclass(frozen=True)
class CastBank:
    """The banks of a cast by the names of its characters, on an IDENTITY_BANK socket."""

    banks: Mapping[str, IdentityBank]


@dataclass(frozen=True)
class EncodedStoryboard:
    """A storyboard whose prompts have been through CLIP: what a STORYBOARD socket carries.

    `positive[i]` belongs to `panels[i]`, and `parts[i]` to the parts of its picture; `negative` is shared by all,
    `negative_text` is what it says. `subject` are the words that stand for the character, if it has no `cast`.
    `speakers[i]` are the words that draw those who speak in `panels[i]`, by their names in small letters, where they
    may be anywhere in its picture.
    """

    panels: tuple[Panel, ...]
    positive: tuple[Conditioning, ...]
    negative: Conditioning
    negative_text: str | None = None
    subject: str = ""
    cast: tuple[Character, ...] = ()
    parts: tuple[tuple[Conditioning, ...], ...] = ()
    speakers: tuple[Mapping[str, WordsRow], ...] = ()

    def of(self, character: Character) -> "EncodedStoryboard":
        """The story as it is told of one character of the cast: only its own [id] lines are identity images."""
        alone = (character.name,)
        panels = tuple(panel if panel.characters == alone else replace(panel, identity=False) for panel in self.panels)
        return replace(self, panels=panels, subject=character.subject, cast=(), parts=())

    def prompts(self, index: int) -> tuple[Conditioning, ...]:
        """What line `index` is drawn from: its prompt, and those of its parts."""
        return (self.positive[index], *(self.parts[index] if self.parts else ()))

    @property
    def shown(self) -> list[int]:
        """The places of the lines that the page shows."""
        return [index for index, panel in enumerate(self.panels) if not panel.hidden]

    @property
    def identities(self) -> list[int]:
        """The places of the [id] lines, whose pictures are the identity images."""
        return [index for index, panel in enumerate(self.panels) if panel.identity]


@dataclass(frozen=True)
class TrainingOptions:
    """What LoRA Training Options gives the trainer: the TRAINING_OPTIONS socket.

    `class_images` are IMAGE batches; `continue_from` is the path of a LoRA, or None.
    """

    options: Options = field(default_factory=Options)
    class_images: tuple[torch.Tensor, ...] = ()
    class_prompt: str = ""
    continue_from: str | None = None


StoryboardSocket = io.Custom("STORYBOARD")
CastSocket = io.Custom("CAST")
IdentityBankSocket = io.Custom("IDENTITY_BANK")
PageLayoutSocket = io.Custom("PAGE_LAYOUT")
TrainingOptionsSocket = io.Custom("TRAINING_OPTIONS")
PageLayersSocket = io.Custom("PAGE_LAYERS")
"""A tuple of `comic.sheet.Sheet`, one for each page."""
