"""The script grammar: one panel a line.

    [id] [seed=7] {subject}, standing in a forest # Deep in the forest

`{subject}` becomes the subject, text after ` # ` is the caption, and flags in brackets open a line:

    [id]      an identity image, drawn into the bank; without any [id], the first two lines that show the subject
              and are neither [plain] nor [NC]
    [hidden]  not shown on the page
    [plain]   drawn without the bank
    [NC]      no character: the subject is left out of the prompt (StoryDiffusion's flag)
    [seed=7]  the panel's own seed

`@name: words` behind the prompt is speech (speech.py).

Full-width brackets, braces and # are read as these; what is almost this grammar is refused (near_misses.py).
"""

import re
import unicodedata
from dataclasses import dataclass, replace

from ..texts import check_text
from .near_misses import ascii_twins, plain_braces, refuse_misspelt_subject, refuse_near_misses, visible
from .speech import SOUND, Speech, refuse_late_speech, take_speech
from .styles import apply_style

SUBJECT = "{subject}"
FLAGS = ("id", "hidden", "plain", "nc")
ALLOWED = "[id], [hidden], [plain], [NC] and [seed=NUMBER]"
CONTRADICTIONS = {
    ("id", "plain"): "an identity image is drawn into the bank, a plain one without it",
    ("id", "nc"): "an identity image shows the character, which [NC] leaves out",
}
IDENTITY_LINES = 2
MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Panel:
    """One line of the script. `line` counts from 1, `prompt` has subject and style filled in."""

    line: int
    prompt: str
    caption: str = ""
    identity: bool = False
    hidden: bool = False
    plain: bool = False
    seed: int | None = None
    speech: tuple[Speech, ...] = ()


def parse(script: str, subject: str, style: str = "none") -> tuple[Panel, ...]:
    """Read a script, one panel for every line that is not blank.

    Args:
        script: lines of the grammar above. Flags may be in either case.
        subject: replaces `{subject}` in prompts and captions, such as "a blue sks plush".
        style: a name in `styles.STYLES`; its template is put around every prompt.

    Raises ValueError for a line that it does not understand, quoting it with its number, for a script without a line
    to draw, for a subject that `check_text` refuses, and for an unknown style.
    """
    try:
        check_text(subject)
    except ValueError as error:
        raise ValueError(f"subject: {error}") from None
    panels: list[Panel] = []
    candidates: list[int] = []
    for number, written in enumerate(script.splitlines(), start=1):
        line = visible(written).strip()
        if not line:
            continue
        try:
            panel, has_character = _panel(number, line, visible(subject).strip())
        except ValueError as error:
            raise ValueError(f'script, line {number}: "{_short(line, 100)}": {error}') from None
        if has_character and not panel.plain:
            candidates.append(len(panels))
        panels.append(replace(panel, prompt=apply_style(panel.prompt, style)))
    if not panels:
        raise ValueError(
            "script: it is empty. Write one panel a line, such as: {subject}, reading a newspaper # Morning"
        )
    if not any(panel.identity for panel in panels):
        for index in candidates[:IDENTITY_LINES]:
            panels[index] = replace(panels[index], identity=True)
    return tuple(panels)


def _panel(number: int, line: str, subject: str) -> tuple[Panel, bool]:
    """The panel of one line, style aside, and whether the character is in it."""
    check_text(line)
    flags, seed, text = _flags(line)
    text = f" {plain_braces(text, SUBJECT[1:-1])} "  # the blanks let a caption, or a prompt, be empty
    mark = re.search(r"\s#\s", ascii_twins(text))
    prompt, caption = (text[: mark.start()], text[mark.end() :]) if mark else (text, "")
    prompt, speech = take_speech(prompt, number)
    caption = caption.strip()
    refuse_late_speech(caption)
    refuse_near_misses(prompt, has_caption=mark is not None)
    said = " ".join(spoken.words for spoken in speech)
    refuse_misspelt_subject(f"{prompt} {caption} {said}", SUBJECT)
    if not prompt:
        raise ValueError("there is no prompt. Write what the panel shows, after the flags and before the caption.")
    if not subject and SUBJECT in prompt + caption + said:
        raise ValueError(f"it uses {SUBJECT}, but the input `subject` is empty. Say there who the story is about.")
    if "nc" in flags:
        _refuse_absent(speech)
        prompt = _without_subject(prompt)
        if not prompt:
            raise ValueError(f"[NC] leaves out {SUBJECT}, and nothing else is there to draw. Say what the panel shows.")
    has_character = SUBJECT in prompt or (subject != "" and subject.casefold() in prompt.casefold())
    prompt, caption = (text.replace(SUBJECT, subject) for text in (prompt, caption))
    check_text(prompt)
    check_text(caption)
    speech = tuple(replace(spoken, words=spoken.words.replace(SUBJECT, subject)) for spoken in speech)
    panel = Panel(
        line=number,
        prompt=prompt,
        caption=caption,
        identity="id" in flags,
        hidden="hidden" in flags,
        plain="plain" in flags,
        seed=seed,
        speech=speech,
    )
    return panel, has_character and "nc" not in flags


def _flags(line: str) -> tuple[set[str], int | None, str]:
    """Take the flags off the front of a line: their names in lower case, the seed if there is one, and what is left."""
    names: set[str] = set()
    seed = None
    while ascii_twins(line[:1]) == "[":
        end = ascii_twins(line).find("]")
        if end < 0:
            raise ValueError(f"a bracket is not closed. Flags are {ALLOWED}.")
        flag, line = unicodedata.normalize("NFKC", line[1:end]), line[end + 1 :].lstrip()
        name, has_value, value = (part.strip() for part in flag.lower().partition("="))
        if name == "seed":
            seed = _seed(value)
        elif name not in FLAGS or has_value:
            raise ValueError(f"[{_short(flag)}] is not a flag. Flags are {ALLOWED}.")
        if name in names:
            raise ValueError(f"[{flag}] repeats a flag of this line. Write each flag once.")
        names.add(name)
    for pair, reason in CONTRADICTIONS.items():
        if names.issuperset(pair):
            first, second = (name.upper() if name == "nc" else name for name in pair)
            raise ValueError(f"[{first}] and [{second}] exclude each other: {reason}. Keep one of them.")
    return names, seed, line


def _seed(value: str) -> int:
    if not re.fullmatch("[0-9]{1,20}", value) or int(value) > MAX_SEED:
        raise ValueError(f"a seed is a whole number from 0 to {MAX_SEED}, got '{_short(value)}'. Write it as [seed=7].")
    return int(value)


def _refuse_absent(speech: tuple[Speech, ...]) -> None:
    """Raise ValueError where someone speaks in a picture that has no character."""
    for spoken in speech:
        if spoken.manner != SOUND and spoken.side != "off":
            raise ValueError(
                f"@{spoken.speaker} speaks, but [NC] leaves every character out. Write @{spoken.speaker} (off): for a "
                "voice from outside the picture, or take out [NC]."
            )


def _without_subject(prompt: str) -> str:
    """Leave out `{subject}` and the punctuation that belonged to it."""
    if SUBJECT not in prompt:
        return prompt
    text = " ".join(prompt.replace(SUBJECT, " ").split())
    text = re.sub(r"\s+([,.;:!?])", r"\1", text)
    text = re.sub(r"([,;:])[,;:]+", r"\1", text)
    return text.lstrip(",.;:!? ").rstrip(",;: ")


def _short(text: str, limit: int = 40) -> str:
    """The start of a text, as much as a message may quote, in characters that every log can show."""
    text = text[: limit + 1].encode(errors="replace").decode()
    return text if len(text) <= limit else text[:limit] + "…"
