"""The templates on the real canvas: every node is there, and what the canvas exports is the API twin."""

import json

import pytest

from storybooth.workshop import ROOT
from storybooth.workshop.canvas import open_canvas

STORIES = [path.stem for path in sorted((ROOT / "workflows").glob("*.json"))]

_EXPORT = """async (workflow) => {
    await app.loadGraphData(workflow);
    const types = app.graph.nodes.filter((node) => !node.isVirtualNode).map((node) => node.type);
    const missing = types.filter((type) => !LiteGraph.registered_node_types[type]);
    return { missing, prompt: (await app.graphToPrompt()).output };
}"""


def test_both_stories_ship():
    assert STORIES == ["nupjuki_story_mini", "nupjuki_story_sdxl"]


@pytest.mark.parametrize("nodes2", [False, True])
@pytest.mark.parametrize("story", STORIES)
def test_the_canvas_exports_the_api_twin(comfy, page, story, nodes2):
    open_canvas(page, comfy.url, nodes2)
    workflow = json.loads((ROOT / "workflows" / f"{story}.json").read_text(encoding="utf-8"))
    exported = page.evaluate(_EXPORT, workflow)
    assert exported["missing"] == []
    nodes = {
        key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in exported["prompt"].items()
    }
    twin = json.loads((ROOT / "workflows" / "api" / f"{story}.json").read_text(encoding="utf-8"))
    assert nodes == {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in twin.items()}
