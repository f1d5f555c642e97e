"""The socket types that StoryBooth adds to ComfyUI's own, and what travels through them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from comfy_api.latest import io

from ..comic.storyboard import Panel
from ..training.settings import Options

Conditioning = list[list[Any]]
"""ComfyUI's CONDITIONING: a list of [text states (1, tokens, 2048), {"pooled_output": (1, 1280), ...}]."""


@dataclass(frozen=True)
class EncodedStoryboard:
    """A storyboard whose prompts have been through CLIP: what a STORYBOARD socket carries.

    `positive[i]` belongs to `panels[i]`; `negative` is shared by all, `negative_text` is what it says. `subject` are
    the words that stand for the character.
    """

    panels: tuple[Panel, ...]
    positive: tuple[Conditioning, ...]
    negative: Conditioning
    negative_text: str | None = None
    subject: str = ""

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
IdentityBankSocket = io.Custom("IDENTITY_BANK")
PageLayoutSocket = io.Custom("PAGE_LAYOUT")
TrainingOptionsSocket = io.Custom("TRAINING_OPTIONS")
PageLayersSocket = io.Custom("PAGE_LAYERS")
"""A tuple of `comic.sheet.Sheet`, one for each page."""
