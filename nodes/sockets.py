"""The socket types that StoryBooth adds to ComfyUI's own, and what travels through them."""

from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ..comic.storyboard import Panel

Conditioning = list[list[Any]]
"""ComfyUI's CONDITIONING: a list of [text states (1, tokens, 2048), {"pooled_output": (1, 1280), ...}]."""


@dataclass(frozen=True)
class EncodedStoryboard:
    """A storyboard whose prompts have been through CLIP: what a STORYBOARD socket carries.

    `positive[i]` belongs to `panels[i]`; `negative` is shared by all.
    """

    panels: tuple[Panel, ...]
    positive: tuple[Conditioning, ...]
    negative: Conditioning


StoryboardSocket = io.Custom("STORYBOARD")
IdentityBankSocket = io.Custom("IDENTITY_BANK")
