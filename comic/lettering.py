"""Fonts for captions: which characters they have, and where the lines of a caption break."""

import os
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont, Layout

from ..files import file_state
from .font_files import installed_files
from .near_misses import visible

ABSENT = "\uffff"
"""A code point that Unicode keeps free of characters: every font draws its "missing" box for it."""

FULLER = Path(__file__).parents[1] / "assets" / "fonts" / "NotoSans-Regular.ttf"
"""Dashes, accents, Greek and Cyrillic, which the font that comes with Pillow lacks."""

_SUGGESTED = 2
"""Fonts that a message names, at most."""

_SHAPING = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Joiners and variation selectors. Where a font's letters are not shaped, they would be drawn as boxes."""

# Chinese and Japanese may break after any character, though punctuation stays with the character it belongs to.
# Korean, like English, breaks between words.
_IDEOGRAPH = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNIT = re.compile(rf"[（「『【《〈“‘]*[{_IDEOGRAPH}][、。，．！？：；）」』】》〉”’…ー]*|[^\s{_IDEOGRAPH}]+")
_IDEOGRAPHS = re.compile(f"[{_IDEOGRAPH}]")
_LETTER = re.compile("(?s:.)[\u0300-\u036f\u200d\ufe00-\ufe0f]*")


def load_font(font: str, size: int) -> FreeTypeFont:
    """Load a font.

    Args:
        font: "" for the font that comes with Pillow, for English only; the path of a font file; or the file name of a
            font that is installed on this computer.
        size: size in pixels.

    Raises FileNotFoundError where there is no such font, ValueError for a file that is none.
    """
    file = font_file(font)
    if not file:
        return _built_in(size)
    try:
        return _opened(file, size, file_state(Path(file)))
    except (OSError, ValueError) as error:
        if "invalid pixel size" in str(error):  # FreeType's word for letters that are pictures of one size
            raise ValueError(
                f"font: '{font}' is a font of coloured pictures, such as emoji, all of one size. Text needs one whose "
                "letters are outlines, and some of these have emoji, in black and white: DejaVuSans.ttf."
            ) from None
        raise ValueError(f"font: '{font}' cannot be read as a font (.ttf, .otf or .ttc).") from None


def font_file(font: str) -> str:
    """The path of the file that `load_font` opens; "" for the font that comes with Pillow.

    Raises FileNotFoundError where there is no such file.
    """
    if not font or os.path.isfile(font):  # noqa: PTH113, Path.is_file raises for a name that no file can have
        return font
    try:
        return _installed(font)
    except (OSError, ValueError):  # ValueError: for such a name
        raise FileNotFoundError(f"font: no font file {font[:100]!r} was found.") from None


@lru_cache(maxsize=16)
def _installed(name: str) -> str:
    """Where a font of this computer lies. All folders of fonts are walked through for it: once is enough."""
    return str(ImageFont.truetype(name).path)


@lru_cache(maxsize=1)
def _built_in(size: int) -> FreeTypeFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=16)
def _opened(file: str, size: int, _state: tuple[int, ...]) -> FreeTypeFont:
    """The font as the file is now: FreeType reads an open file bit by bit, and breaks where somebody writes over it."""
    font = ImageFont.truetype(BytesIO(Path(file).read_bytes()), size)
    font.path = file
    return font


def font_for(captions: Iterable[str], font: str, size: int) -> FreeTypeFont:
    """The font for all captions of a page: `load_font`, or a fuller one of ours where Pillow's lacks one of them.

    Raises ValueError, naming `font`, where it lacks a character, or where nothing here can write from right to left;
    and what `load_font` raises.
    """
    loaded = load_font(font, size)
    texts = [(caption, written(caption, loaded)) for caption in captions]
    if not font and any(missing_character(text, loaded) for _, text in texts):
        loaded = load_font(str(FULLER), size)
    for caption, _ in texts:
        require_drawable(caption, loaded, font)
    return loaded


def require_drawable(caption: str, font: FreeTypeFont, name: str) -> None:
    """Raise ValueError where `font`, of this `name` ("" for ours), cannot draw a caption as it is meant."""
    text = written(caption, font)
    if is_right_to_left(text) and font.layout_engine != Layout.RAQM:
        raise ValueError(
            f'font: the caption "{caption[:100]}" is written from right to left, and Pillow on this computer would '
            "reverse it: it has no FriBiDi. Install that (Debian: libfribidi0, macOS: brew install fribidi, Windows: "
            "fribidi.dll beside python.exe) and restart ComfyUI."
        )
    if character := missing_character(text, font):
        named = f"'{name}'" if name else "the built-in font"
        raise ValueError(
            f'font: {named} has no character "{character}" (U+{ord(character):04X}) for the text "{caption[:100]}". '
            "Name a font file that has it: one in ComfyUI's models/fonts folder, or one installed on this computer"
            f"{_suggestion(caption)}."
        )


def _suggestion(text: str) -> str:
    """Of the fonts of this computer, which have all of `text`, the plainest names first, for the end of a sentence."""
    found = []
    for name, file in sorted(installed_files().items(), key=lambda font: (len(font[0]), font[0])):
        if name.casefold().startswith("lastresort"):  # of macOS: a box for every character there is
            continue
        try:
            font = ImageFont.truetype(file, 20)
            if missing_character(written(text, font), font) is None:
                found.append(name)
        except (OSError, ValueError):
            continue
        if len(found) == _SUGGESTED:
            break
    return (
        f", such as {' or '.join(found)}"
        if found
        else ", of which none has all of this text: it can be written without that character"
    )


def written(caption: str, font: FreeTypeFont) -> str:
    """A caption as it is drawn: letters and accents in one, without what shows nothing and would be a box."""
    # macOS hands over Korean and accented letters in parts, which most fonts do not have.
    text = unicodedata.normalize("NFC", visible(caption))
    return text if font.layout_engine == Layout.RAQM else _SHAPING.sub("", text)


def is_right_to_left(text: str) -> bool:
    """Whether any letter of `text` is Hebrew, Arabic or of another script that runs to the left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def begins_right_to_left(text: str) -> bool:
    """Whether the first letter of `text`, which decides where it begins, runs to the left."""
    directions = map(unicodedata.bidirectional, text)
    return next((direction for direction in directions if direction in ("L", "R", "AL")), "L") != "L"


def stands_vertically(text: str, font: FreeTypeFont) -> bool:
    """Whether `text` is written in columns on a page that is read from the right: Japanese and Chinese are, where
    Pillow has the library that gives their brackets and dashes their upright forms."""
    return font.layout_engine == Layout.RAQM and bool(_IDEOGRAPHS.search(text)) and not is_right_to_left(text)


def missing_character(caption: str, font: FreeTypeFont) -> str | None:
    """The first character of a caption that the font cannot draw."""
    absent = _picture(ABSENT, font)
    for character in caption:
        # Blanks, joiners and variation selectors have no picture of their own.
        if character.isspace() or unicodedata.category(character) == "Cf" or _SHAPING.match(character):
            continue
        if _picture(character, font) == absent:
            return character
    return None


def wrap(caption: str, font: FreeTypeFont, width: float, direction: str | None = None) -> list[str]:
    """Break a caption into lines of at most `width` pixels: between words, and inside a word that is wider.

    `direction`: "ttb" for columns, which are at most so long.

    Raises ValueError where a single character is wider.
    """
    lines: list[str] = []
    line = ""
    for match in _UNIT.finditer(caption):
        gap = " " if caption[: match.start()][-1:].isspace() else ""
        longer = line + gap + match.group() if line else match.group()
        if font.getlength(longer, direction=direction) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(match.group(), font, width, direction)
        lines.extend(full)
    return [*lines, line] if line else lines


def is_torn(caption: str, lines: Iterable[str]) -> bool:
    """Whether a word of `caption` goes on in the next of its `lines`."""
    return [unit for line in lines for unit in _UNIT.findall(line)] != _UNIT.findall(caption)


def _pieces(word: str, font: FreeTypeFont, width: float, direction: str | None) -> list[str]:
    """Cut a word into pieces of at most `width` pixels; accents and the like stay with their letter."""
    pieces = [""]
    for letter in _LETTER.findall(word):
        if font.getlength(letter, direction=direction) > width:
            raise ValueError(
                f"caption_size: at {font.size:g} pixels the character '{letter}' is wider than a panel. "
                "Choose a smaller size, or 0 for one that fits."
            )
        if font.getlength(pieces[-1] + letter, direction=direction) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _picture(character: str, font: FreeTypeFont) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
