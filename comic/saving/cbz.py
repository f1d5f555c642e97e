"""CBZ, which comic readers open: pages in a ZIP archive, with ComicInfo.xml.

ComicInfo 2.0: https://anansi-project.github.io/docs/comicinfo/documentation
"""

import zipfile
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .book import Book, png


def write(path: Path, book: Book) -> None:
    """Write all pages and their ComicInfo.xml to `path`. The same book gives the same bytes."""
    info = Element("ComicInfo")
    entries = {
        "Title": book.title,
        "Summary": book.text,
        "Writer": book.author,
        "PageCount": str(len(book.pages)),
        "LanguageISO": "" if book.language == "und" else book.language,
        "Manga": "YesAndRightToLeft" if book.right_to_left else "",
    }
    for name, value in entries.items():  # in the schema's order
        if value:
            SubElement(info, name).text = value
    pages = SubElement(info, "Pages")
    digits = max(3, len(str(len(book.pages))))
    with zipfile.ZipFile(path, "w") as archive:
        for index, page in enumerate(book.pages):
            content = png(page, book.dpi)
            add(archive, f"page-{index + 1:0{digits}}.png", content, packed=False)
            told = {"Image": index, "ImageSize": len(content), "ImageWidth": page.width, "ImageHeight": page.height}
            SubElement(pages, "Page", {name: str(value) for name, value in told.items()})
        indent(info)
        add(archive, "ComicInfo.xml", tostring(info, encoding="utf-8", xml_declaration=True))


def add(archive: zipfile.ZipFile, name: str, content: bytes, packed: bool = True) -> None:
    """Add a file without the time of day, which would make every archive another one."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
