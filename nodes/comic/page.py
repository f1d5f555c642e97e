"""Panels and captions in, a comic page out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy_api.latest import io
from comfy_execution.validation import validate_node_input

from ...comic.bound import letter_pages, place_pages
from ...comic.page import CAPTION_PLACES, check_lettering, place_page
from ...comic.sheet import Sheet
from ...pixels import to_pil, to_tensor
from ..canvas import found_by, until_cancelled
from ..checks import require_tensor_list, single_values
from ..graph import source_of, widgets_of
from ..sockets import EncodedStoryboard, PageLayersSocket, PageLayoutSocket, StoryboardSocket
from ..widgets import rare, zero_is
from .fonts import BUILT_IN, font_state, fonts
from .page_inputs import calls_of, captions_of, layout_of, lettering_of, seen_of, speeches_of
from .panel_drawing import in_batches

SAMPLER = "StoryBoothPanelSampler"


class ComicPage(io.ComfyNode):
    """Panels and captions to one page, or with a layout to as many as it has."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothComicPage",
            display_name="Comic Page",
            category="StoryBooth",
            **found_by("comic book", "comic layout", "manga page", "captions"),
            description="Lays the panels out on one page, or as Page Layout says, and writes their captions.",
            is_input_list=True,
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
                    "columns",
                    display_name="columns",
                    default=3,
                    min=1,
                    max=64,
                    tooltip="Panels side by side, where no layout is wired in.",
                ),
                rare(
                    io.Int.Input(
                        "gutter",
                        display_name="gutter",
                        default=24,
                        min=0,
                        max=512,
                        tooltip="White space between the panels and around the page, in pixels. A layout has its own.",
                    )
                ),
                io.Combo.Input(
                    "caption_place",
                    display_name="caption place",
                    options=list(CAPTION_PLACES),
                    default=CAPTION_PLACES[0],
                    tooltip="Where captions stand: on the paper, or inside the picture on a pale strip. With a layout, "
                    "in boxes inside their panels, at the top or at the bottom.",
                ),
                rare(
                    zero_is(
                        "auto",
                        io.Int.Input(
                            "caption_size",
                            display_name="caption size",
                            default=0,
                            min=0,
                            max=512,
                            tooltip="Size of the letters in pixels. 0 chooses one that goes with the panels.",
                        ),
                    )
                ),
                io.Combo.Input(
                    "font",
                    display_name="font",
                    options=[BUILT_IN, *fonts()],
                    default=BUILT_IN,
                    tooltip="Fonts in ComfyUI's models/fonts folder, then those that come along and those installed on "
                    "this computer, such as NanumGothic.ttf for Korean. built-in: one for English, or for Latin, "
                    "Greek and Cyrillic letters where a caption needs it.",
                ),
                PageLayoutSocket.Input(
                    "layout",
                    display_name="layout",
                    optional=True,
                    tooltip="From Page Layout, as many pages as the story needs. Wire it into Story Panel Sampler too, "
                    "so that panels have the shape of their places and nothing of them is cut off.",
                ),
                io.String.Input(
                    "places",
                    display_name="places",
                    optional=True,
                    force_input=True,
                    lazy=True,
                    tooltip="From Story Panel Sampler: bubbles then point to where their speakers are in the picture. "
                    "Without it a speaker whose line does not say where is taken to be in the middle.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "page",
                    display_name="page",
                    is_output_list=True,
                    tooltip="The comic page, one image; with a layout all pages, in their order.",
                ),
                PageLayersSocket.Output(
                    "layers",
                    display_name="layers",
                    is_output_list=True,
                    tooltip="What lies where on the pages, for Save Comic: text that can be selected, and layers.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def check_lazy_status(
        cls,
        images: Sequence[torch.Tensor | None] = (None,),
        places: Sequence[str | None] = ("",),  # nothing is wired in
        **inputs: Sequence[Any],
    ) -> list[str]:
        """Look at the captions first: no hours of training and drawing for a page that cannot be lettered."""
        if layout_of(inputs) is None:
            sampler = source_of(cls.hidden, "images", SAMPLER) or {}
            size = widgets_of(sampler, ("width", "height")) if "layout" not in sampler else None
            panel = (size["width"], size["height"]) if size else None
            for values in calls_of(inputs):
                check_lettering(
                    captions_of(values["storyboard"]),
                    speeches=speeches_of(values["storyboard"]),
                    **lettering_of(values, "columns", "gutter"),
                    panel=panel,
                )
        else:
            values = single_values(inputs)
            captions = captions_of(values["storyboard"])
            check_lettering(captions, columns=1, gutter=0, **lettering_of(values))
            speeches = speeches_of(values["storyboard"])
            letter_pages(captions, values["layout"], speeches=speeches, **lettering_of(values))
        lazy = {"images": images, "places": places}
        return [name for name, values in lazy.items() if all(value is None for value in values)]

    @classmethod
    def execute(cls, images: Sequence[torch.Tensor], **inputs: Sequence[Any]) -> io.NodeOutput:
        require_tensor_list("images", images, "Story Panel Sampler")
        if layout_of(inputs) is None:
            sheets = [_grid(**values) for values in calls_of({"images": images, **inputs})]
            return io.NodeOutput([to_tensor(sheet.picture)[None] for sheet in sheets], [(sheet,) for sheet in sheets])
        values = single_values(inputs)
        panels = [to_pil(image[..., :3]) for batch in images for image in until_cancelled(batch)]
        captions = captions_of(values["storyboard"])
        speeches = speeches_of(values["storyboard"])
        sheets = place_pages(
            panels, captions, values["layout"], speeches=speeches, seen=seen_of(values), **lettering_of(values)
        )
        pages = [to_tensor(sheet.picture)[None] for sheet in until_cancelled(sheets)]
        return io.NodeOutput(in_batches(pages), [tuple(sheets)])

    @classmethod
    def validate_inputs(cls, input_types: Sequence[Mapping[str, str]], font: Any = None) -> bool | str:
        """What ComfyUI checks itself, but for `font`: any can be named, on the list or not, also by a wired-in text.

        Whether it is there is told when it is looked for.
        """
        kinds = {wanted.id: wanted.get_io_type() for wanted in cls.define_schema().inputs}
        for name, kind in input_types[0].items():
            if name != "font" and not validate_node_input(kind, kinds[name]):
                return f"{name}: got {kind}, expected {kinds[name]}. Wire in an output of that kind."
        return True

    @classmethod
    def fingerprint_inputs(cls, font: Sequence[str | None] = (), **_: Any) -> list[tuple[int, ...]]:
        """Write the page again when the font's file has become another one."""
        return [font_state(name or "") for name in font]  # None: it comes from another node


def _grid(images: torch.Tensor, storyboard: EncodedStoryboard, **values: Any) -> Sheet:
    """One page of panels in a grid."""
    return place_page(
        [to_pil(image[..., :3]) for image in until_cancelled(images)],
        captions_of(storyboard),
        speeches=speeches_of(storyboard),
        seen=seen_of({"storyboard": storyboard, **values}),
        **lettering_of(values, "columns", "gutter"),
    )
