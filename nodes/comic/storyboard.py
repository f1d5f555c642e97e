"""A script in, encoded prompts out."""

from dataclasses import replace
from typing import Any

import comfy.model_management
from comfy.sd import CLIP
from comfy.sdxl_clip import SDXLClipModel
from comfy_api.latest import io

from ...comic.cast import Role
from ...comic.speech import SOUND
from ...comic.stories import NUPJUKI
from ...comic.storyboard import Panel, parse
from ...comic.styles import NEGATIVE, STYLES
from ...consistency.subject import WordsRow
from ...texts import check_text
from ..canvas import found_by
from ..checks import require_cast, require_kind
from ..graph import chain_of
from ..sockets import CastSocket, Character, Conditioning, EncodedStoryboard, StoryboardSocket
from ..words import require_fitting_embeddings, row_of_words, with_words


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
                CastSocket.Input(
                    "cast",
                    display_name="cast",
                    optional=True,
                    lazy=True,  # the script is read before anybody is trained for it
                    tooltip="From Character, for a story of several: lines then name them, {nupjuki} and {bob} in a "
                    "cafe, and {subject} is the first of them, whatever subject says.",
                ),
            ],
            outputs=[
                StoryboardSocket.Output(
                    "storyboard",
                    display_name="storyboard",
                    tooltip="The panels in order, ready for Identity Bank Writer, Story Panel Sampler and Comic Page.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def check_lazy_status(cls, script: str, subject: str, style: str, **others: Any) -> list[str]:
        """Read the script with the names in the graph first: no hours of training for one that has a mistake."""
        if "cast" not in others or others["cast"] is not None:
            return []
        characters = chain_of(cls.hidden, "cast", "StoryBoothCharacter", ("name", "subject"))
        if characters is not None:
            parse(script, subject, style, [Role(c["name"].strip(), c["subject"].strip()) for c in characters])
        return ["cast"]

    @classmethod
    def execute(
        cls, clip: Any, script: str, subject: str, style: str, negative: str, cast: tuple[Character, ...] | None = None
    ) -> io.NodeOutput:
        cast = require_cast(cast)
        panels = parse(script, subject, style, [character.role for character in cast])
        try:
            check_text(negative)
        except ValueError as error:
            raise ValueError(f"negative: {error}") from None
        _require_sdxl(clip)
        panels = _without_brought(panels, cast)
        reading = _Reading(clip, {character.name: character.subject for character in cast}, subject)
        encoded = _encode(clip, negative, "negative")
        positive = tuple(reading.of(panel.prompt, panel, () if panel.parts else panel.characters) for panel in panels)
        parts = tuple(tuple(reading.of(part.prompt, panel, (part.name,)) for part in panel.parts) for panel in panels)
        speakers = tuple(map(reading.speakers, panels))
        return io.NodeOutput(EncodedStoryboard(panels, positive, encoded, negative, subject, cast, parts, speakers))


class _Reading:
    """Prompts through CLIP, each once, knowing where the words of those are whom they show."""

    def __init__(self, clip: Any, subjects: dict[str, str], subject: str) -> None:
        """`subjects` are a cast's, by name; without one all prompts are of `subject`."""
        self._clip = clip
        self._subjects = subjects
        self._subject = subject
        self._encoded: dict[str, Conditioning] = {}
        self._knowing: dict[tuple[str, str], Conditioning] = {}

    def of(self, prompt: str, panel: Panel, characters: tuple[str, ...]) -> Conditioning:
        """The conditioning of a prompt of `panel` that shows these of the cast."""
        if prompt not in self._encoded:
            self._encoded[prompt] = _encode(self._clip, prompt, f"script, line {panel.line}")
        subject = self._subject_of(characters)
        if (prompt, subject) not in self._knowing:  # equal prompts stay one conditioning: panels of it share a batch
            self._knowing[prompt, subject] = with_words(self._encoded[prompt], self._clip, prompt, subject)
        return self._knowing[prompt, subject]

    def speakers(self, panel: Panel) -> dict[str, WordsRow]:
        """What draws those who speak in a panel whose line does not say where they are, by their names.

        That is a cast's subject, or the name, where the prompt has it; who goes by a word of the panel's character, or
        is the only one whose name the prompt has not, is the character.
        """
        there = [speech for speech in panel.speech if speech.manner != SOUND and speech.side != "off"]
        names = {speech.speaker.casefold(): speech.speaker for speech in there if not speech.is_placed}
        if panel.parts or not names:
            return {}
        subjects = {name.casefold(): subject for name, subject in self._subjects.items()}
        shown = self._row(panel, self._subject_of(panel.characters))
        rows = {name: self._row(panel, subjects.get(name, speaker)) for name, speaker in names.items()}
        unnamed = [name for name, (_, places) in rows.items() if not places]
        for name, (_, places) in rows.items():
            if unnamed == [name] or (places and {*places} <= {*shown[1]}):
                rows[name] = shown
        return {name: row for name, row in rows.items() if row[1]}

    def _subject_of(self, characters: tuple[str, ...]) -> str:
        return self._subject if not self._subjects else "".join(map(self._subjects.get, characters[:1]))

    def _row(self, panel: Panel, words: str) -> WordsRow:
        return row_of_words(self._encoded[panel.prompt], self._clip, panel.prompt, words)


def _without_brought(panels: tuple[Panel, ...], cast: tuple[Character, ...]) -> tuple[Panel, ...]:
    """The panels, with no identity images to draw of characters that bring a bank."""
    brought = {(character.name,) for character in cast if character.bank is not None}
    return tuple(replace(panel, identity=False) if panel.characters in brought else panel for panel in panels)


def _encode(clip: Any, text: str, source: str) -> Conditioning:
    """The conditioning of `text`. ValueError, naming `source`, where CLIP cannot read it."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    try:
        tokens = clip.tokenize(text)
        require_fitting_embeddings(source, clip, tokens)
        conditioning = clip.encode_from_tokens_scheduled(tokens)
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
