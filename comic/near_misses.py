"""What is almost the script's grammar: what a keyboard or an editor slips in is read as meant, near misses are refused.

A near miss that was taken for the prompt would be drawn, and nobody would know why.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches

_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff"
    "\uffa0\ufff9-\ufffb]"
)
"""Characters that show nothing: byte order marks, soft hyphens, zero-width blanks, signs of direction, controls."""

_JOINERS = re.compile(r"(?<![^\s\[\]#{}])[\u200c\u200d]+|[\u200c\u200d]+(?![^\s\[\]#{}])")
"""Joiners that join no two letters. Between letters, Persian, Hindi and emoji need them."""

_TWINS = str.maketrans("［］｛｝＃＝", "[]{}#=")
"""What Chinese, Japanese and Korean keyboards type for the signs of the grammar."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_OTHER_BRACKETS = re.compile(r"[\[({<（]\s*subject\s*[\])}>）]|\{\s*subject\b|\bsubject\s*\}", re.IGNORECASE)
_FLAG = r"(?:id|hidden|plain|nc|seed\s*=\s*\w*)"
_LATE_FLAG = re.compile(rf"\[\s*{_FLAG}\s*\]", re.IGNORECASE)
_OTHER_FLAG = re.compile(rf"[({{<（【〔「『《〈]\s*({_FLAG})\s*[)}}>）】〕」』》〉\]]|({_FLAG})\s*\]", re.IGNORECASE)
_COLOUR = r"(?!(?=[0-9a-f]*\d|f+\b)(?:[0-9a-f]{6}|[0-9a-f]{3})\b)"
_HASH = re.compile(rf"(?i:(?:^|\s)#{_COLOUR}[^\W\d_]|(?:[^\W\d_]{{2,}}|[^\x00-\x7f])#+\s*[^\W\d_]|(?:^|\s)##+)")
_TYPED_LINE_END = re.compile(r"\\n(?![a-z])")


def visible(text: str) -> str:
    """`text` without characters that show nothing. Line ends and tabs stay, joiners between letters do too."""
    return _JOINERS.sub("", _UNSEEN.sub("", text))


def ascii_twins(text: str) -> str:
    """`text`, as long as before, with full-width brackets, braces, # and = as their ASCII twins."""
    return text.translate(_TWINS)


def plain_braces(text: str, word: str) -> str:
    """`text` with every full-width writing of `{word}` as the ASCII one."""

    def twin(match: re.Match[str]) -> str:
        inside = unicodedata.normalize("NFKC", match[0][1:-1])
        return f"{{{word}}}" if inside == word else match[0]

    return re.sub(r"[{｛][^{}｛｝]*[}｝]", twin, text)


def refuse_near_misses(prompt: str, has_caption: bool) -> None:
    """Raise ValueError for a prompt, flags and caption taken off, that holds what was probably meant as grammar."""
    twin = ascii_twins(prompt)
    if _TYPED_LINE_END.search(twin):
        raise ValueError('"\\n" stands in it as two characters. Send real line ends, one panel a line.')
    if found := _OTHER_FLAG.match(twin):
        flag = next(filter(None, found.groups()))
        raise ValueError(f'"{found[0]}" looks like a flag. Flags stand in square brackets: [{flag}].')
    if found := _LATE_FLAG.search(twin):
        raise ValueError(f"{found[0]} is a flag, and flags come first. Put it at the start of the line.")
    if not has_caption and (found := _HASH.search(twin)):
        raise ValueError(
            f'"{prompt[found.start() : found.end() + 12].strip()}" looks like a caption. Captions come after " # ", '
            'with a blank on both sides; if it belongs to the prompt, end the line with " #".'
        )


def refuse_misspelt_subject(text: str, subject: str) -> None:
    """Raise ValueError for a text with something that was probably meant as `subject`, such as `{Subject}`."""
    rest = text.replace(subject, " ")
    twin = ascii_twins(rest)
    found = _OTHER_BRACKETS.search(_BRACES.sub(" ", twin))
    if found is None:
        for inside in _BRACES.finditer(twin):
            word = unicodedata.normalize("NFKC", inside[1]).strip().casefold()
            if get_close_matches(word, [subject[1:-1]], 1, 0.8):
                found = inside
                break
    if found is not None:
        raise ValueError(f'"{found[0]}" looks like {subject}. Write {subject}, in small letters and these braces.')


def refuse_misspelt_speaker(speaker: str, names: Sequence[str]) -> None:
    """Raise ValueError for a speaker whose name is almost that of a character: its bubble would point at nobody."""
    known = {name.casefold(): name for name in names}
    if speaker.casefold() not in known and (near := get_close_matches(speaker.casefold(), known, 1, 0.8)):
        name = known[near[0]]
        raise ValueError(f"@{speaker} looks like {name} of the cast. Write @{name}, or a name that is less alike.")
