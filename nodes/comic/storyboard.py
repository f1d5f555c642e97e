"""A script in, encoded prompts out."""

from typing import Any

import comfy.model_management
from comfy.sd import CLIP
from comfy.sdxl_clip import SDXLClipModel
from comfy_api.latest import io

from ...comic.stories import NUPJUKI
from ...comic.storyboard import parse
from ...comic.styles import NEGATIVE, STYLES
from ...texts import check_text
from ..canvas import found_by
from ..checks import require_kind
from ..sockets import Conditioning, EncodedStoryboard, StoryboardSocket
from ..words import with_words


class Storyboard(io.ComfyNode):
    """Script to `EncodedStoryboard`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothStoryboard",
            display_name="Storyboard",
            category="StoryBooth",
            **found_by("comic", "story", "script", "consistent character"),
            description="Writes the story: one panel a line, with its picture, its caption and how it is drawn.",
            inputs=[
                io.Clip.Input(
                    "clip",
                    display_name="CLIP",
                    tooltip="The text encoders of the SDXL checkpoint that draws the story.",
                ),
                io.String.Input(
                    "script",
                    display_name="script",
                    multiline=True,
                    default=NUPJUKI,
                    tooltip="One panel a line: what it shows, then what is said, @name: words, then its caption after "
                    "' # '. {subject} stands for the character. Flags open a line: [id] for the identity images that "
                    "the others take the character from, [hidden], [plain], [NC] for no character, [seed=7].",
                ),
                io.String.Input(
                    "subject",
                    display_name="subject",
                    default="a blue sks plush",
                    tooltip="Who the story is about, in the words that the LoRA was trained with. It replaces "
                    "{subject} in the script.",
                ),
                io.Combo.Input(
                    "style",
                    display_name="style",
                    options=list(STYLES),
                    default="none",
                    tooltip="How the whole story is drawn. 'none' leaves the prompts as you wrote them; "
                    "'comic book' asks for graphic illustration in vibrant colours.",
                ),
                io.String.Input(
                    "negative",
                    display_name="negative prompt",
                    multiline=True,
                    default=NEGATIVE,
                    tooltip="What no panel should show. The default is for drawings: it keeps photographs away.",
                ),
            ],
            outputs=[
                StoryboardSocket.Output(
                    "storyboard",
                    display_name="storyboard",
                    tooltip="The panels in order, ready for Identity Bank Writer, Story Panel Sampler and Comic Page.",
                ),
            ],
        )

    @classmethod
    def execute(cls, clip: Any, script: str, subject: str, style: str, negative: str) -> io.NodeOutput:
        panels = parse(script, subject, style)
        try:
            check_text(negative)
        except ValueError as error:
            raise ValueError(f"negative: {error}") from None
        _require_sdxl(clip)
        sources = {negative: "negative"} | {panel.prompt: f"script, line {panel.line}" for panel in reversed(panels)}
        encoded = {prompt: _encode(clip, prompt, source) for prompt, source in sources.items()}
        knowing = {p: with_words(encoded[p], clip, p, subject) for p in {panel.prompt for panel in panels}}
        positive = tuple(knowing[panel.prompt] for panel in panels)
        return io.NodeOutput(EncodedStoryboard(panels, positive, encoded[negative], negative, subject))


def _encode(clip: Any, text: str, source: str) -> Conditioning:
    """The conditioning of `text`. ValueError, naming `source`, where CLIP cannot read it."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    try:
        conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    except RecursionError:
        raise ValueError(f"{source}: its parentheses are nested too deeply. Write weights as (word:1.2).") from None
    if not all(states.isfinite().all() for states, _ in conditioning):
        raise ValueError(
            f"{source}: the text encoders answered with numbers that are not finite. Take out weights that are none, "
            "such as (word:nan) or (word:1e38); if there are none, start ComfyUI with --fp32-text-enc."
        )
    return conditioning


def _require_sdxl(clip: Any) -> None:
    if clip is None:
        raise ValueError(
            "clip: the checkpoint has no text encoders. Load a full SDXL checkpoint, or SDXL's two text encoders with "
            "DualCLIPLoader (type sdxl)."
        )
    require_kind("clip", clip, CLIP, "Load Checkpoint")
    if not isinstance(clip.cond_stage_model, SDXLClipModel):
        raise ValueError(
            f"clip: got {type(clip.cond_stage_model).__name__}, expected SDXL's two text encoders. Wire in the CLIP of "
            "the SDXL checkpoint that draws the story, or of StoryBooth Mini Checkpoint."
        )
