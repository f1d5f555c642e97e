"""Page Layout: where every panel will lie, and in what shape, before it is drawn."""

from typing import Any

from comfy_api.latest import io

from ...comic.layout import AS_LAID_OUT, READING, lay_out
from ...comic.layouts import LAYOUTS, PAGES
from ...comic.plan import describe, draw_plan
from ..canvas import SHOWN_WHEN_CACHED, found_by, save_for_canvas, show_text
from ..checks import require_kind
from ..sockets import EncodedStoryboard, PageLayoutSocket, StoryboardSocket
from ..widgets import rare, zero_is


class PageLayoutNode(io.ComfyNode):
    """A storyboard's panels to their places on pages."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothPageLayout",
            display_name="Page Layout",
            category="StoryBooth",
            **found_by("comic layout", "comic page", "manga", "webtoon", "panels"),
            description="Gives every panel its place and shape on the pages, before anything is drawn. Wire it into "
            "Story Panel Sampler, which draws each panel in that shape, and into Comic Page.",
            inputs=[
                StoryboardSocket.Input(
                    "storyboard", display_name="storyboard", tooltip="The story whose panels are laid out."
                ),
                io.Combo.Input(
                    "layout",
                    display_name="layout",
                    options=list(LAYOUTS),
                    default="feature panel",
                    tooltip="How panels share a page. The story goes on, on as many pages as it needs; on the last one "
                    "what is left grows. The node shows the plan when it has run. Where rows are filled in, only the "
                    "paper of this layout counts.",
                ),
                io.String.Input(
                    "rows",
                    display_name="rows",
                    default="",
                    tooltip="Your own layout, instead of the one above: rows stand between /, in each the widths of "
                    "its panels. 2: 1 1 / 3: 2 1 is two equal panels, and below, half as high again, one that is "
                    "twice as wide as its neighbour. (1 / 1) stacks panels, > or < lets a gutter lean, ! runs over the "
                    "margin, | begins another page.",
                ),
                io.Combo.Input(
                    "reading",
                    display_name="reading",
                    options=list(READING),
                    default=READING[0],
                    tooltip="From right to left, as Japanese comics are read, pages are mirrored.",
                ),
                rare(
                    io.Combo.Input(
                        "page_size",
                        display_name="page size",
                        options=[AS_LAID_OUT, *PAGES],
                        default=AS_LAID_OUT,
                        tooltip="The paper, or a strip that is as long as its panels need. By itself, a layout takes "
                        "the paper that it was made for; rows of your own take that of the layout chosen above.",
                    )
                ),
                rare(
                    zero_is(
                        "auto",
                        io.Int.Input(
                            "page_width",
                            display_name="page width",
                            default=0,
                            min=0,
                            max=8192,
                            tooltip="Pixels. 0 is 300 an inch on paper, so 2480 for A4; 2048 for a screen, 1080 for a "
                            "webtoon strip.",
                        ),
                    )
                ),
                rare(
                    io.Float.Input(
                        "gutter",
                        display_name="gutter",
                        default=1.2,
                        min=0.0,
                        max=10.0,
                        step=0.1,
                        tooltip="Space between panels, in percent of the page's width. On a webtoon strip panels stand "
                        "five times as far apart.",
                    )
                ),
                rare(
                    io.Float.Input(
                        "margin",
                        display_name="margin",
                        default=3.5,
                        min=0.0,
                        max=20.0,
                        step=0.5,
                        tooltip="Space around the page, in percent of its width.",
                    )
                ),
                rare(
                    io.Float.Input(
                        "slant",
                        display_name="slant",
                        default=8.0,
                        min=0.0,
                        max=25.0,
                        step=1.0,
                        tooltip="How far, in degrees, gutters lean that are marked > or <, as in manga and action.",
                    )
                ),
                rare(
                    io.Boolean.Input(
                        "bleed",
                        display_name="bleed",
                        default=False,
                        tooltip="Lets every panel at the page's edge run over the margin, so that paper can be cut "
                        "there. Words keep clear of what is cut off.",
                    )
                ),
            ],
            outputs=[
                PageLayoutSocket.Output(
                    "page_layout",
                    display_name="layout",
                    tooltip="For Story Panel Sampler and Comic Page, both of them.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,  # so that the plan can be looked at alone
            **SHOWN_WHEN_CACHED,
        )

    @classmethod
    def execute(cls, storyboard: EncodedStoryboard, **widgets: Any) -> io.NodeOutput:
        require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
        made = lay_out(len(storyboard.shown), **widgets)
        show_text(describe(made), cls.hidden.unique_id)
        plan = save_for_canvas(draw_plan(made), f"plan_{cls.hidden.unique_id}_{abs(hash(made)):x}")
        return io.NodeOutput(made, ui={"images": [plan]})
