"""Panels and captions in, a comic page out."""

from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from ...comic.page import CAPTION_PLACES, check_lettering, place_page
from ...pixels import to_pil, to_tensor
from .. import folders  # noqa: F401 (registers models/fonts)
from ..canvas import found_by, until_cancelled
from ..checks import require_kind, require_tensor_list
from ..sockets import EncodedStoryboard, PageLayersSocket, StoryboardSocket


class ComicPage(io.ComfyNode):
    """Panels and captions to one page."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothComicPage",
            display_name="Comic Page",
            category="StoryBooth",
            **found_by("comic book", "comic layout", "manga page", "captions"),
            description="Lays the panels out on one page and writes their captions.",
            inputs=[
                io.Image.Input(
                    "images",
                    display_name="images",
                    lazy=True,
                    tooltip="The panels in story order, as Story Panel Sampler gives them.",
                ),
                StoryboardSocket.Input(
                    "storyboard",
                    display_name="storyboard",
                    tooltip="The story that the panels belong to; its captions are written on the page.",
                ),
                io.Int.Input(
                    "columns", display_name="columns", default=3, min=1, max=64, tooltip="Panels side by side."
                ),
                io.Int.Input(
                    "gutter",
                    display_name="gutter",
                    default=24,
                    min=0,
                    max=512,
                    tooltip="White space between the panels and around the page, in pixels.",
                ),
                io.Combo.Input(
                    "caption_place",
                    display_name="caption place",
                    options=list(CAPTION_PLACES),
                    default=CAPTION_PLACES[0],
                    tooltip="Where captions stand: on the paper, or inside the picture on a pale strip.",
                ),
                io.Int.Input(
                    "caption_size",
                    display_name="caption size",
                    default=0,
                    min=0,
                    max=512,
                    tooltip="Size of the letters in pixels. 0 chooses one that goes with the panels.",
                ),
                io.String.Input(
                    "font",
                    display_name="font",
                    default="",
                    tooltip="File name of a font in ComfyUI's models/fonts folder or installed on this computer, such "
                    "as NanumGothic.ttf for Korean. Empty: a built-in font for English, or one for Latin, "
                    "Greek and Cyrillic letters where a caption needs it.",
                ),
            ],
            outputs=[
                io.Image.Output("page", display_name="page", tooltip="The comic page, one image."),
                PageLayersSocket.Output(
                    "layers",
                    display_name="layers",
                    tooltip="What lies where on the page, for Save Comic: text that can be selected, and layers.",
                ),
            ],
        )

    @classmethod
    def check_lazy_status(
        cls,
        storyboard: EncodedStoryboard,
        columns: int,
        gutter: int,
        caption_place: str,
        caption_size: int,
        font: str,
        images: torch.Tensor | None = None,
        **_: Any,
    ) -> list[str]:
        """Look at the captions first: no hours of training and drawing for a page that cannot be lettered."""
        check_lettering(
            _captions(storyboard), columns, gutter, caption_place, caption_size, font=_font_path(font.strip())
        )
        return ["images"] if images is None else []

    @classmethod
    def execute(
        cls,
        images: torch.Tensor,
        storyboard: EncodedStoryboard,
        columns: int,
        gutter: int,
        caption_place: str,
        caption_size: int,
        font: str,
    ) -> io.NodeOutput:
        require_kind("images", images, torch.Tensor, "Story Panel Sampler")
        require_tensor_list("images", [images], "Story Panel Sampler")
        captions = _captions(storyboard)
        sheet = place_page(
            [to_pil(image[..., :3]) for image in until_cancelled(images)],
            captions,
            columns=columns,
            gutter=gutter,
            caption_place=caption_place,
            caption_size=caption_size,
            font=_font_path(font.strip()),
        )
        return io.NodeOutput(to_tensor(sheet.picture)[None], (sheet,))


def _captions(storyboard: EncodedStoryboard) -> list[str]:
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    return [storyboard.panels[index].caption for index in storyboard.shown]


def _font_path(name: str) -> str:
    """What `load_font` is to load: a file of models/fonts, or the file name of an installed font."""
    if name in folder_paths.get_filename_list("fonts"):
        return folder_paths.get_full_path_or_raise("fonts", name)
    if set(name) & set("/\\:"):
        raise ValueError(
            f"font: got '{name}', expected the name of a font file without its folder, such as NanumGothic.ttf."
        )
    return name
