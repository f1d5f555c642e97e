"""The book that Save Comic's inputs describe: its pages, what is told of it, and what the canvas shows of it."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import torch
from PIL import Image

from ...comic.layout import READING
from ...comic.saving.book import Book, plain
from ...comic.saving.formats import FORMATS, TURNED, check
from ...comic.sheet import Sheet
from ...pixels import to_pil
from .. import outputs
from ..canvas import save_for_canvas, until_cancelled
from ..checks import require_kind, require_option
from ..sockets import EncodedStoryboard

_SHOWN = 24
"""How many pages of a file that is no picture itself are shown on the node, each at most so many pixels long:"""
_SHOWN_LENGTH = 1024


class Pages(Sequence):
    """Pages as Pillow holds them, each made when it is asked for: all at once they may not fit into memory."""

    def __init__(self, images: list[torch.Tensor]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Pages(self._images[index])
        return to_pil(self._images[index][..., :3])


def described(
    pages: Sequence[Image.Image], sheets: tuple[Sheet, ...], values: dict[str, Any], notes: dict[str, str] | None = None
) -> tuple[Book, str, str, tuple[int, int]]:
    """The book that the widgets describe, its format, the beginning of its files' names, and its slices' size.

    Raises ValueError naming the widget that cannot be.
    """
    chosen, reading = values["format"], values.get("reading", READING[0])
    require_option("format", chosen, FORMATS)
    require_option("reading", reading, READING)
    prefix = outputs.checked(values["filename_prefix"])
    storyboard = values.get("storyboard")
    captions: tuple[str, ...] = ()
    if storyboard is not None:
        require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
        captions = tuple(storyboard.panels[index].caption for index in storyboard.shown)
    book = Book(
        pages,
        sheets,
        title=plain("title", values.get("title", "")) or prefix.rpartition("/")[2],
        author=plain("author", values.get("author", "")),
        captions=captions,
        right_to_left=reading == READING[1],
        dpi=values.get("dpi", 300),
        notes=notes or {},
    )
    slicing = values.get("slice_height", 1280), values.get("slice_width", 0)
    if chosen == "webtoon":
        check(book, chosen, *slicing)
    return book, chosen, prefix, slicing


def turned_otherwise(book: Book, chosen: str) -> str:
    """A sentence where pages are laid out to be read the other way than those of `book` are turned, else ""."""
    laid_out = {sheet.right_to_left for sheet in book.sheets} - {None, book.right_to_left}
    if chosen not in TURNED or not laid_out:
        return ""
    return f"Pages are laid out {READING[laid_out.pop()]}, and reading is {READING[book.right_to_left]}: set both alike"


def notes_of(hidden: Any) -> dict[str, str]:
    """What Save Image writes into its files, so that they can be dropped on the canvas."""
    notes = {"prompt": hidden.prompt} if hidden.prompt else {}
    return {name: json.dumps(value) for name, value in (notes | (hidden.extra_pnginfo or {})).items()}


def thumbnails(pages: Sequence[Image.Image]) -> list[dict[str, str]]:
    """Small pictures of the first pages for the canvas, in ComfyUI's temp folder."""
    shown, run = [], uuid4().hex
    for index, page in enumerate(until_cancelled(pages[:_SHOWN])):
        page.thumbnail((_SHOWN_LENGTH, _SHOWN_LENGTH))
        shown.append(save_for_canvas(page, f"{run}_{index:03}"))
    return shown
