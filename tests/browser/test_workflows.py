"""The shipped workflows on the real canvas: they open whole, export their API twin, lie tidy, and draw the page."""

import contextlib
import json
import re
from itertools import combinations
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import TimeoutError, expect

from storybooth.development.canvas import (
    open_canvas,
    settled,
    undo_until,
    wait_for_canvas,
    wait_for_workflow,
    wait_until_stored,
)
from storybooth.workshop import host

FOLDER = "whatever-name"
"""Where tests/conftest.py puts the pack; the template browser lists workflows under it."""

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
MINI, SDXL, TWO = (
    "storybooth_comic_speech_bubbles_mini",
    "storybooth_comic_consistent_character_sdxl",
    "storybooth_two_characters_mini",
)
UPLOADS = "storybooth_comic_photo_uploads_mini"
CAST, CAST_SDXL = "storybooth_comic_cast_mini", "storybooth_comic_cast_sdxl"
ALL = (CAST, CAST_SDXL, SDXL, UPLOADS, MINI, TWO)
GRIDS = ("nupjuki_story_mini", "nupjuki_story_sdxl")
"""For scripts: only in the format of the API."""

MODELS = {
    "sd_xl_base_1.0.safetensors": "checkpoints",
    "sdxl.vae.safetensors": "vae",
}


def read(path):
    return json.loads((WORKFLOWS / path).read_text(encoding="utf-8"))


def open_template(page, name):
    """Choose a workflow in the template browser, on an empty canvas, and wait until it is open and the browser gone."""
    page.evaluate("app.rootGraph.clear()")
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(FOLDER, exact=True).last.click()
    page.get_by_text(name, exact=True).first.click()
    workflow = read(f"{name}.json")
    page.wait_for_function(f"app.rootGraph.nodes.length === {len(workflow['nodes'])}")
    wait_for_workflow(page, name)
    expect(page.get_by_role("dialog").get_by_text(FOLDER, exact=True)).to_have_count(0)
    return workflow


def test_the_template_browser_lists_all_with_thumbnails(comfy):
    assert sorted(comfy.get_json("/api/workflow_templates")[FOLDER]) == list(ALL)
    for name in ALL:
        assert comfy.get(f"/api/workflow_templates/{FOLDER}/{name}.jpg").startswith(b"\xff\xd8\xff")


BLUEPRINTS = {
    "Teach a character": ("lora_name", "somebody"),
    "Draw a story": ("subject", "a sks dog"),
}
"""Each with one of the widgets that its node shows, and a value for it."""

WIRE = """(kinds) => {
    const [node] = app.rootGraph.nodes;
    const loader = LiteGraph.createNode("CheckpointLoaderSimple");
    app.rootGraph.add(loader);
    const found = node.inputs.filter((input) => kinds.includes(input.type));
    for (const input of found) loader.connect(kinds.indexOf(input.type), node, node.inputs.indexOf(input));
    const inlets = node.inputs.filter(({ widget }) => !widget);
    return [inlets.map(({ name }) => name), node.outputs.map(({ label }) => label)];
}"""


def test_a_blueprint_is_in_the_library_and_holds_the_storys_nodes(comfy, page):
    listed = comfy.get_json("/global_subgraphs")
    ours = {entry["name"]: key for key, entry in listed.items() if FOLDER in entry["info"]["node_pack"]}
    assert sorted(ours) == sorted(BLUEPRINTS)
    open_canvas(page, comfy.url)
    story = {node["class_type"]: node["inputs"] for node in read("api/nupjuki_story_sdxl.json").values()}
    for name, (widget, value) in BLUEPRINTS.items():
        content = json.loads(comfy.get_json(f"/global_subgraphs/{ours[name]}")["data"])
        page.evaluate("(content) => app.loadGraphData(content)", content)
        inputs, outputs = page.evaluate(WIRE, ["MODEL", "CLIP", "VAE"])
        assert sorted(inputs) == ["clip", "model", "vae"]
        assert outputs == (["model", "LoRA name"] if name == "Teach a character" else ["panels", "page"])
        page.evaluate(
            "([name, value]) => { app.rootGraph.nodes[0].widgets.find((one) => one.name === name).value = value; }",
            [widget, value],
        )
        exported = page.evaluate("async () => (await app.graphToPrompt()).output")
        nodes = {node["class_type"]: node["inputs"] for node in exported.values()}
        nodes.pop("CheckpointLoaderSimple")
        assert len(nodes) == (2 if name == "Teach a character" else 5)
        for kind, held in nodes.items():
            plain = {key: held[key] for key in held if not isinstance(held[key], list)}
            wanted = {key: story[kind][key] for key in story[kind] if not isinstance(story[kind][key], list)}
            assert plain == wanted | ({widget: value} if widget in wanted else {}), kind
            assert held.keys() == story[kind].keys(), kind


DRAWER = "app.rootGraph.nodes.find(({ title }) => title === 'Draw a story')"
SCRIPT = f"{DRAWER}.widgets.find(({{ name }}) => name === 'script').value"
WIRE_BOTH = f"""(name) => {{
    const loader = LiteGraph.createNode("StoryBoothMiniCheckpoint"), saver = LiteGraph.createNode("SaveImage");
    app.rootGraph.add(loader);
    app.rootGraph.add(saver);
    const teacher = app.rootGraph.nodes.find(({{ title }}) => title === "Teach a character"), drawer = {DRAWER};
    const slot = (slots, kind) => slots.findIndex(({{ type }}) => type === kind);
    const wire = (from, node, kind) => from.connect(slot(from.outputs, kind), node, slot(node.inputs, kind));
    for (const kind of ["MODEL", "CLIP", "VAE"]) wire(loader, teacher, kind);
    for (const kind of ["CLIP", "VAE"]) wire(loader, drawer, kind);
    wire(teacher, drawer, "MODEL");
    drawer.connect(1, saver, 0);
    const set = (node, values) => {{
        for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name];
    }};
    set(teacher, {{ steps: 4, lora_name: name }});
    set(saver, {{ filename_prefix: name }});
    for (const node of teacher.subgraph.nodes) set(node, {{ resolution: 128 }});
    for (const node of drawer.subgraph.nodes) set(node, {{ width: 128, height: 128, steps: 20 }});
}}"""


@pytest.mark.once
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_blueprints_draw_a_page_and_the_board_edits_the_script_outside(comfy, page, nodes2):
    """The canvas makes of the script a widget of the subgraph's own node: the board inside shows and edits that."""
    lines = ["[id] {subject} in a forest # one", "{subject} on a beach # two", "a hill # three"]
    ours = {entry["name"]: key for key, entry in comfy.get_json("/global_subgraphs").items()}
    both, draw = (json.loads(comfy.get_json(f"/global_subgraphs/{ours[name]}")["data"]) for name in BLUEPRINTS)
    (subgraph,) = draw["definitions"]["subgraphs"]
    (storyboard,) = (node for node in subgraph["nodes"] if node["type"] == "StoryBoothStoryboard")
    storyboard["widgets_values"][0] = "\n".join(lines)
    both["nodes"].append(draw["nodes"][0] | {"pos": [400, 0], "id": 902})
    both["last_node_id"] = 902
    both["definitions"]["subgraphs"].append(subgraph)
    name, errors = f"blueprint{nodes2}", []
    page.on("pageerror", lambda error: errors.append(error.stack))
    open_canvas(page, comfy.url, nodes2)
    page.evaluate("(content) => app.loadGraphData(content)", both)
    enter = f"app.canvas.openSubgraph({DRAWER}.subgraph, {DRAWER})"
    page.evaluate(enter)
    row = page.locator(".storybooth-story-row > button")
    expect(row).to_have_count(3)
    page.get_by_role("button", name="Open storyboard").press("Enter")
    page.keyboard.press("Delete")
    page.wait_for_function(f"(text) => {SCRIPT} === text", arg="\n".join(lines[1:]))
    expect(row).to_have_count(2)
    undo_until(page, f"{SCRIPT}.split('\\n').length === 3")
    page.wait_for_function(f"(text) => {SCRIPT} === text", arg="\n".join(lines))
    expect(row).to_have_count(3)
    assert [error for error in errors if FOLDER in error] == []
    if not nodes2:
        return
    page.evaluate(WIRE_BOTH, name)
    page.evaluate("() => { app.api.addEventListener('execution_success', () => (window.finished = true)); }")
    page.locator(".storybooth-board header button", has_text="Run").press("Enter")
    page.wait_for_function("window.finished", timeout=900_000)
    assert len(list((comfy.base / "output").glob(f"{name}_*.png"))) == 1
    expect(row.locator("img")).to_have_count(3)
    expect(page.locator(".storybooth-board output")).to_have_text("Done.")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.evaluate("app.canvas.setGraph(app.rootGraph)")
    page.evaluate(f"(text) => {{ {SCRIPT} = text; }}", lines[0])
    page.evaluate(enter)
    expect(row).to_have_count(1)


def test_no_other_folder_hides_the_workflows():
    """ComfyUI serves the first of these folders that exists as the pack's templates, and no other."""
    others = ("example_workflows", "example", "examples", "workflow")
    assert [name for name in others if (WORKFLOWS.parent / name).exists()] == []


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
@pytest.mark.parametrize("name", ALL)
def test_a_template_opens_whole_and_readable_and_exports_its_api_twin(comfy, canvas, name, nodes2):
    """On a common screen texts are drawn, nothing overlaps, each node lies in one stage, no wire behind a node."""
    page = canvas(nodes2)
    page.set_viewport_size({"width": 1920, "height": 1080})
    workflow = open_template(page, name)
    types = page.evaluate("app.rootGraph.nodes.map((node) => node.type)")
    assert sorted(types) == sorted(node["type"] for node in workflow["nodes"])
    assert [t for t in types if not page.evaluate("(t) => t in LiteGraph.registered_node_types", t)] == []
    exported = page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)")
    assert json.loads(exported) == read(f"api/{name}.json")
    boxes = settled(page, "app.rootGraph.nodes.map((node) => [`${node.id} ${node.type}`, ...node.getBounding()])")
    assert page.evaluate("[app.canvas.low_quality, app.canvas.ds.scale > 0.57]") == [False, True]
    groups = page.evaluate("app.rootGraph.groups.map((group) => [...group.pos, ...group.size])")
    assert len(groups) == len({tuple(group) for group in groups}) > 6
    assert [(a[0], b[0]) for a, b in combinations(boxes, 2) if overlap(a[1:], b[1:])] == []
    assert [box[0] for box in boxes if sum(inside(box[1:], group) for group in groups) != 1] == []
    if not nodes2:  # where the wires' paths can be asked for; nodes and points are at the same places
        assert page.evaluate(Path(__file__).with_name("wires.js").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [*ALL, *GRIDS])
def test_the_api_twin_leaves_nothing_to_defaults(comfy, name):
    twin = read(f"api/{name}.json")
    for key, node in twin.items():
        required = comfy.object_info(node["class_type"])[node["class_type"]]["input"].get("required", {})
        assert required.keys() <= node["inputs"].keys(), key


@pytest.mark.once
def test_templates_are_found_by_what_people_search_for(comfy, page):
    open_canvas(page, comfy.url)
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    search = page.get_by_role("dialog").get_by_placeholder(re.compile("Search")).last
    ours = page.get_by_text(re.compile(f"^({'|'.join(ALL)})$"))
    for word in ("storybooth", "comic", "consistent character", "speech bubble"):
        search.fill("no template is called so, not at all")
        expect(ours).to_have_count(0)  # the list follows a moment after the word
        search.fill(word)
        expect(ours.first).to_be_visible()


APP = {
    MINI: ["folder", "subject", "script"],
    SDXL: ["folder", "subject", "script"],
    CAST: ["folder", "folder", "script"],
    UPLOADS: ["image", "image", "image", "image", "subject", "script"],
}


def enter_app_mode(page):
    """Again where ComfyUI, on a busy machine, has gone back to the graph."""
    button = page.get_by_test_id("linear-run-button")
    for _ in range(5):
        page.evaluate("app.extensionManager.command.execute('Comfy.ToggleLinear')")
        with contextlib.suppress(TimeoutError):
            button.wait_for(timeout=20_000)
            page.wait_for_timeout(1000)
            if button.is_visible():
                return
    expect(button).to_be_visible()


@pytest.mark.once
@pytest.mark.parametrize("name", APP)
def test_app_mode_shows_photos_subject_story_and_run(comfy, page, name):
    if comfy.release == host.OLDEST:
        pytest.skip("App mode stands on Nodes 2.0, which was an experiment there")
    open_canvas(page, comfy.url, nodes2=True)
    workflow = open_template(page, name)
    enter_app_mode(page)
    shown = page.get_by_test_id("app-mode-widget-item").get_by_test_id("builder-widget-label")
    expect(shown).to_have_text(APP[name])
    outputs = [str(node["id"]) for node in workflow["nodes"] if node["type"] in ("SaveImage", "StoryBoothSaveComic")]
    assert set(outputs) <= set(workflow["extra"]["linearData"]["outputs"])


@pytest.mark.once
def test_a_grid_of_equal_panels_is_one_key_away(comfy, page):
    """Ctrl+B on Page Layout takes it out, as the note says: what is queued then has no layout."""
    open_canvas(page, comfy.url)
    open_template(page, MINI)
    page.evaluate("app.canvas.select(app.rootGraph.nodes.find((node) => node.type === 'StoryBoothPageLayout'))")
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Control+b")
    page.wait_for_function("app.rootGraph.nodes.find((node) => node.type === 'StoryBoothPageLayout').mode === 4")
    exported = page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)")
    nodes = json.loads(exported).values()
    assert len(nodes) == len(read(f"api/{MINI}.json")) - 1
    assert [node["class_type"] for node in nodes if "layout" in node["inputs"]] == []


def test_rare_widgets_are_folded_away_and_zeros_say_what_they_mean(comfy, page):
    """On the classic canvas: Show Advanced of the node's menu, and a value that somebody changed, show them."""
    open_canvas(page, comfy.url)
    page.evaluate(
        """() => {
            const node = LiteGraph.createNode("StoryBoothComicPage");
            app.rootGraph.add(node);
            window.comicPage = node;
        }"""
    )
    shown = "comicPage.widgets.filter((widget) => comicPage.isWidgetVisible(widget)).map((widget) => widget.name)"
    assert page.evaluate(shown) == ["columns", "caption_place", "font"]
    size = "comicPage.widgets.find((widget) => widget.name === 'caption_size')"
    assert page.evaluate(f"{size}._displayValue") == "auto"
    folded = page.evaluate("comicPage.computeSize()[1]")
    page.evaluate("comicPage.toggleAdvanced()")
    assert page.evaluate(shown) == ["columns", "gutter", "caption_place", "caption_size", "font"]
    assert page.evaluate("comicPage.computeSize()[1]") > folded
    page.evaluate("comicPage.toggleAdvanced()")
    page.evaluate(f"{size}.value = 20")
    page.evaluate("app.loadGraphData(app.rootGraph.serialize())")
    page.evaluate("window.comicPage = app.rootGraph.nodes.find(({ type }) => type === 'StoryBoothComicPage')")
    assert page.evaluate(shown) == ["columns", "gutter", "caption_place", "caption_size", "font"]
    assert page.evaluate(f"{size}._displayValue") == "20"


def overlap(a, b):
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def inside(box, group):
    x, y, width, height = group
    return x <= box[0] and y <= box[1] and box[0] + box[2] <= x + width and box[1] + box[3] <= y + height


@pytest.mark.once
def test_the_canvas_offers_the_models_that_sdxl_needs(comfy, page):
    open_canvas(page, comfy.url)
    workflow = open_template(page, SDXL)
    offered = [model for node in workflow["nodes"] for model in node["properties"].get("models", [])]
    assert {model["name"]: model["directory"] for model in offered} == MODELS
    assert [m for m in offered if not m["url"].startswith("https://huggingface.co/") or m["name"] not in m["url"]] == []
    page.get_by_text("View details").click()
    for name in MODELS:
        expect(page.get_by_text(name).first).to_be_visible()
    expect(page.get_by_text("Download", exact=True)).to_have_count(len(MODELS))


@pytest.mark.parametrize(
    ("name", "nodes2", "changes"),
    [
        pytest.param(MINI, False, {}, marks=pytest.mark.once),
        (MINI, False, {"lora_name": "classic", "seed": 43, "steps": 4}),
        (MINI, True, {"lora_name": "nodes2", "seed": 44, "steps": 4}),
        (CAST, True, {"steps": 4}),
    ],
    ids=["as shipped", "classic", "nodes2", "cast"],
)
def test_run_draws_the_page_and_fills_the_strip(comfy, page, name, nodes2, changes):
    """As shipped, then with other panels: what comes from ComfyUI's cache is not shown again. Then the story of two."""
    open_canvas(page, comfy.url, nodes2)
    open_template(page, name)
    page.evaluate(
        """(changes) => {
            for (const { widgets, type } of app.rootGraph.nodes)
                for (const widget of widgets ?? [])
                    if (type.startsWith("StoryBooth") && widget.name in changes)
                        widget.value = changes[widget.name];
        }""",
        changes,
    )
    page.evaluate("() => { app.api.addEventListener('execution_success', () => (window.finished = true)); }")
    page.get_by_test_id("queue-button").click()
    page.wait_for_function("window.finished", timeout=900_000)
    assert list((comfy.base / "output" / "storybooth").glob(f"{name}_*.png"))
    pictures = page.locator(".storybooth-strip a")
    titles = [f"{index}. {caption}" for index, caption in enumerate(captions_of_the_story(name), start=1)]
    expect(pictures).to_have_count(len(titles))
    for place, title in enumerate(titles):
        expect(pictures.nth(place)).to_have_attribute("title", title)
    (last,) = parse_qs(urlsplit(pictures.last.get_attribute("href")).query)["filename"]
    wait_until_stored(page, last)
    page.reload()
    wait_for_canvas(page)
    expect(pictures).to_have_count(len(titles))
    page.wait_for_function(
        "() => [...document.querySelectorAll('.storybooth-strip img')].every((image) => image.naturalWidth > 64)"
    )


def captions_of_the_story(name):
    """The captions of the shipped script's lines that are shown, read without the pack's parser."""
    (node,) = (node for node in read(f"api/{name}.json").values() if node["class_type"] == "StoryBoothStoryboard")
    lines = node["inputs"]["script"].splitlines()
    return [line.split(" # ")[1].strip() for line in lines if "[hidden]" not in line]
