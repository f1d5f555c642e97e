"""What Comic Page letters its panels with, out of its inputs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...comic.layout import PageLayout
from ...comic.speakers import Seen, read_places
from ...comic.speech import Speech
from ..checks import require_kind
from ..sockets import EncodedStoryboard
from .fonts import font_path


def layout_of(inputs: dict[str, Sequence[Any]]) -> PageLayout | None:
    """The layout that is wired in, which otherwise is taken out of `inputs`. ValueError where it is something else."""
    if all(layout is None for layout in inputs.get("layout", ())):
        inputs.pop("layout", None)
        return None
    for layout in inputs["layout"]:
        require_kind("layout", layout, PageLayout, "Page Layout")
    return inputs["layout"][0]


def calls_of(inputs: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """What ComfyUI calls a node with that takes no lists: one value of each, the last again where there are fewer."""
    for name, values in inputs.items():
        if not values:
            raise ValueError(f"{name}: got an empty list, expected a value. The node that is wired in gives none.")
    for index in range(max(map(len, inputs.values()))):
        yield {name: values[min(index, len(values) - 1)] for name, values in inputs.items()}


def lettering_of(values: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The widgets that say how captions are written, as `comic` takes them, and some `more`."""
    named = {name: values[name] for name in (*more, "caption_place", "caption_size")}
    return {**named, "font": font_path(values["font"])}


def captions_of(storyboard: EncodedStoryboard) -> list[str]:
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    return [storyboard.panels[index].caption for index in storyboard.shown]


def seen_of(values: Mapping[str, Any]) -> list[Seen]:
    """Where speakers were seen in each panel; nothing where `places` is not wired in."""
    if (text := values.get("places")) is None:
        return []
    require_kind("places", text, str, "Story Panel Sampler")
    return read_places(text, len(values["storyboard"].shown))


def speeches_of(storyboard: EncodedStoryboard) -> list[tuple[Speech, ...]]:
    return [storyboard.panels[index].speech for index in storyboard.shown]
