"""Fonts for captions: which characters they have, and where the lines of a caption break."""

import os
import re
import unicodedata
from functools import lru_cache

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

ABSENT = "\uffff"
"""A code point that Unicode keeps free of characters: every font draws its "missing" box for it."""

# Chinese and Japanese may break after any character, though punctuation stays with the character it belongs to.
# Korean, like English, breaks between words.
_IDEOGRAPH = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNIT = re.compile(rf"[（「『【《〈“‘]*[{_IDEOGRAPH}][、。，．！？：；）」』】》〉”’…ー]*|[^\s{_IDEOGRAPH}]+")
_LETTER = re.compile("(?s:.)[\u0300-\u036f\u200d\ufe00-\ufe0f]*")


@lru_cache(maxsize=16)
def load_font(font: str, size: int) -> FreeTypeFont:
    """Load a font.

    Args:
        font: "" for the font that comes with Pillow, the path of a font file, or the file name of a font that is
            installed on this computer.
        size: size in pixels.

    Raises FileNotFoundError where there is no such font, ValueError for a file that is none.
    """
    if not font:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(font, size)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        if os.path.isfile(font):  # noqa: PTH113, Path.is_file raises for such a name
            raise ValueError(f"font: '{font}' cannot be read as a font (.ttf, .otf or .ttc).") from None
        raise FileNotFoundError(f"font: no font file {font[:100]!r} was found.") from None


def missing_character(caption: str, font: FreeTypeFont) -> str | None:
    """The first character of a caption that the font cannot draw."""
    absent = _picture(ABSENT, font)
    for character in caption:
        # Spaces, joiners, direction signs and variation selectors have no picture of their own.
        if unicodedata.category(character)[0] in "ZC" or "\ufe00" <= character <= "\ufe0f":
            continue
        if _picture(character, font) == absent:
            return character
    return None


def wrap(caption: str, font: FreeTypeFont, width: int) -> list[str]:
    """Break a caption into lines of at most `width` pixels: between words, and inside a word that is wider.

    Raises ValueError where a single character is wider.
    """
    lines: list[str] = []
    line = ""
    for match in _UNIT.finditer(caption):
        gap = " " if caption[: match.start()][-1:].isspace() else ""
        longer = line + gap + match.group() if line else match.group()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(match.group(), font, width)
        lines.extend(full)
    return [*lines, line] if line else lines


def _pieces(word: str, font: FreeTypeFont, width: int) -> list[str]:
    """Cut a word into pieces of at most `width` pixels; accents and the like stay with their letter."""
    pieces = [""]
    for letter in _LETTER.findall(word):
        if font.getlength(letter) > width:
            raise ValueError(
                f"caption_size: at {font.size:g} pixels the character '{letter}' is wider than a panel. "
                "Choose a smaller size, or 0 for one that fits."
            )
        if font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _picture(character: str, font: FreeTypeFont) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
