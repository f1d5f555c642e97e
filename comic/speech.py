"""What is said in a line of the script, as in a play:

    {subject}, in a forest @nupjuki: Where am I? @nupjuki (thinks, left): Dark here. @sound: CRASH # Deep in the forest

A speaker's name follows an @, words follow a colon. In brackets stands how it is said, and where its speaker is, if
that is not the middle. `@sound` is a noise. A voice that is `off` comes from outside the picture. Speech stands behind
the prompt and before the caption.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

MANNERS = {
    "says": "speech",
    "thinks": "thought",
    "shouts": "shout",
    "whispers": "whisper",
    "speech": "speech",
    "thought": "thought",
    "shout": "shout",
    "whisper": "whisper",
}
SIDES = ("left", "middle", "right", "off")
SOUND = "sound"
MOST_WORDS = 400
"""Letters of one bubble."""
MOST_SPEECHES = 8
"""Of one line."""

_NAME = r"[^\W\d_][\w'’-]{0,39}"
_SPEECH = re.compile(rf"(?<!\S)[@＠]({_NAME})\s*(?:[(（]([^()（）]{{0,60}})[)）])?\s*[:：]")
_AT = re.compile(rf"(?<!\S)[@＠]({_NAME})")
_ALMOST = re.compile(rf"(?<!\S)[@＠]\s+{_NAME}\s*[:：]|(?<!\S)[@＠]{_NAME}\s*[(（][^()（）]{{0,60}}[)）](?!\s*[:：])")


@dataclass(frozen=True)
class Speech:
    """One bubble: who says what, how (`speech`, `thought`, `shout`, `whisper` or `sound`), and where that one is.

    `is_placed`: the line says so itself, or gives the speaker a part of the picture.
    """

    speaker: str
    words: str
    manner: str = "speech"
    side: str = "middle"
    line: int = 0
    is_placed: bool = False


def speakers_in(script: str) -> set[str]:
    """The names, in small letters, of all who say something in a script."""
    return {match[1].casefold() for line in script.splitlines() for match in _SPEECH.finditer(line)}


def take_speech(text: str, line: int, known: Collection[str] = ()) -> tuple[str, tuple[Speech, ...]]:
    """A prompt without what is said in it, and that, its side empty where the line does not say.

    ValueError for speech without words, or said in an unknown way, and for an @name without a colon where that begins
    the prompt or is `known`, in small letters, as a speaker's; others, as in "photo by @artist", belong to the prompt.
    """
    found = list(_SPEECH.finditer(text))
    if almost := _ALMOST.search(text):
        raise ValueError(
            f'"{almost[0]}" looks like speech. Write it as in a play: @name: words, or @name (shouts): words.'
        )
    if len(found) > MOST_SPEECHES:
        raise ValueError(f"{len(found)} bubbles are more than a panel holds. Write up to {MOST_SPEECHES} to a line.")
    spoken = []
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(text)
        words = " ".join(text[match.end() : end].split())
        if not words:
            raise ValueError(f'"{match[0]}" says nothing. Write the words after the colon, or take it out.')
        if len(words) > MOST_WORDS:
            raise ValueError(f'"{match[0]}" has {len(words)} letters, expected up to {MOST_WORDS}. Share them out.')
        manner, side = _how(match[0], match[2] or "")
        if match[1].casefold() == SOUND:
            manner = SOUND
        spoken.append(Speech(match[1], words, manner, side, line))
    prompt = (text[: found[0].start()] if found else text).strip()
    for match in _AT.finditer(prompt):
        if match.start() == 0 or match[1].casefold() in known:
            raise ValueError(
                f'"{match[0]}" looks like speech, but no colon follows. Write {match[0]}: words. In a prompt, write '
                f"{match[1]} without the @."
            )
    return prompt, tuple(spoken)


def refuse_late_speech(caption: str) -> None:
    """Raise ValueError where speech stands in a caption."""
    if found := _SPEECH.search(caption):
        raise ValueError(f'"{found[0]}" stands in the caption. Speech comes before it: prompt @name: words # caption')


def _how(quoted: str, told: str) -> tuple[str, str]:
    """Manner and side of what stands in the brackets; no side where they do not say."""
    manner, side = "speech", ""
    for word in filter(None, re.split(r"[\s,，、]+", told.casefold())):
        if word in MANNERS:
            manner = MANNERS[word]
        elif word in SIDES:
            side = word
        else:
            raise ValueError(
                f'"{quoted}": "{word}" says neither how nor where. In brackets stand thinks, shouts or whispers, and '
                "left, right or off."
            )
    return manner, side
