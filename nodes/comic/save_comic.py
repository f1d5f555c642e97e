"""Save Comic: pages to the files that people read, print and go on drawing in."""

from typing import Any

import torch
from comfy.cli_args import args
from comfy_api.latest import io
from PIL import Image

from ...comic.layout import READING
from ...comic.saving.formats import FORMATS, check, files, suffix
from ...comic.sheet import Sheet
from .. import outputs
from ..canvas import found_by, show_text, until_cancelled
from ..checks import require_kind, require_tensor_list, single_values
from ..sockets import PageLayersSocket, StoryboardSocket
from ..widgets import rare, zero_is
from .described_book import Pages, described, notes_of, thumbnails, turned_otherwise


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
                    tooltip="Which way pages are turned in cbz, pdf and epub: right to left for manga. Where "
                    "layers come from a Page Layout that is read the other way, the node says so.",
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
        described([Image.new("RGB", (64, 64), "grey")], (), single_values(widgets))
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
        pages = Pages([image for batch in page for image in batch])
        notes = {} if args.disable_metadata else notes_of(cls.hidden)
        book, chosen, prefix, slicing = described(pages, tuple(sheets), values, notes)
        check(book, chosen, *slicing)
        writing = until_cancelled(files(book, chosen, *slicing))
        saved = outputs.save(prefix, suffix(chosen), writing, pages[0].size)
        shown = [] if suffix(chosen) == ".png" else thumbnails(pages)
        told = f"{len(pages)} {'page' if len(pages) == 1 else 'pages'}: {outputs.told(saved)}"
        show_text("\n".join(filter(None, (told, turned_otherwise(book, chosen)))), cls.hidden.unique_id)
        return io.NodeOutput(ui={"images": [*shown, *saved]})
