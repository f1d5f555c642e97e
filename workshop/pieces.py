"""A story cut into prompts that servers run apart: train, write the bank, draw each panel, lay the page out.

Each is a part of the story's own graph. A panel's prompt has a script of one line and the bank from a file, the page's
takes the panels as pictures. Comic Page rounds panels to 8 bits in any case, so that pages are the same, bit for bit,
as one server draws them. What that cannot be said of is drawn whole.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from ..comic.layout import lay_out
from ..comic.speakers import read_places, written_places
from ..comic.storyboard import Panel, parse
from .client import Graph

PLACES = 2
"""The output of Story Panel Sampler that tells where speakers are."""

LOANS = "storybooth_loans"
"""As nodes/exchange.py, which removes these folders, calls them."""

SAVED = "storybooth saves"
"""The node of a prompt that tells what came out."""

SEEN = "storybooth sees"
"""The node of a panel's prompt that tells where its speakers are, where the page wants to know."""

_TO_COME = "storybooth places"
_LOADED = "storybooth loads"
_BATCH = "storybooth batch"


class Whole(ValueError):
    """Why a story is drawn by one server."""


@dataclass(frozen=True)
class Piece:
    """A prompt. `reads_bank`: it loads the story's bank, by the name that `with_bank` gives."""

    graph: Graph
    reads_bank: bool = False

    def with_bank(self, name: str) -> "Piece":
        """The same, and the bank has this name."""
        if not self.reads_bank:
            return self
        loader = {**self.graph[_LOADED], "inputs": {"name": name}}
        return replace(self, graph={**self.graph, _LOADED: loader})


@dataclass(frozen=True)
class Pieces:
    """`panels` by their place in the story, from 1; `folder` takes their pictures, below input; `saver` is `page`'s."""

    bank: Piece
    panels: Mapping[int, Piece]
    page: Piece
    saver: str
    folder: str

    def page_with(self, places: Mapping[int, str]) -> Graph:
        """The page's graph, told what the panels' prompts have told of where speakers are, by their place.

        ValueError where that is something else.
        """
        told = [seen for place in sorted(self.panels) for seen in read_places(places.get(place) or "[{}]", 1)]
        text = written_places(told)
        return {
            key: {**node, "inputs": {**node["inputs"], "places": text}} if self._is_told(node) else node
            for key, node in self.page.graph.items()
        }

    @property
    def tells(self) -> str:
        """The node of panels' prompts that shows where speakers are, as text; "" where the page is not told."""
        return SEEN if any(map(self._is_told, self.page.graph.values())) else ""

    @staticmethod
    def _is_told(node: Mapping[str, Any]) -> bool:
        return node["class_type"] == "StoryBoothComicPage" and node["inputs"].get("places") == _TO_COME


def training(graph: Graph) -> Piece:
    """The prompt that trains a story's LoRA; `SAVED` shows the LoRA's name as text."""
    trainer = only(graph, "StoryBoothLoraTrainer")
    return Piece(
        _with(_closure(graph, [trainer]), SAVED, "PreviewAny", source=[trainer, 3]),
    )


def cut(graph: Graph, story: str) -> Pieces:
    """The pieces of a graph. `story`: a digest, for names of what lies on servers meanwhile.

    Raises Whole where the story has to be drawn by one server.
    """
    try:
        storyboard, writer, sampler, saver, trainer = (
            only(graph, f"{kind}")
            for kind in (
                "StoryBoothStoryboard",
                "StoryBoothIdentityBankWriter",
                "StoryBoothPanelSampler",
                "SaveImage",
                "StoryBoothLoraTrainer",
            )
        )
    except ValueError as error:
        raise Whole(str(error)) from None
    told, drawn = graph[storyboard]["inputs"], graph[sampler]["inputs"]
    if drawn.get("at_once", 1) != 1:
        raise Whole("panels at once (at_once) is not 1, and a batch's pictures may differ in their last bits")
    widgets = {key: drawn.get(key) for key in ("seed", "seed_mode", "width", "height")}
    for name, value in {"at_once": drawn.get("at_once"), **told, **widgets}.items():
        if name != "clip" and (isinstance(value, list) or (name in widgets and value is None)):
            raise Whole(f"{name} comes from another node, or is missing")
    for user, inputs in ((key, node["inputs"]) for key, node in graph.items()):
        for name, link in inputs.items():
            taken = {"images": 0, "places": PLACES}.get(name)
            if _is_link(link, sampler) and (link[1] != taken or graph[user]["class_type"] != "StoryBoothComicPage"):
                raise Whole(f"{graph[user]['class_type']}.{name} takes what Story Panel Sampler draws")
    try:
        panels = parse(told["script"], told["subject"], told.get("style", "none"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Whole(f"its script: {error}") from None

    bank = _with(
        _closure(graph, [writer]),
        SAVED,
        "StoryBoothSaveIdentityBank",
        bank=[writer, 0],
        name="",
    )
    shown = [index for index, panel in enumerate(panels) if not panel.hidden]
    if not shown:
        raise Whole("no line of its script is shown on the page")
    sizes = _sizes(graph, drawn, len(shown))
    nodes = storyboard, writer, sampler
    told_of = any(_is_link(link, sampler) and link[1] == PLACES for link in _links(graph))
    pieces = {
        place: _panel(graph, nodes, panels, index, sizes[place - 1], told_of)
        for place, index in enumerate(shown, start=1)
    }
    if any(writer in piece.graph for piece in pieces.values()):
        raise Whole("a panel takes more of Identity Bank Writer than its bank")

    folder = f"{LOANS}/{story}"
    page = copy.deepcopy(graph)
    page[_LOADED] = _node("StoryBoothSubjectImages", folder=folder, default_caption="a panel")
    page[_BATCH] = _node("RebatchImages", images=[_LOADED, 0], batch_size=4096)
    # In a grid a list would be a page for each of its batches; on a layout panels have sizes that no batch can hold.
    _relink(page, sampler, [_BATCH if drawn.get("layout") is None else _LOADED, 0], output=0)
    _relink(page, sampler, _TO_COME, output=PLACES)
    comics = [key for key, node in graph.items() if node["class_type"] == "StoryBoothSaveComic"]
    page = _closure(page, [saver, *comics])
    if {trainer, writer, sampler} & page.keys() or _LOADED not in page:
        raise Whole("its page takes more than panels and words")
    return Pieces(Piece(bank), pieces, Piece(page), saver, folder)


def saved_anew(graph: Graph, saver: str, story: str) -> Graph:
    """The graph, and what its `saver` saves is a loan of the story, of a name that no saver has had.

    ComfyUI would name a file again that it saved for the same prompt before, and that is removed by now.
    """
    name = f"{LOANS}/{story}/{uuid4().hex}"
    names = {"filename_prefix": name, "name": f"{name}/%digest%"}
    inputs = graph[saver]["inputs"]
    inputs = {**inputs, **{key: value for key, value in names.items() if key in inputs}}
    return {**graph, saver: {**graph[saver], "inputs": inputs}}


def only(graph: Graph, node_type: str) -> str:
    """The id of the only node of a type. ValueError where there are none or several."""
    found = [key for key, node in graph.items() if node["class_type"] == node_type]
    if len(found) != 1:
        raise ValueError(
            f"workflow: it has {len(found)} nodes {node_type}, expected one: a story of one character, as "
            "workflows/api/nupjuki_story_mini.json is."
        )
    return found[0]


def _sizes(graph: Graph, drawn: Mapping[str, Any], panels: int) -> list[tuple[int, int]]:
    """The width and height of each panel, as Story Panel Sampler with these inputs draws it."""
    if (layout := drawn.get("layout")) is None:
        return [(drawn["width"], drawn["height"])] * panels
    node = graph.get(layout[0] if _is_link(layout) else "", {"class_type": "something else"})
    if node["class_type"] != "StoryBoothPageLayout":
        raise Whole(f"its layout comes from {node['class_type']}")
    widgets = {name: value for name, value in node["inputs"].items() if name != "storyboard"}
    try:
        return lay_out(panels, **widgets).sizes(drawn["width"], drawn["height"])
    except (ValueError, TypeError) as error:  # a widget's value that comes from another node, or one that cannot be
        raise Whole(f"its layout: {error}") from None


def _panel(
    graph: Graph,
    nodes: tuple[str, str, str],
    panels: tuple[Panel, ...],
    index: int,
    size: tuple[int, int],
    told_of: bool,
) -> Piece:
    """The prompt that draws a line of the script; `SAVED` tells its picture, and `SEEN`, if `told_of`, who is where."""
    storyboard, writer, sampler = nodes
    graph, panel = copy.deepcopy(graph), panels[index]
    told, drawn = graph[storyboard]["inputs"], graph[sampler]["inputs"]
    written = graph[writer]["inputs"].get("width"), graph[writer]["inputs"].get("height")
    of_bank = panel.identity and drawn.get("bank") is not None and (drawn.get("layout") is None or size == written)
    drawn.pop("layout", None)
    drawn["width"], drawn["height"] = size
    lines = told["script"].splitlines()
    line = lines[panel.line - 1]
    if of_bank:  # it shows the bank's own picture: the bank knows all of them
        told["script"] = "\n".join(
            lines[other.line - 1] if other is panel or other.hidden else f"[hidden] {lines[other.line - 1]}"
            for other in panels
            if other.identity
        )
    else:
        drawn.pop("bank", None)
        seed = drawn["seed"] if drawn.get("seed_mode") == "same" else (drawn["seed"] + index) % 2**64
        told["script"] = line if panel.seed is not None else f"[seed={seed}] {line}"
    if panel.plain:  # what would read the bank is passed by
        patch = drawn["model"][0]
        if graph[patch]["class_type"] == "StoryBoothConsistentAttention":
            drawn["model"] = graph[patch]["inputs"]["model"]
    graph[_LOADED] = _node("StoryBoothLoadIdentityBank", name="")
    _relink(graph, writer, [_LOADED, 0], output=0)
    graph = _closure(graph, [sampler])
    reads = _LOADED in graph
    saved = {"page": [sampler, 0], "format": "png", "filename_prefix": ""}
    graph = _with(graph, SAVED, "StoryBoothSaveComic", **saved)
    return Piece(_with(graph, SEEN, "PreviewAny", source=[sampler, PLACES]) if told_of else graph, reads)


def _closure(graph: Graph, roots: Iterable[str]) -> Graph:
    """The nodes that `roots` need, and these."""
    found: Graph = {}
    waiting = list(roots)
    while waiting:
        key = waiting.pop()
        if key not in found and key in graph:
            found[key] = graph[key]
            waiting += [link[0] for link in graph[key]["inputs"].values() if _is_link(link)]
    return {key: node for key, node in graph.items() if key in found}


def _links(graph: Graph) -> list[Any]:
    return [link for node in graph.values() for link in node["inputs"].values()]


def _relink(graph: Graph, source: str, target: list | str, output: int | None = None) -> None:
    """Let everything that takes `output` of a node (None: any) take `target`."""
    for node in graph.values():
        for name, link in node["inputs"].items():
            if _is_link(link, source) and output in (None, link[1]):
                node["inputs"][name] = target


def _is_link(value: object, source: str | None = None) -> bool:
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
    return is_link and source in (None, value[0])


def _with(graph: Graph, key: str, node_type: str, **inputs: object) -> Graph:
    return {**graph, key: _node(node_type, **inputs)}


def _node(node_type: str, **inputs: object) -> dict:
    return {"class_type": node_type, "inputs": inputs}
