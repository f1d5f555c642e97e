"""What every format is made of: pages, what lies on them, and what is told about the whole."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...texts import check_text
from ..near_misses import visible
from ..sheet import Sheet

LARGEST_DPI = 2400

# ISO 639-1 by the word that Unicode's names of its letters begin with; Latin letters and the like tell no language.
_LANGUAGES = {
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "HEBREW": "he",
    "THAI": "th",
    "GREEK": "el",
}

_ENGLISH = {
    *("the", "and", "with", "from", "because", "this", "that", "there", "it's"),
    *("who", "what", "where", "when", "why", "how", "you", "your", "they"),
}
"""Common words that are English and of no other language that is written in Latin letters."""
_SHARE = 12
"""English is what has two of them, and in so many words one."""


@dataclass(frozen=True)
class Book:
    """A comic on its way to a file.

    Args:
        pages: RGB images in order; each is asked for when it is written, so that they need not all be there at once.
        sheets: what lies on each page, for text that can be selected and for layers; () where nobody knows.
        title, author: as readers show them; author may be "".
        captions: what is told about the whole, one after the other, where there are no sheets.
        right_to_left: which way pages are turned.
        dpi: pixels of a printed inch.
        notes: text to go into PNG files, by key.
    """

    pages: Sequence[Image.Image]
    sheets: tuple[Sheet, ...] = ()
    title: str = "Comic"
    author: str = ""
    captions: tuple[str, ...] = ()
    right_to_left: bool = False
    dpi: int = 300
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError, naming the input, where this cannot become a file."""
        if not len(self.pages):
            raise ValueError("page: there are none. Wire in what Comic Page gives.")
        if not 1 <= self.dpi <= LARGEST_DPI:
            raise ValueError(f"dpi: got {self.dpi}, expected 1 to {LARGEST_DPI} pixels an inch; printers want 300.")
        if self.sheets and len(self.sheets) != len(self.pages):
            raise ValueError(
                f"layers: they tell of {len(self.sheets)} pages, and page brings {len(self.pages)}. Wire both from the "
                "same Comic Page."
            )

    def page_text(self, index: int) -> str:
        """The texts of a page in the order of reading, a line each; of the whole where only that is known."""
        return "\n".join(filter(None, self.sheets[index].texts if self.sheets else self.captions))

    @property
    def text(self) -> str:
        """All that is written in the comic, a line each, and an empty one between pages."""
        if not self.sheets:
            return self.page_text(0)
        return "\n\n".join(filter(None, (self.page_text(index) for index in range(len(self.pages)))))

    @property
    def language(self) -> str:
        """The language that the letters of the text belong to, or "en" by its words; else "und", undetermined.

        Where nothing is written, the title tells. A wrong language would be worse than none: readers speak a text that
        is undetermined with the voice that their user has chosen.
        """
        text = self.text or self.title
        names = (unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
        found = Counter(_LANGUAGES.get(name.split("-")[0], "und") for name in names)
        if found["ja"]:  # written with Chinese signs, too
            found["ja"] += found.pop("zh", 0)
        language = max(found, key=found.get, default="und")
        return "en" if language == "und" and _is_english(text) else language

    def scale(self, index: int, page: Image.Image) -> float:
        """Pixels of `page` for one of its sheet: more than 1 where it was enlarged since.

        Raises ValueError where the sheet is another page's.
        """
        width, height = self.sheets[index].picture.size
        if abs(page.width * height - page.height * width) > max(page.width, page.height) + max(width, height):
            raise ValueError(
                f"layers: page {index + 1} is {width} x {height} pixels there, in page {page.width} x {page.height}. "
                "Wire both from the same Comic Page, or leave layers empty."
            )
        return page.width / width


def _is_english(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.casefold().replace("’", "'"))
    found = [word for word in words if word in _ENGLISH]
    return len(set(found)) > 1 and len(found) * _SHARE >= len(words)


def plain(name: str, text: str) -> str:
    """A title or the like in one line, without what no XML file may hold. ValueError naming it for broken text."""
    try:
        check_text(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return " ".join(visible(text).translate({0xFFFE: None, 0xFFFF: None}).split())


def png(page: Image.Image, dpi: int, notes: dict[str, str] | None = None) -> bytes:
    """A page as a PNG file that knows its size on paper."""
    text = PngInfo()
    for key, value in (notes or {}).items():
        text.add_text(key, value)
    buffer = io.BytesIO()
    page.save(buffer, "PNG", dpi=(dpi, dpi), pnginfo=text, compress_level=6)
    return buffer.getvalue()
