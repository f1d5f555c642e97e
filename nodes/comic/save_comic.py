"""Save Comic: pages to the files that people read, print and go on drawing in."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import torch
from comfy.cli_args import args
from comfy_api.latest import io
from PIL import Image

from ...comic.layout import READING
from ...comic.saving.book import Book, plain
from ...comic.saving.formats import FORMATS, check, files, suffix
from ...comic.sheet import Sheet
from ...pixels import to_pil
from .. import outputs
from ..canvas import found_by, save_for_canvas, show_text, until_cancelled
from ..checks import require_kind, require_option, require_tensor_list, single_values
from ..sockets import EncodedStoryboard, PageLayersSocket, StoryboardSocket
from ..widgets import rare, zero_is

_SHOWN = 24
"""How many pages of a file that is no picture itself are shown on the node, each at most so many pixels long:"""
_SHOWN_LENGTH = 1024


class SaveComic(io.ComfyNode):
    """Pages to one file or several, below ComfyUI's output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothSaveComic",
            display_name="Save Comic",
            category="StoryBooth",
            **found_by("pdf", "cbz", "epub", "webtoon", "svg layers", "save comic book"),
            description="Saves comic pages as pictures, for comic readers, as a PDF to print, or as layers to draw on.",
            is_input_list=True,
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "page",
                    display_name="page",
                    lazy=True,
                    tooltip="The pages, as Comic Page gives them: one, a batch or a list, in order.",
                ),
                io.Combo.Input(
                    "format",
                    display_name="format",
                    options=list(FORMATS),
                    default="pdf",
                    tooltip="png: a picture for each page. cbz: for comic readers. pdf: to print and to search. epub: "
                    "for book readers, of fixed layout. webtoon: one strip, cut into slices, for telephones. "
                    "layered svg: panels, bubbles and text apart, for drawing programs.",
                ),
                io.String.Input(
                    "filename_prefix",
                    display_name="file name",
                    default="storybooth/comic",
                    tooltip="What the files' names begin with, below ComfyUI's output folder; a number follows, so "
                    "that nothing is ever overwritten. Folders and %date:yyyy-MM-dd% work as in Save Image.",
                ),
                PageLayersSocket.Input(
                    "layers",
                    display_name="layers",
                    optional=True,
                    lazy=True,
                    tooltip="From Comic Page: with it the text in pdf and epub can be selected. layered svg needs it.",
                ),
                StoryboardSocket.Input(
                    "storyboard",
                    display_name="storyboard",
                    optional=True,
                    tooltip="The story: its captions describe the comic where no layers are wired in.",
                ),
                io.String.Input(
                    "title",
                    display_name="title",
                    optional=True,
                    default="",
                    tooltip="The title that readers show. Empty: the file's name.",
                ),
                rare(
                    io.String.Input(
                        "author",
                        display_name="author",
                        optional=True,
                        default="",
                        tooltip="The author that readers show. It may be empty.",
                    )
                ),
                io.Combo.Input(
                    "reading",
                    display_name="reading",
                    options=list(READING),
                    optional=True,
                    default=READING[0],
                    tooltip="Which way pages are turned in cbz, pdf and epub: right to left for manga.",
                ),
                rare(
                    io.Int.Input(
                        "dpi",
                        display_name="dpi",
                        optional=True,
                        default=300,
                        min=1,
                        max=2400,
                        tooltip="Pixels an inch, for paper. At 300, which printers want, 3000 pixels are ten inches.",
                    )
                ),
                rare(
                    io.Int.Input(
                        "slice_height",
                        display_name="slice height",
                        optional=True,
                        default=1280,
                        min=1,
                        max=16384,
                        tooltip="webtoon: height of each slice in pixels. Many sites take 1280.",
                    )
                ),
                rare(
                    zero_is(
                        "as it is",
                        io.Int.Input(
                            "slice_width",
                            display_name="slice width",
                            optional=True,
                            default=0,
                            min=0,
                            max=16384,
                            tooltip="webtoon: pages are made this wide. Many sites take 800; 0 leaves them as they "
                            "are.",
                        ),
                    )
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def check_lazy_status(cls, page: Any = None, layers: Any = None, **widgets: list[Any]) -> list[str]:
        """Look at names and numbers first: no hours of drawing for a comic that cannot be saved."""
        _described(_grey(64), (), single_values(widgets))
        return [name for name, value in (("page", page), ("layers", layers)) if value is not None and value[0] is None]

    @classmethod
    def execute(cls, page: list[torch.Tensor], layers: list[Any] | None = None, **widgets: list[Any]) -> io.NodeOutput:
        # With is_input_list every input arrives as a list; all but these two hold one value.
        values = single_values(widgets)
        require_tensor_list("page", page, "Comic Page")
        sheets = []
        for told in layers or ():
            require_kind("layers", told, tuple, "Comic Page")
            for sheet in told:
                require_kind("layers", sheet, Sheet, "Comic Page")
                sheets.append(sheet)
        pages = _Pages([image for batch in page for image in batch])
        notes = {} if args.disable_metadata else _notes(cls.hidden)
        book, chosen, prefix, slicing = _described(pages, tuple(sheets), values, notes)
        check(book, chosen, *slicing)
        writing = until_cancelled(files(book, chosen, *slicing))
        saved = outputs.save(prefix, suffix(chosen), writing, pages[0].size)
        shown = [] if suffix(chosen) == ".png" else _thumbnails(pages)
        show_text(f"{len(pages)} {'page' if len(pages) == 1 else 'pages'}: {outputs.told(saved)}", cls.hidden.unique_id)
        return io.NodeOutput(ui={"images": [*shown, *saved]})


class _Pages(Sequence):
    """Pages as Pillow holds them, each made when it is asked for: all at once they may not fit into memory."""

    def __init__(self, images: list[torch.Tensor]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Pages(self._images[index])
        return to_pil(self._images[index][..., :3])


def _grey(size: int) -> Sequence[Image.Image]:
    return [Image.new("RGB", (size, size), "grey")]


def _described(
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


def _notes(hidden: Any) -> dict[str, str]:
    """What Save Image writes into its files, so that they can be dropped on the canvas."""
    notes = {"prompt": hidden.prompt} if hidden.prompt else {}
    return {name: json.dumps(value) for name, value in (notes | (hidden.extra_pnginfo or {})).items()}


def _thumbnails(pages: Sequence[Image.Image]) -> list[dict[str, str]]:
    """Small pictures of the first pages for the canvas, in ComfyUI's temp folder."""
    shown, run = [], uuid4().hex
    for index, page in enumerate(until_cancelled(pages[:_SHOWN])):
        page.thumbnail((_SHOWN_LENGTH, _SHOWN_LENGTH))
        shown.append(save_for_canvas(page, f"{run}_{index:03}"))
    return shown
