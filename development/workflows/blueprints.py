"""Subgraph blueprints, `subgraphs/*.json`: parts of the SDXL story that users find in ComfyUI's node library.

Drawn as the workflows are: a real canvas makes a subgraph of a story's nodes, and saves it.
"""

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from .graphs import Story


@dataclass(frozen=True)
class Blueprint:
    """A part of a story: `nodes` by their ids, and `shown`, widgets on the subgraph's own node as (node, widget).

    `ends`: what outlets it has beside those that the story's other nodes take, as a node's outputs; `outlets`: what all
    of them are called.
    """

    name: str
    description: str
    nodes: Sequence[str]
    shown: Sequence[tuple[str, str]]
    ends: Sequence[tuple[str, int]]
    outlets: Sequence[str]


BLUEPRINTS = (
    Blueprint(
        "Teach a character",
        "A LoRA learns a character from photos in a folder of ComfyUI's input folder.",
        ("3", "4"),
        (("3", "folder"), ("4", "instance_prompt"), ("4", "lora_name"), ("4", "steps"), ("4", "seed")),
        (("4", 3),),
        ("model", "LoRA name"),
    ),
    Blueprint(
        "Draw a story",
        "A script, one panel a line, becomes a comic page on which the character stays the same.",
        ("5", "6", "7", "8", "9"),
        (("5", "subject"), ("5", "script"), ("5", "style"), ("8", "seed")),
        (("8", 0),),
        ("panels", "page"),
    ),
)

_DRAW = """async ([api, places, chosen, name]) => {
    await app.loadApiJson(api, name);
    const graph = app.rootGraph ?? app.graph;
    for (const node of graph.nodes) if (places[node.id]) {
        node.pos = places[node.id].at;
        node.setSize(places[node.id].size);
        for (const widget of node.widgets ?? []) if (widget.name === "control_after_generate") widget.value = "fixed";
    }
    const { subgraph, node } = graph.convertToSubgraph(new Set(chosen.map((id) => graph.getNodeById(id))));
    subgraph.name = node.title = name;
    // The canvas makes an inlet of every seed, though nothing leads there.
    for (const inlet of subgraph.inputs.filter(({ type }) => type === "INT")) subgraph.removeInput(inlet);
    for (const other of [...graph.nodes]) if (other !== node) graph.remove(other);
    return JSON.stringify(graph.serialize());
}"""


def draw_blueprint(page: Page, blueprint: Blueprint, story: Story) -> dict[str, Any]:
    """Return it as the canvas saves it. `page` shows ComfyUI."""
    api = story.api
    for number, end in enumerate(blueprint.ends):
        api[str(900 + number)] = {"class_type": "PreviewAny", "inputs": {"source": list(end)}}
    places = {key: {"at": node.at, "size": node.size} for key, node in story.nodes.items()}
    drawn = json.loads(page.evaluate(_DRAW, [api, places, [int(key) for key in blueprint.nodes], blueprint.name]))
    (node,) = drawn["nodes"]
    (subgraph,) = drawn["definitions"]["subgraphs"]
    for inner, outer, label in zip(subgraph["outputs"], node["outputs"], blueprint.outlets, strict=True):
        inner["label"] = outer["label"] = label
    kinds = {story.nodes[key].type: key for key in blueprint.nodes}
    found = {kinds[inner["type"]]: str(inner["id"]) for inner in subgraph["nodes"]}
    node |= {"pos": [0, 0], "widgets_values": []}
    node["properties"] = {"proxyWidgets": [[found[key], widget] for key, widget in blueprint.shown]}
    inner = [story.nodes[key] for key in blueprint.nodes]
    top = min(part.at[1] for part in inner)
    subgraph["inputNode"]["bounding"][:2] = min(part.at[0] for part in inner) - 250, top
    subgraph["outputNode"]["bounding"][:2] = max(part.at[0] + part.size[0] for part in inner) + 100, top
    subgraph |= {"category": "StoryBooth", "description": blueprint.description}
    drawn |= {"id": str(uuid.uuid4()), "extra": {}}
    return _with_own_ids(drawn, blueprint.name)


def _with_own_ids(drawn: dict[str, Any], name: str) -> dict[str, Any]:
    """The same with ids that are not others at every run."""
    text = json.dumps(drawn)
    for number, old in enumerate(dict.fromkeys(re.findall(r'"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"', text))):
        text = text.replace(old, str(uuid.uuid5(uuid.NAMESPACE_URL, f"storybooth/{name}/{number}")))
    return json.loads(text)
