"""The panel strip on the Story Panel Sampler's node, in the classic canvas and in Nodes 2.0."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from storybooth.development.canvas import (
    open_canvas,
    open_graph,
    settled,
    wait_for_canvas,
    wait_for_frames,
    wait_until_stored,
)
from storybooth.tests.host import story
from storybooth.workshop import host

FRAME = ".storybooth-frame:has(.storybooth-strip)"
HEIGHT = f"document.querySelector('{FRAME}').getBoundingClientRect().height"
CAPTIONS = ["1. walking", "Panel 2", "3. at sea"]

modes = pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])


@pytest.fixture
def graph(comfy):
    """A story of three panels that takes seconds."""
    story.upload_photos(comfy, "strip")
    return story.graph("strip", "strip")


def show(comfy, page, graph, nodes2=False):
    open_canvas(page, comfy.url, nodes2)
    load(page, graph)


def load(page, graph):
    open_graph(page, graph, "story")
    return page


def run(page):
    """Queue what is on the canvas and wait for its end."""
    page.evaluate("""async () => {
        window.finished = false;
        for (const end of ["execution_success", "execution_error"])
            app.api.addEventListener(end, () => { window.finished = true; }, { once: true });
        await app.queuePrompt(0, 1);
    }""")
    page.wait_for_function("window.finished", timeout=600_000)


def send(page, **detail):
    """What the server sends while panels are drawn."""
    page.evaluate("(detail) => app.api.dispatchCustomEvent('storybooth.panel', detail)", detail)


def expect_titles(pictures, titles):
    """Wait until there are these pictures."""
    expect(pictures).to_have_count(len(titles))
    for place, title in enumerate(titles):
        expect(pictures.nth(place)).to_have_attribute("title", title)


@modes
def test_panels_appear_and_survive_a_reload_but_not_the_loss_of_their_files(comfy, page, graph, nodes2):
    show(comfy, page, graph, nodes2)
    run(page)
    pictures = page.locator(".storybooth-strip a")
    expect_titles(pictures, CAPTIONS)
    (last,) = parse_qs(urlsplit(pictures.last.get_attribute("href")).query)["filename"]
    wait_until_stored(page, last)
    page.reload()
    wait_for_canvas(page)
    expect_titles(pictures, CAPTIONS)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.storybooth-strip img')].every((image) => image.naturalWidth === 64)"
    )
    page.evaluate("app.canvas.ds.scale = 1; app.canvas.centerOnNode(app.rootGraph.getNodeById('panels'))")
    with page.expect_popup() as opened:
        pictures.first.click()
    opened.value.wait_for_url("**/*filename=storybooth_*")

    page.route("**/view?*", lambda route: route.fulfill(status=404))  # what a restart of the server leaves
    page.reload()
    wait_for_canvas(page)
    expect(page.locator(".storybooth-strip span", has_text="gone")).to_have_count(3)
    expect(page.locator(".storybooth-strip img")).to_have_count(0)


@pytest.mark.once
@modes
def test_slots_fill_one_by_one(comfy, page, graph, nodes2):
    show(comfy, page, graph, nodes2)
    run(page)
    expect(page.locator(".storybooth-strip a")).to_have_count(3)
    image = page.evaluate("app.rootGraph.getNodeById('panels').properties.storybooth_panels.panels[0].image")
    pictures, slots = page.locator(".storybooth-strip a"), page.locator(".storybooth-strip > *")
    send(page, node="panels", index=None, total=4, caption="", image=None)
    expect(slots).to_have_count(4)
    expect(pictures).to_have_count(0)
    send(page, node="panels", index=2, total=4, caption="<b>third</b>", image=image)
    expect(slots).to_have_text(["1", "2", "", "4"])
    expect_titles(pictures, ["3. <b>third</b>"])
    expect(pictures.locator("img")).to_have_attribute("alt", "3. <b>third</b>")
    page.evaluate("app.canvas.ds.scale = 1; app.canvas.centerOnNode(app.rootGraph.getNodeById('panels'))")
    expect(pictures).to_be_visible()
    pictures.focus()
    assert page.evaluate("document.activeElement.title") == "3. <b>third</b>"
    send(page, node="panels", index=1, total=4, caption="", image=image)
    expect(pictures).to_have_count(2)
    assert page.evaluate("document.activeElement.title") == "3. <b>third</b>"


@pytest.mark.once
def test_the_strip_takes_part_in_neither_prompt_nor_widget_values(canvas, graph):
    page = load(canvas(), graph)
    run(page)
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output.panels")
    assert prompt["inputs"].keys() == {*graph["panels"]["inputs"], "at_once"}  # which the graph leaves to its default
    node = "app.rootGraph.getNodeById('panels')"
    widgets, saved = page.evaluate(f"[{node}.widgets.length, {node}.serialize().widgets_values.length]")
    assert saved == widgets - 1


@pytest.mark.once
def test_each_sampler_has_its_own_strip(canvas, graph):
    page = load(canvas(), {**graph, "others": graph["panels"]})
    image = {"filename": "none.png", "subfolder": "", "type": "temp"}
    send(page, node="others", index=None, total=5, caption="", image=None)
    send(page, node="panels", index=None, total=2, caption="", image=None)
    send(page, node="nobody", index=0, total=1, caption="", image=image)
    for slots in (2, 5):
        expect(page.locator(f".storybooth-strip:has(> span:nth-child({slots}):last-child)")).to_have_count(1)


@pytest.mark.once
@modes
def test_the_properties_panel_leaves_the_strip_where_and_as_large_as_it_was(comfy, page, graph, nodes2):
    show(comfy, page, graph, nodes2)
    node = "app.rootGraph.getNodeById('panels')"
    page.evaluate(f"{node}.setSize([420, 900]); app.canvas.centerOnNode({node}); app.canvas.ds.scale = 1")
    expect(page.locator(FRAME)).to_be_visible()
    height = settled(page, HEIGHT)
    assert height > 300
    page.evaluate(f"app.canvas.selectNode({node})")
    toggle, label = page.get_by_label("Toggle properties panel"), page.get_by_text("scheduler")
    settled(page, "document.body.innerText.split('scheduler').length")  # Nodes 2.0 shows labels a moment later
    before = label.count()
    toggle.first.click()
    expect(label).not_to_have_count(before)
    expect(page.get_by_text("storybooth_panels")).to_have_count(0)
    toggle.last.click()
    expect(label).to_have_count(before)
    assert settled(page, HEIGHT) == height


@pytest.mark.once
@modes
def test_the_last_blurry_preview_goes_when_the_panels_are_there(canvas, graph, nodes2):
    page = load(canvas(nodes2), graph)
    page.evaluate("app.canvas.ds.scale = 1; app.canvas.centerOnNode(app.rootGraph.getNodeById('panels'))")
    page.evaluate("""async () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
        const blob = await new Promise((take) => canvas.toBlob(take));
        const ids = { nodeId: "panels", displayNodeId: "panels", realNodeId: "panels", parentNodeId: "panels" };
        app.api.dispatchCustomEvent("b_preview_with_metadata", { blob, jobId: "j", promptId: "j", ...ids });
    }""")
    previewed = "!!app.nodePreviewImages['panels']"
    page.wait_for_function(previewed)
    if not nodes2:
        page.wait_for_function("""() => {
            app.canvas.setDirty(true, true);
            return app.rootGraph.getNodeById('panels').widgets.some((widget) => widget.name.startsWith('$$'));
        }""")
    image = {"filename": "none.png", "subfolder": "", "type": "temp"}
    output = {"storybooth_panels": [{"index": 0, "total": 1, "caption": "", "image": image}]}
    page.evaluate("(output) => app.api.dispatchCustomEvent('executed', { node: 'panels', output })", output)
    page.wait_for_function(f"!({previewed})")
    wait_for_frames(page)  # the canvas would put the preview back when it draws
    assert not page.evaluate("app.rootGraph.getNodeById('panels').widgets.some((w) => w.name.startsWith('$$'))")


def test_a_run_that_was_cached_is_shown_again(comfy, page, graph):
    if comfy.release == host.OLDEST:
        pytest.skip("this ComfyUI tells the canvas nothing of nodes that it took from its cache")
    for _ in range(2):  # a page that remembers nothing each time
        show(comfy, page, graph)
        run(page)
        expect_titles(page.locator(".storybooth-strip a"), CAPTIONS)
        expect(page.locator(".storybooth-training strong")).to_have_text("2 steps done")


@pytest.mark.once
@modes
def test_a_sampler_inside_a_subgraph_shows_its_panels(comfy, page, graph, nodes2):
    show(comfy, page, graph, nodes2)
    page.evaluate("""() => {
        const made = app.rootGraph.convertToSubgraph(new Set([app.rootGraph.getNodeById("panels")]));
        app.canvas.openSubgraph(made.subgraph, made.node);
    }""")
    run(page)
    expect(page.locator(".storybooth-strip a")).to_have_count(3)


@pytest.mark.once
@pytest.mark.parametrize(
    ("remembered", "slots"),
    [
        ({"total": 1e9, "panels": [{"index": 0, "image": {"filename": "<img src=x onerror=alert(1)>.png"}}]}, 1000),
        ({"total": -3, "panels": "none"}, 0),
        ({"total": "two", "panels": [None, 7, {}]}, 0),
    ],
)
def test_whatever_a_workflow_from_elsewhere_remembers_loads(canvas, graph, remembered, slots):
    page = load(canvas(), graph)
    page.evaluate(
        """(remembered) => {
            const workflow = app.rootGraph.serialize();
            for (const node of workflow.nodes) node.properties.storybooth_panels = remembered;
            return app.loadGraphData(workflow);
        }""",
        remembered,
    )
    strip = page.locator(".storybooth-strip")
    expect(strip.locator("> :not(p)")).to_have_count(slots)
    expect(strip.locator("img[src='x']")).to_have_count(0)
    image = {"filename": "none.png", "subfolder": "", "type": "temp"}
    send(page, node="panels", index=1, total=2, caption="", image=image)
    expect(strip.locator("> *")).to_have_count(2)


@pytest.mark.once
def test_a_removed_sampler_is_forgotten(comfy, page, graph):
    show(comfy, page, graph)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.evaluate("app.rootGraph.remove(app.rootGraph.getNodeById('panels'))")
    send(page, node="panels", index=None, total=2, caption="", image=None)
    expect(page.locator(".storybooth-strip")).to_have_count(0)
    assert errors == []
