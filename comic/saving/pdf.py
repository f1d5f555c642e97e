"""PDF: each page a lossless picture at its size on paper, with its text unseen above it, to be selected and searched.

PDF 1.7, ISO 32000-1. A page's pixels go in as PNG packs them (7.4.4.4, predictors), page by page, so that a long comic
takes no more memory than a short one. The unseen letters are a Type 3 font of blank glyphs (9.6.5), which needs no font
file and knows every letter; /ToUnicode (9.10.3) says which they are.
"""

import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..sheet import Line
from .book import Book, png

_INCH = 72
_LONGEST = 14400
"""The longest page, in 72nds of an inch, that readers must open (annex C)."""

_CODES = 256
_HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


def write(path: Path, book: Book) -> None:
    """Write all pages to `path`. The same book gives the same bytes.

    Raises ValueError, naming `dpi`, for a page that would be longer than PDF allows.
    """
    with path.open("wb") as file:
        document = _Document(file)
        catalog, tree = document.reserve(), document.reserve()
        letters = _Letters(document)
        pages = [_page(document, tree, book, index, page, letters) for index, page in enumerate(book.pages)]
        letters.write()
        kids = b" ".join(b"%d 0 R" % number for number in pages)
        document.add(b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), kids), tree)
        direction = b"/R2L" if book.right_to_left else b"/L2R"
        view = b"<< /DisplayDocTitle true /Direction %s >>" % direction
        language = b"/Lang %s" % _text("" if book.language == "und" else book.language)
        document.add(b"<< /Type /Catalog /Pages %d 0 R /ViewerPreferences %s %s >>" % (tree, view, language), catalog)
        told = {b"Title": book.title, b"Author": book.author, b"Subject": book.text, b"Producer": "StoryBooth"}
        entries = b" ".join(b"/%s %s" % (name, _text(value)) for name, value in told.items() if value)
        document.end(catalog, document.add(b"<< %s >>" % entries))


def _page(document: "_Document", tree: int, book: Book, index: int, page: Image.Image, letters: "_Letters") -> int:
    """Write a page and all that belongs to it; its number."""
    points = _INCH / book.dpi
    width, height = page.width * points, page.height * points
    if max(width, height) > _LONGEST:
        raise ValueError(
            f"dpi: at {book.dpi}, page {index + 1} of {page.width} x {page.height} pixels is more than the "
            f"{_LONGEST // _INCH} inches long that PDF allows. Raise dpi, or save it as webtoon slices."
        )
    told = b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB" % page.size
    packed = b"/BitsPerComponent 8 /Filter /FlateDecode /DecodeParms"
    parameters = b"<< /Predictor 15 /Colors 3 /BitsPerComponent 8 /Columns %d >>" % page.width
    picture = document.stream(b"%s %s %s" % (told, packed, parameters), _pixels(page.convert("RGB")))
    drawn = b"q %.4f 0 0 %.4f 0 0 cm /Page Do Q\n" % (width, height)
    used: set[int] = set()
    if book.sheets:
        pixel = points * book.scale(index, page)
        lines = [letters.placed(line, pixel, height, used) for line in book.sheets[index].lines]
        drawn += b"BT\n3 Tr\n%sET\n" % b"".join(lines)
    content = document.stream(b"", drawn)
    fonts = b" ".join(b"/F%d %d 0 R" % (font, letters.number(font)) for font in sorted(used))
    resources = b"<< /XObject << /Page %d 0 R >> /Font << %s >> >>" % (picture, fonts)
    box = b"[0 0 %.4f %.4f]" % (width, height)
    return document.add(
        b"<< /Type /Page /Parent %d 0 R /MediaBox %s /Resources %s /Contents %d 0 R >>"
        % (tree, box, resources, content)
    )


def _pixels(page: Image.Image) -> bytes:
    """A page's pixels as they lie, filtered and packed, in a PNG file: the contents of its IDAT chunks."""
    file = io.BytesIO(png(page, 1))
    file.seek(8)
    packed = []
    while header := file.read(8):
        length, kind = struct.unpack(">I4s", header)
        content = file.read(length)
        file.seek(4, io.SEEK_CUR)  # the checksum
        if kind == b"IDAT":
            packed.append(content)
    return b"".join(packed)


class _Letters:
    """Fonts of blank letters, 256 in each, made of those that are asked for."""

    def __init__(self, document: "_Document") -> None:
        self._document = document
        self._codes: dict[str, int] = {}
        self._numbers: list[int] = []

    def number(self, font: int) -> int:
        """The object that is to be a font."""
        while len(self._numbers) <= font:
            self._numbers.append(self._document.reserve())
        return self._numbers[font]

    def placed(self, line: Line, pixel: float, height: float, used: set[int]) -> bytes:
        """The operators that lay a line on a page of this height, a pixel being so long, both in 72nds of an inch.

        `used` gains the fonts. Every word is stretched to its place, with the blank behind it. Where reading runs to
        the left, letters do too, in a mirror (as OCR's files have it), so that readers find them in their order.
        """
        size = line.size * pixel
        operators = []
        for index, word in enumerate(line.words):
            following = line.words[index + 1] if index + 1 < len(line.words) else None
            text, reach = word.text, word.width
            start = word.left + (word.width if line.right_to_left else 0)
            if following:
                text += " "
                begins = following.left + (following.width if line.right_to_left else 0)
                reach = abs(begins - start)
            step = reach * pixel / len(text)
            mirror = -1 if line.right_to_left else 1
            at = start * pixel
            for font, codes in self._runs(text):
                used.add(font)
                turned, place = b"%d 0 0 1" % mirror, (at, height - line.baseline * pixel)
                if line.vertical:  # by a right angle, so that letters follow one another downwards
                    turned, place = b"0 -1 1 0", ((line.left + line.descent) * pixel, place[1] - at)
                operators.append(b"/F%d %.4f Tf %.4f Tz " % (font, size, 100 * step / size))
                operators.append(b"%s %.4f %.4f Tm <%s> Tj\n" % (turned, *place, codes.hex().encode()))
                at += mirror * step * len(codes)
        return b"".join(operators)

    def _runs(self, text: str) -> Iterable[tuple[int, bytes]]:
        """`text` as (font, codes in it)."""
        runs: list[tuple[int, bytearray]] = []
        for letter in text:
            font, code = divmod(self._codes.setdefault(letter, len(self._codes)), _CODES)
            if not runs or runs[-1][0] != font:
                runs.append((font, bytearray()))
            runs[-1][1].append(code)
        return [(font, bytes(codes)) for font, codes in runs]

    def write(self) -> None:
        """Write the fonts, now that it is known which letters they have."""
        letters = list(self._codes)
        for font, number in enumerate(self._numbers):
            own = letters[font * _CODES : (font + 1) * _CODES]
            blank = self._document.stream(b"", b"1000 0 d0")
            meant = self._document.stream(b"", _to_unicode(own))
            names = b"/b " * len(own)
            self._document.add(
                b"<< /Type /Font /Subtype /Type3 /FontBBox [0 -250 1000 1000] /FontMatrix [0.001 0 0 0.001 0 0] "
                b"/FirstChar 0 /LastChar %d /Widths [%s] /Encoding << /Type /Encoding /Differences [0 %s] >> "
                b"/CharProcs << /b %d 0 R >> /Resources << >> /ToUnicode %d 0 R >>"
                % (len(own) - 1, b"1000 " * len(own), names, blank, meant),
                number,
            )


def _to_unicode(letters: list[str]) -> bytes:
    """What the codes of a font mean, one after the other."""
    lines = [b"<%02x> <%s>\n" % (code, _utf16(letter)) for code, letter in enumerate(letters)]
    blocks = [lines[start : start + 100] for start in range(0, len(lines), 100)]  # no more in one, says the format
    return (
        b"/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /Letters def\n/CMapType 2 def\n"
        b"1 begincodespacerange\n<00> <ff>\nendcodespacerange\n"
        + b"".join(b"%d beginbfchar\n%sendbfchar\n" % (len(block), b"".join(block)) for block in blocks)
        + b"endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    )


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be").hex().encode()


def _text(text: str) -> bytes:
    """A text string of PDF (7.9.2.2), whatever its letters."""
    return b"<feff%s>" % _utf16(text)


class _Document:
    """A PDF file that grows: objects one after the other, then the table of where they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: list[int | None] = []
        file.write(_HEADER)

    def reserve(self) -> int:
        """The number of an object that is written later."""
        self._places.append(None)
        return len(self._places)

    def add(self, content: bytes, number: int = 0) -> int:
        """Write an object, a new one or the one of this number, and return its number."""
        number = number or self.reserve()
        self._places[number - 1] = self._file.tell()
        self._file.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
        return number

    def stream(self, dictionary: bytes, content: bytes) -> int:
        """Write an object of bytes, and return its number."""
        return self.add(b"<< %s /Length %d >>\nstream\n%s\nendstream" % (dictionary, len(content), content))

    def end(self, catalog: int, info: int) -> None:
        """Write the table, and what a reader begins with."""
        begins = self._file.tell()
        rows = b"".join(b"%010d 00000 n \n" % place for place in self._places)
        count = len(self._places) + 1
        self._file.write(b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, rows))
        self._file.write(b"trailer\n<< /Size %d /Root %d 0 R /Info %d 0 R >>\n" % (count, catalog, info))
        self._file.write(b"startxref\n%d\n%%%%EOF\n" % begins)
