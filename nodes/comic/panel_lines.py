"""The lines of a storyboard that are shown, as they are to be drawn."""

from collections.abc import Mapping

import torch

from ...comic.layout import PageLayout
from ...comic.storyboard import Panel
from ..checks import require_kind
from ..sockets import EncodedStoryboard
from .panel_drawing import Line
from .ways import Ways


def shown_lines(storyboard: EncodedStoryboard) -> list[int]:
    """The places of the lines to draw. ValueError where there are none."""
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    if not storyboard.shown:
        raise ValueError("storyboard: every line is [hidden], so there is no panel to draw. Show at least one.")
    return storyboard.shown


def sizes_of(
    storyboard: EncodedStoryboard, layout: PageLayout | None, width: int, height: int
) -> dict[int, tuple[int, int]]:
    """The size (width, height) of each line that is shown, by its index; none without a layout."""
    if layout is None:
        return {}
    require_kind("layout", layout, PageLayout, "Page Layout")
    layout.require_panels(len(storyboard.shown))
    return dict(zip(storyboard.shown, layout.sizes(width, height), strict=True))


def _seed_of(panel: Panel, index: int, seed: int, seed_mode: str) -> int:
    if panel.seed is not None:
        return panel.seed
    return seed if seed_mode == "same" else (seed + index) % 2**64


def lines_of(
    storyboard: EncodedStoryboard,
    ways: Ways,
    held: Mapping[int, torch.Tensor],
    sizes: Mapping[int, tuple[int, int]],
    seed: int,
    seed_mode: str,
) -> list[Line]:
    """What each line that is shown is drawn from. `held` are latents of those that are drawn, by their index."""
    return [
        Line(
            storyboard.prompts(index),
            _seed_of(storyboard.panels[index], index, seed, seed_mode),
            ways.of(storyboard.panels[index]),
            held.get(index),
            sizes.get(index),
            storyboard.speakers[index] if storyboard.speakers else {},
        )
        for index in storyboard.shown
    ]
