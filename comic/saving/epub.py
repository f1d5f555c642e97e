"""EPUB 3 of a fixed layout: every page a picture, with its text unseen above it, to be selected and read aloud.

EPUB 3.3: https://www.w3.org/TR/epub-33/, fixed layouts: section 8.2.
"""

import hashlib
import time
import uuid
import zipfile
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ..sheet import Line
from .book import Book, png
from .cbz import add

_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
  <rootfiles><rootfile full-path="EPUB/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
_STYLE = """body { margin: 0; padding: 0; }
img { position: absolute; left: 0; top: 0; }
p { margin: 0; }
span { position: absolute; white-space: pre; line-height: 1; color: transparent; }
"""


def write(path: Path, book: Book) -> None:
    """Write all pages to `path`."""
    digest = hashlib.sha256(book.title.encode())
    language = book.language
    with zipfile.ZipFile(path, "w") as archive:
        add(archive, "mimetype", b"application/epub+zip", packed=False)  # first and unpacked, by the standard
        add(archive, "META-INF/container.xml", _CONTAINER.encode())
        add(archive, "EPUB/style.css", _STYLE.encode())
        for index, page in enumerate(book.pages):
            content = png(page, book.dpi)
            digest.update(content)
            add(archive, f"EPUB/page-{index + 1}.png", content, packed=False)
            lines = _lines(book, index, book.scale(index, page)) if book.sheets else ""
            add(archive, f"EPUB/page-{index + 1}.xhtml", _page(book, index, page.size, language, lines).encode())
        add(archive, "EPUB/nav.xhtml", _navigation(book, language).encode())
        identifier = uuid.uuid5(uuid.NAMESPACE_OID, digest.hexdigest())
        add(archive, "EPUB/package.opf", _package(book, language, str(identifier)).encode())


def _lines(book: Book, index: int, scale: float) -> str:
    """A paragraph for each caption and speech of a page; its lines lie where they are drawn."""
    paragraphs = []
    for passage, lines in groupby(book.sheets[index].lines, lambda line: line.passage):
        spans, rest = [], book.sheets[index].texts[passage]
        for line in lines:
            rest = rest.removeprefix(line.text)
            gap = " " if rest.startswith(" ") else ""  # none in Chinese, nor where a word is torn
            rest = rest.lstrip()
            spans.append(_line(line, scale) + gap)
        paragraphs.append(f"<p>{''.join(spans)}</p>\n")
    return "".join(paragraphs)


def _line(line: Line, scale: float) -> str:
    left, top = line.left * scale, (line.baseline - (0 if line.vertical else line.ascent)) * scale
    place = f"left:{left:.1f}px;top:{top:.1f}px;font-size:{line.size * scale:.1f}px"
    if line.vertical:
        place += ";writing-mode:vertical-rl"
    direction = ' dir="rtl"' if line.right_to_left else ""
    return f'<span style="{place}"{direction}>{escape(line.text)}</span>'


def _page(book: Book, index: int, size: tuple[int, int], language: str, lines: str) -> str:
    width, height = size
    shown = f'<img src="page-{index + 1}.png" width="{width}" height="{height}" alt='
    read = "" if lines else book.page_text(index)  # not twice by those who cannot see it
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
        f'<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="{language}" lang="{language}">\n'
        f"<head><title>{escape(book.title)}, {index + 1}</title>\n"
        f'<meta name="viewport" content="width={width}, height={height}"/>\n'
        '<link rel="stylesheet" type="text/css" href="style.css"/></head>\n'
        f"<body>{shown}{quoteattr(read)}/>\n{lines}</body>\n</html>\n"
    )


def _navigation(book: Book, language: str) -> str:
    items = "".join(f'<li><a href="page-{number}.xhtml">{number}</a></li>\n' for number in _numbers(book))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" '
        f'xml:lang="{language}" lang="{language}">\n'
        f"<head><title>{escape(book.title)}</title></head>\n"
        f'<body><nav epub:type="toc"><ol>\n{items}</ol></nav></body>\n</html>\n'
    )


def _package(book: Book, language: str, identifier: str) -> str:
    author = f"<dc:creator>{escape(book.author)}</dc:creator>\n" if book.author else ""
    description = f"<dc:description>{escape(book.text)}</dc:description>\n" if book.text else ""
    changed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    items = "".join(
        f'<item id="p{number}" href="page-{number}.xhtml" media-type="application/xhtml+xml"/>\n'
        f'<item id="i{number}" href="page-{number}.png" media-type="image/png"{_cover(number)}/>\n'
        for number in _numbers(book)
    )
    spine = "".join(f'<itemref idref="p{number}"/>\n' for number in _numbers(book))
    turned = "rtl" if book.right_to_left else "ltr"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="{language}">\n'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        f'<dc:identifier id="id">urn:uuid:{identifier}</dc:identifier>\n'
        f"<dc:title>{escape(book.title)}</dc:title>\n<dc:language>{language}</dc:language>\n{author}{description}"
        f'<meta property="dcterms:modified">{changed}</meta>\n'
        '<meta property="rendition:layout">pre-paginated</meta>\n</metadata>\n'
        '<manifest>\n<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>\n'
        f'<item id="style" href="style.css" media-type="text/css"/>\n{items}</manifest>\n'
        f'<spine page-progression-direction="{turned}">\n{spine}</spine>\n</package>\n'
    )


def _cover(number: int) -> str:
    return ' properties="cover-image"' if number == 1 else ""


def _numbers(book: Book) -> range:
    return range(1, len(book.pages) + 1)
