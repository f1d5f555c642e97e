"""Which formats there are, and what each writes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from . import cbz, epub, pdf, svg
from .book import Book, png
from .webtoon import slices

Write = Callable[[Path], object]
"""Fills the file at a path."""

FORMATS = ("png", "cbz", "pdf", "epub", "webtoon", "layered svg")


TURNED = ("cbz", "pdf", "epub")
"""Formats that say which way their pages are turned."""


def suffix(chosen: str) -> str:
    """What the names of a format's files end in."""
    return {"webtoon": ".png", "layered svg": ".svg"}.get(chosen, f".{chosen}")


def check(book: Book, chosen: str, slice_height: int, slice_width: int) -> None:
    """Raise ValueError, naming the input, for what `files` could only find out in the middle."""
    if chosen == "layered svg" and not book.sheets:
        raise ValueError(
            "layers: got nothing, and layers are what a layered file is made of. Wire in Comic Page's layers."
        )
    if chosen == "webtoon":
        next(slices(Book(book.pages[:1]), slice_height, slice_width))


def files(book: Book, chosen: str, slice_height: int = 1280, slice_width: int = 0) -> Iterator[Write]:
    """Yield what writes each file of `book` in a format of `FORMATS`, in order.

    Args:
        slice_height, slice_width: see `webtoon.slices`.

    Raises ValueError, naming the input, for what cannot be written.
    """
    if chosen not in FORMATS:
        raise ValueError(f"format: got '{str(chosen)[:100]}', expected one of: {', '.join(FORMATS)}.")
    one = {"cbz": cbz.write, "pdf": pdf.write, "epub": epub.write}
    if chosen in one:
        yield lambda path: one[chosen](path, book)
    elif chosen == "layered svg":
        for number, sheet in enumerate(book.sheets, start=1):
            title = book.title if len(book.sheets) == 1 else f"{book.title}, {number}"
            yield lambda path, sheet=sheet, title=title: svg.write(path, sheet, title, book.dpi)
    else:
        pictures: Iterable = book.pages if chosen == "png" else slices(book, slice_height, slice_width)
        for picture in pictures:
            yield lambda path, picture=picture: path.write_bytes(png(picture, book.dpi, book.notes))
