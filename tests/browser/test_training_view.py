"""The training view on the trainer's node, in the classic canvas and in Nodes 2.0."""

import json

import pytest
import safetensors
from playwright.sync_api import expect

from storybooth.development.canvas import open_canvas, open_graph, wait_for_canvas, wait_for_frames, wait_until_stored
from storybooth.tests.host import story

modes = pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])

LONG = 100_000
"""Steps that take longer than any canvas needs to be there again."""

NODE = "app.rootGraph.getNodeById('trainer')"
TITLE, BUTTON = ".storybooth-training strong", "Stop and keep"


@pytest.fixture
def graph(comfy):
    """Training alone, of LONG steps."""
    story.upload_photos(comfy, "view")
    nodes = {key: node for key, node in story.graph("view", "view").items() if key in ("mini", "photos", "trainer")}
    nodes["trainer"]["inputs"]["steps"] = LONG
    nodes["name"] = {"class_type": "PreviewAny", "inputs": {"source": ["trainer", 3]}}
    return nodes


def show(comfy, page, graph, nodes2=False):
    open_canvas(page, comfy.url, nodes2)
    load(page, graph)


def load(page, graph):
    open_graph(page, graph, "training")
    page.evaluate(f"app.canvas.ds.scale = 1; app.canvas.centerOnNode({NODE})")
    return page


def queue(page):
    page.evaluate("async () => { await app.queuePrompt(0, 1); }")


def send(page, **detail):
    """What the server sends while it trains."""
    page.evaluate("(detail) => app.api.dispatchCustomEvent('storybooth.training', detail)", state(**detail))


def state(**values):
    curve = {"step": 2, "loss": 0.3, "smoothed": 0.4, "top": 0.6, "raw": [[1, 0.5], [2, 0.3]]}
    curve["smooth"] = curve["raw"]
    whole = {"node": "trainer", "prompt_id": "p", "lora_name": "view", "steps": 10, "running": True, "curve": curve}
    return whole | {"rate": 1e-4, "memory": [2**30, 2**31], "left": "00:09", "note": "", "pictures": []} | values


def widget(page, name, node=NODE):
    return page.evaluate(f"{node}.widgets.find((widget) => widget.name === '{name}').value")


def wait_for_steps(page, steps, node=NODE):
    """Wait until the widget says so: the canvas hears of the end of a run after the view does."""
    page.wait_for_function(f"{node}.widgets.find((widget) => widget.name === 'steps').value === {steps}")


@modes
def test_the_curve_fills_survives_a_reload_and_stops_with_what_was_learned(comfy, page, graph, nodes2):
    name = f"stopped-{nodes2}"
    graph["trainer"]["inputs"]["lora_name"] = name
    show(comfy, page, graph, nodes2)
    wait_until_stored(page, name)
    queue(page)
    expect(page.locator(TITLE)).to_contain_text(f"of {LONG}, ")
    page.reload()
    wait_for_canvas(page)
    expect(page.locator(TITLE)).to_contain_text(f"of {LONG}, ")
    page.evaluate(f"app.canvas.ds.scale = 1; app.canvas.centerOnNode({NODE})")
    page.get_by_text(BUTTON, exact=True).click()
    expect(page.locator(TITLE)).to_contain_text("Stopped after step")
    expect(page.get_by_text(BUTTON, exact=True)).to_be_hidden()
    page.wait_for_function("document.querySelector('.storybooth-training img')?.naturalWidth === 1280")  # the report
    step = int(page.locator(TITLE).inner_text().split()[3])
    wait_for_steps(page, step)  # the node asks for what it has learned
    with safetensors.safe_open(comfy.base / "models" / "loras" / f"{name}.safetensors", "pt") as file:
        assert len(json.loads(file.metadata()["storybooth_losses"])) == step

    queue(page)
    expect(page.locator(TITLE)).to_have_text(f"{step} steps done")
    expect(page.locator(".storybooth-training a")).to_have_attribute("title", "report")
    wait_until_stored(page, page.evaluate(f"{NODE}.properties.storybooth_training.pictures.at(-1).image.filename"))
    page.reload()
    wait_for_canvas(page)
    expect(page.locator(TITLE)).to_have_text(f"{step} steps done")
    expect(page.locator(".storybooth-training a")).to_have_attribute("title", "report")


@pytest.mark.once
@modes
def test_a_trainer_inside_a_subgraph_shows_its_curve_and_can_be_stopped(comfy, page, graph, nodes2):
    graph["trainer"]["inputs"]["lora_name"] = f"inside-{nodes2}"
    show(comfy, page, graph, nodes2)
    page.evaluate(f"""() => {{
        const made = app.rootGraph.convertToSubgraph(new Set([{NODE}]));
        app.canvas.openSubgraph(made.subgraph, made.node);
        app.canvas.centerOnNode(made.subgraph.nodes[0]);
    }}""")
    queue(page)
    page.get_by_text(BUTTON, exact=True).click()
    expect(page.locator(TITLE)).to_contain_text("Stopped after step")
    expect(page.locator(".storybooth-training a")).to_have_attribute("title", "report")
    step = int(page.locator(TITLE).inner_text().split()[3])
    wait_for_steps(page, step, "app.canvas.graph.nodes[0]")


@pytest.mark.once
@modes
def test_every_message_is_shown(canvas, graph, nodes2):
    page = load(canvas(nodes2), graph)
    view = page.locator(".storybooth-training")
    expect(view).to_have_text("The loss curve appears here while the LoRA is trained.")
    send(page, note="No checkpoint: <b>full</b>")
    expect(page.locator(TITLE)).to_have_text("Step 2 of 10, 00:09 left")
    expect(view).to_contain_text("loss 0.300, smoothed 0.400 · learning rate 0.0001 · memory 1.0 of 2.0 GB")
    expect(view).to_contain_text("No checkpoint: <b>full</b>")
    expect(view.locator("svg")).to_have_attribute("aria-label", "Loss over 2 of 10 steps, now about 0.40")
    lines = [line.get_attribute("points") for line in view.locator("polyline").all()]
    assert [[float(place.split(",")[0]) for place in line.split()] for line in lines] == [
        [0, pytest.approx(11.1, 0.01)]
    ] * 2
    send(page, running=False)
    expect(page.locator(TITLE)).to_have_text("Stopped after step 2 of 10")
    send(page, steps=2, running=False)
    expect(page.locator(TITLE)).to_have_text("2 steps done")
    send(page, curve=None)
    expect(view).to_contain_text("The first step is on its way.")


@pytest.mark.once
def test_a_lost_server_cannot_be_told_to_stop(comfy, page, graph):
    show(comfy, page, graph)
    send(page)
    button = page.get_by_text(BUTTON, exact=True)
    expect(button).to_be_visible()
    page.evaluate("app.api.dispatchCustomEvent('reconnecting')")
    expect(button).to_be_hidden()
    send(page)
    button.click()  # of a run that the server does not have
    expect(button).to_be_hidden()


@pytest.mark.once
def test_messages_of_another_training_are_not_shown(canvas, graph):
    other = {**graph["trainer"], "inputs": {**graph["trainer"]["inputs"], "lora_name": "o"}}
    page = load(canvas(), {**graph, "other": other})
    send(page, lora_name="of a workflow in another tab")
    send(page, node="nobody")
    expect(page.locator(TITLE)).to_have_count(2)
    assert not any(page.locator(TITLE).nth(index).is_visible() for index in range(2))
    send(page, node="other", lora_name="o")
    expect(page.locator(TITLE).filter(has_text="Step 2")).to_have_count(1)


@pytest.mark.once
def test_the_view_takes_part_in_neither_prompt_nor_widget_values(canvas, graph):
    page = load(canvas(), graph)
    send(page)
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output.trainer")
    assert prompt["inputs"].keys() == graph["trainer"]["inputs"].keys() | {"sample_every", "preset"}
    saved = page.evaluate(f"{NODE}.serialize().widgets_values")
    assert saved[-3:] == ["view", 0, "as the report"], "the LoRA's name, sample_every and preset are the last"


@pytest.mark.once
def test_progress_texts_are_written_into_the_view(canvas, graph):
    """ComfyUI would add a widget for them, which makes the node taller."""
    page = load(canvas(), graph)
    wait_for_frames(page)  # the canvas gives a node the height that it needs when it draws it
    before = page.evaluate(f"[{NODE}.widgets.length, {NODE}.size[1]]")
    graph_text = "encoding image 1 of 2"
    page.evaluate(
        f"(text) => {{ {NODE}.widgets.find((w) => w.name === '$$node-text-preview').value = text; }}", graph_text
    )
    expect(page.locator(".storybooth-training")).to_have_text(graph_text)
    wait_for_frames(page)
    assert page.evaluate(f"[{NODE}.widgets.length, {NODE}.size[1]]") == before


@pytest.mark.once
def test_a_removed_trainer_is_forgotten(comfy, page, graph):
    show(comfy, page, graph)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.evaluate(f"app.rootGraph.remove({NODE})")
    send(page)
    expect(page.locator(".storybooth-training")).to_have_count(0)
    assert errors == []
