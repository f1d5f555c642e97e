"""The script grammar: one panel a line.

    [id] [seed=7] {subject}, standing in a forest # Deep in the forest

`{subject}` becomes the subject, text after ` # ` is the caption, and flags in brackets open a line:

    [id]      an identity image, drawn into the bank; without any [id], the first two lines that show the subject
              and are neither [plain] nor [NC]
    [hidden]  not shown on the page
    [plain]   drawn without the bank
    [NC]      no character: the subject is left out of the prompt (StoryDiffusion's flag)
    [seed=7]  the panel's own seed

`@name: words` behind the prompt is speech (speech.py). With a cast, `{name}` is one of its characters, and flags say
where each of several is (cast.py, regions.py).

Full-width brackets, braces and # are read as these; what is almost this grammar is refused (near_misses.py).
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from ..texts import check_text
from .cast import (
    Part,
    Role,
    by_name,
    check_cast,
    in_words,
    named,
    prompts,
    refuse_late_places,
    tidy,
    with_plain_names,
    without,
)
from .flags import Flags, short, take_flags
from .near_misses import (
    ascii_twins,
    plain_braces,
    refuse_misspelt_speaker,
    refuse_misspelt_subject,
    refuse_near_misses,
    visible,
)
from .regions import boxes, side_of
from .speech import SOUND, Speech, refuse_late_speech, speakers_in, take_speech
from .styles import apply_style

SUBJECT = "{subject}"
IDENTITY_LINES = 2


@dataclass(frozen=True)
class Panel:
    """One line of the script. `line` counts from 1, `prompt` has subject and style filled in.

    `characters` are those of the cast that it shows, by name and in its order. A picture that is drawn in `parts` has
    one for each of them; `prompt` is then what is seen in all of it.
    """

    line: int
    prompt: str
    caption: str = ""
    identity: bool = False
    hidden: bool = False
    plain: bool = False
    seed: int | None = None
    speech: tuple[Speech, ...] = ()
    characters: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


def parse(script: str, subject: str, style: str = "none", cast: Sequence[Role] = ()) -> tuple[Panel, ...]:
    """Read a script, one panel for every line that is not blank.

    Args:
        script: lines of the grammar above. Flags may be in either case.
        subject: replaces `{subject}` in prompts and captions, such as "a blue sks plush".
        style: a name in `styles.STYLES`; its template is put around every prompt.
        cast: the characters that a line may name; `{subject}` is then the first of them, whatever `subject` says.

    Raises ValueError for a line that it does not understand, quoting it with its number, for a script without a line
    to draw, for a subject that `check_text` refuses, and for an unknown style.
    """
    try:
        check_text(subject)
    except ValueError as error:
        raise ValueError(f"subject: {error}") from None
    check_cast(cast)
    speakers = {SOUND, *speakers_in(visible(script)), *(role.name.casefold() for role in cast)}
    panels: list[Panel] = []
    candidates: list[int] = []
    for number, written in enumerate(script.splitlines(), start=1):
        line = visible(written).strip()
        if not line:
            continue
        try:
            panel, has_character = _panel(number, line, visible(subject).strip(), cast, speakers)
        except ValueError as error:
            raise ValueError(f'script, line {number}: "{short(line, 100)}": {error}') from None
        if has_character and not panel.plain:
            candidates.append(len(panels))
        parts = tuple(replace(part, prompt=apply_style(part.prompt, style)) for part in panel.parts)
        panels.append(replace(panel, prompt=apply_style(panel.prompt, style), parts=parts))
    if not panels:
        raise ValueError(
            "script: it is empty. Write one panel a line, such as: {subject}, reading a newspaper # Morning"
        )
    for characters in {panels[index].characters for index in candidates}:  # of a cast each has its own
        if not any(panel.identity for panel in panels if panel.characters == characters):
            own = [index for index in candidates if panels[index].characters == characters]
            for index in own[:IDENTITY_LINES]:
                panels[index] = replace(panels[index], identity=True)
    return tuple(panels)


def _panel(number: int, line: str, subject: str, cast: Sequence[Role], speakers: Set[str]) -> tuple[Panel, bool]:
    """The panel of one line, style aside, and whether it may be an identity image.

    `speakers`: names, in small letters, of all who speak in the script, or could.
    """
    check_text(line)
    flags, text = take_flags(line, [role.name for role in cast])
    text = with_plain_names(text, cast) if cast else plain_braces(text, SUBJECT[1:-1])
    text = f" {text} "  # the blanks let a caption, or a prompt, be empty
    mark = re.search(r"\s#\s", ascii_twins(text))
    prompt, caption = (text[: mark.start()], text[mark.end() :]) if mark else (text, "")
    prompt, speech = take_speech(prompt, number, speakers)
    caption = caption.strip()
    refuse_late_speech(caption)
    refuse_near_misses(prompt, has_caption=mark is not None)
    said = " ".join(spoken.words for spoken in speech)
    if cast:
        refuse_late_places(prompt, cast)
        for spoken in speech:
            refuse_misspelt_speaker(spoken.speaker, [role.name for role in cast])
    else:
        refuse_misspelt_subject(f"{prompt} {caption} {said}", SUBJECT)
    if not prompt:
        raise ValueError("there is no prompt. Write what the panel shows, after the flags and before the caption.")
    if not subject and not cast and SUBJECT in prompt + caption + said:
        raise ValueError(f"it uses {SUBJECT}, but the input `subject` is empty. Say there who the story is about.")
    characters, parts, may_identify = (), (), False
    if "nc" in flags.names:
        _refuse_absent(speech)
        prompt = _without_characters(prompt, cast)
        if not prompt:
            raise ValueError(f"[NC] leaves out {SUBJECT}, and nothing else is there to draw. Say what the panel shows.")
    elif not cast:
        may_identify = SUBJECT in prompt or (subject != "" and subject.casefold() in prompt.casefold())
    if cast:
        prompt, characters, parts = _shown(prompt, flags, cast)
        may_identify = len(characters) == 1 and not parts
        if "id" in flags.names and not may_identify:
            raise ValueError(
                f"[id] makes an identity image, which shows one character, all over the picture; this line has "
                f"{len(characters)}{' in a place' if len(characters) == 1 else ''}. Name one of "
                f"{', '.join(role.name for role in cast)} there, without a place."
            )
    sides = {part.name.casefold(): side_of(part.box) for part in parts}

    def told(text: str) -> str:
        return by_name(text, cast) if cast else text.replace(SUBJECT, subject)

    prompt, caption = prompt if cast else prompt.replace(SUBJECT, subject), told(caption)
    for checked in (prompt, caption, *(part.prompt for part in parts)):
        check_text(checked)
    panel = Panel(
        line=number,
        prompt=prompt,
        caption=caption,
        identity="id" in flags.names,
        hidden="hidden" in flags.names,
        plain="plain" in flags.names,
        seed=flags.seed,
        speech=tuple(
            replace(
                spoken,
                words=told(spoken.words),
                side=(side := spoken.side or sides.get(spoken.speaker.casefold(), "")) or "middle",
                is_placed=side != "",
            )
            for spoken in speech
        ),
        characters=characters,
        parts=parts,
    )
    return panel, may_identify


def _shown(prompt: str, flags: Flags, cast: Sequence[Role]) -> tuple[str, tuple[str, ...], tuple[Part, ...]]:
    """The prompt of a line in words, who of the cast it shows, and their parts, where it is drawn in parts."""
    names = named(prompt, cast)
    placed = boxes(names, flags.placed) if len(names) > 1 or flags.placed else []
    if not placed:
        return in_words(prompt, cast), tuple(names), ()
    scene, own = prompts(prompt, cast, names)
    parts = (Part(name, prompt, box) for name, prompt, box in zip(names, own, placed, strict=True))
    return scene, tuple(names), tuple(parts)


def _without_characters(prompt: str, cast: Sequence[Role]) -> str:
    """Leave out whoever is named, and the punctuation that belonged to it."""
    if names := named(prompt, cast):
        return without(prompt, names)
    return tidy(prompt.replace(SUBJECT, " ")) if SUBJECT in prompt else prompt


def _refuse_absent(speech: tuple[Speech, ...]) -> None:
    """Raise ValueError where someone speaks in a picture that has no character."""
    for spoken in speech:
        if spoken.manner != SOUND and spoken.side != "off":
            raise ValueError(
                f"@{spoken.speaker} speaks, but [NC] leaves every character out. Write @{spoken.speaker} (off): for a "
                "voice from outside the picture, or take out [NC]."
            )
