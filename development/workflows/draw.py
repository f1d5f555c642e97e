"""Draw the workflows that ship with the pack: `workflows/*.json`, API twins, thumbnails; three pictures of `docs/`.

    .dev/env/bin/python development/workflows/draw.py [name ...]

The graphs are written down here once. A real canvas turns them into both formats, so each is exactly what ComfyUI
itself would save; then it runs the Mini story for the pictures. Subgraph blueprints, `subgraphs/*.json`, come last. Run
this after an input was added to a node or Mini learned something, look at the result, and commit it.
"""

# ruff: noqa: E402
import io
import json
import runpy
import sys
import tempfile
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

runpy.run_path(str(Path(__file__).resolve().parents[2] / "workshop" / "load_pack.py"))

from storybooth.comic.stories import NUPJUKI_ROWS, SUBJECT
from storybooth.development import browser
from storybooth.development.canvas import open_canvas
from storybooth.development.workflows.blueprints import BLUEPRINTS, draw_blueprint
from storybooth.development.workflows.cast_story import cast_story
from storybooth.development.workflows.graphs import App, Node, Stage, Story
from storybooth.development.workflows.photos_as_uploads import UPLOADS, photos_as_uploads
from storybooth.development.workflows.two_characters import TWO_CHARACTERS
from storybooth.workshop import ROOT, host
from storybooth.workshop.client import Graph
from storybooth.workshop.server import Server, install_pack, serve

WORKFLOWS, SUBGRAPHS = ROOT / "workflows", ROOT / "subgraphs"
CANVAS, PAGE, BOARD = (ROOT / "docs" / f"{name}.jpg" for name in ("canvas", "page", "board"))

_ADDRESS = "https://huggingface.co/{repository}/resolve/main/{name}"
_CHECKPOINT = {
    "name": "sd_xl_base_1.0.safetensors",
    "url": _ADDRESS.format(repository="stabilityai/stable-diffusion-xl-base-1.0", name="sd_xl_base_1.0.safetensors"),
    "directory": "checkpoints",
}
_VAE = {  # fp16-fix is in the repository's name, not in the file's
    "name": "sdxl.vae.safetensors",
    "url": _ADDRESS.format(repository="madebyollin/sdxl-vae-fp16-fix", name="sdxl.vae.safetensors"),
    "directory": "vae",
}

_SAMPLES = "storybooth samples/blue_plush"

# Columns and rows, so tight that the canvas opens the whole at a zoom that shows its texts: below 57 % it draws none.
# Wires run in the gaps between columns (their middles are GAPS), and in the lanes over and between the two rows.
_COLUMNS = (0, 300, 710, 1040, 1350, 1740)
_WIDTHS = (250, 360, 280, 260, 340, 320)
_GAPS = (275, 685, 1015, 1325, 1715, 2085)
_ROW, _TOP, _BOTTOM = 585, 450, 1220  # where the lower row begins, where the upper one ends, and all
_SKY = (-36, -44)  # lanes over the upper row
_LANES = (474, 482, 490)  # between the rows: a bank's, a model's, a VAE's


def _box(column: int, top: int, bottom: int) -> tuple[int, int, int, int]:
    """The stage around the nodes of a column that lie from `top` to `bottom`."""
    return _COLUMNS[column] - 15, top - 85, _WIDTHS[column] + 30, bottom - top + 100


def _story(
    name: str, sources: dict[str, Node], model: str, vae: list[Any], sentences: dict[str, str], **settings: Any
) -> Story:
    """The story's graph. `sources` hand out model, CLIP and VAE; `settings` are what stories differ in."""
    text = [model, 1]
    size = {"width": settings["size"], "height": settings["size"]}
    sampling = {**size, "steps": settings["steps"]}
    schedule = {
        "start_step": settings["start_step"],
        "switch_step": settings["switch_step"],
    }
    subject = ["12", 0]
    nodes = {
        **sources,
        "12": Node(
            "PrimitiveString", (0, 750), (250, 60), {"value": SUBJECT}, title="Subject", labels={"value": "subject"}
        ),
        "3": Node("StoryBoothSubjectImages", (0, 865), (250, _BOTTOM - 865), {"folder": _SAMPLES}),
        "4": Node(
            "StoryBoothLoraTrainer",
            (_COLUMNS[1], _ROW),
            (_WIDTHS[1], _BOTTOM - _ROW),
            {"model": [model, 0], "clip": text, "vae": vae, "images": ["3", 0], "captions": ["3", 1]}
            | {"instance_prompt": subject}
            | settings["training"],
        ),
        "5": Node(
            "StoryBoothStoryboard",
            (_COLUMNS[1], 0),
            (_WIDTHS[1], _TOP),
            {"clip": text, "subject": subject, "style": "comic book"},
        ),
        "11": Node(
            "StoryBoothPageLayout", (_COLUMNS[2], 0), (_WIDTHS[2], _TOP), {"storyboard": ["5", 0], "rows": NUPJUKI_ROWS}
        ),
        "6": Node(
            "StoryBoothIdentityBankWriter",
            (_COLUMNS[2], _ROW),
            (_WIDTHS[2], _BOTTOM - _ROW),
            {"model": ["4", 0], "storyboard": ["5", 0], **sampling, **schedule},
            via={"storyboard": ((_GAPS[1], 300), (_GAPS[1], 540))},
        ),
        "7": Node(
            "StoryBoothConsistentAttention",
            (_COLUMNS[3], _ROW),
            (_WIDTHS[3], 360),
            {"model": ["4", 0], "bank": ["6", 0], **schedule},
            via={"model": ((_GAPS[1], _LANES[1]), (_GAPS[2], _LANES[1]))},
        ),
        "8": Node(
            "StoryBoothPanelSampler",
            (_COLUMNS[4], 0),
            (_WIDTHS[4], _BOTTOM),
            {"model": ["7", 0], "storyboard": ["5", 0], "vae": vae, "bank": ["6", 0], "layout": ["11", 0], **sampling},
            via={
                "model": ((_GAPS[3], 460), (_GAPS[3], 200)),
                "storyboard": ((_GAPS[1], _SKY[0]), (_GAPS[3], _SKY[0])),
                "vae": ((_GAPS[0], _LANES[2]), (_GAPS[2] + 20, _LANES[2])),
                "bank": ((_GAPS[2], _LANES[0]),),
            },
        ),
        "9": Node(
            "StoryBoothComicPage",
            (_COLUMNS[5], 0),
            (_WIDTHS[5], 240),
            {"images": ["8", 0], "storyboard": ["5", 0], "layout": ["11", 0], "places": ["8", 2]},
            via={
                "storyboard": ((_GAPS[1], _SKY[0]), (_GAPS[3], _SKY[0]), (_GAPS[4], _SKY[0])),
                "layout": ((_GAPS[2], _SKY[1]), (_GAPS[4], _SKY[1])),
            },
        ),
        "10": Node(
            "SaveImage",
            (_COLUMNS[5], 360),
            (_WIDTHS[5], _BOTTOM - 360),
            {"images": ["9", 0], "filename_prefix": f"storybooth/{name}"},
            via={"images": ((_GAPS[5], 20), (_GAPS[5], 300), (_GAPS[4], 300))},
        ),
    }
    stages = (
        Stage("1 Character", sentences["character"], _box(0, 0, _BOTTOM), "green"),
        Stage("2 Learn", sentences["learn"], _box(1, _ROW, _BOTTOM), "yellow"),
        Stage("3 Story", sentences["story"], _box(1, 0, _TOP), "pale_blue"),
        Stage("4 Layout", sentences["layout"], _box(2, 0, _TOP), "cyan"),
        Stage("5 Identity", sentences["identity"], _box(2, _ROW, _BOTTOM), "purple"),
        Stage("6 Consistency", sentences["consistency"], _box(3, _ROW, _BOTTOM), "brown"),
        Stage("7 Panels", sentences["panels"], _box(4, 0, _BOTTOM), "blue"),
        Stage("8 Page", sentences["page"], _box(5, 0, _BOTTOM), "red"),
    )
    app = App((("3", "folder", None), ("12", "value", None), ("5", "script", 420)), ("10",))
    return Story(name, nodes, stages, (0, 0, 250, 400), app)


# Bold, not code: Nodes 2.0 shows code in blue on blue.
_SENTENCES = {
    "character": "Photos of one character, in a folder of ComfyUI's **input** folder, and a name for it: a rare word "
    "and what it is.",
    "learn": "A LoRA learns how the character looks.",
    "story": "One panel a line: what it shows, **@who: what is said**, then **#** and its caption. **{subject}** "
    "stands for the character.",
    "layout": "Where panels lie. **Ctrl+B** here, and the page is a grid of equal panels.",
    "identity": "The **[id]** lines are drawn together, and the bank keeps what makes their character the same.",
    "consistency": "From here on, the model looks at the bank while it draws.",
    "panels": "Every line becomes a panel, **[plain]** ones without the bank.",
    "page": "Panels, bubbles and captions on one page, saved in the **output** folder.",
}

STORIES = (
    _story(
        "storybooth_comic_speech_bubbles_mini",
        {"1": Node("StoryBoothMiniCheckpoint", (0, 450), (250, 100))},
        model="1",
        vae=["1", 2],
        sentences=_SENTENCES
        | {
            "character": "A tiny model that draws **a small, simple world**, photos of one toy, and its name: a rare "
            "word and what it is. Drop photos of your own on **Load Subject Images**.",
        },
        size=192,
        steps=10,
        start_step=1,
        switch_step=4,
        training={
            "steps": 30,
            "learning_rate": 1e-3,
            "resolution": 128,
            "gradient_checkpointing": False,
            "lora_name": "nupjuki_mini_%digest%",
        },
    ),
    _story(
        "storybooth_comic_consistent_character_sdxl",
        {
            "1": Node(
                "CheckpointLoaderSimple", (0, 450), (250, 100), {"ckpt_name": _CHECKPOINT["name"]}, model=_CHECKPOINT
            ),
            "2": Node("VAELoader", (0, 630), (250, 60), {"vae_name": _VAE["name"]}, model=_VAE),
        },
        model="1",
        vae=["2", 0],
        sentences=_SENTENCES
        | {
            "character": "SDXL, a VAE that works in half precision, photos of one character (drop yours on **Load "
            "Subject Images**, which begins with samples), and a name for it: a rare word and what it is.",
        },
        size=1024,
        steps=50,
        start_step=5,
        switch_step=20,
        training={"lora_name": "nupjuki_%digest%"},
    ),
    TWO_CHARACTERS,
    cast_story(
        "storybooth_comic_cast_mini",
        {"1": Node("StoryBoothMiniCheckpoint", (0, 375), (250, 80))},
        vae=["1", 2],
        folders=("storybooth samples/blue_plush", "storybooth samples/red_robot"),
        sentences={"characters": "A tiny model that comes with StoryBooth, and photos of two toys."},
        size=192,
        steps=10,
        start_step=1,
        switch_step=4,
        training={"steps": 30, "learning_rate": 1e-3, "resolution": 128, "gradient_checkpointing": False},
    ),
    cast_story(
        "storybooth_comic_cast_sdxl",
        {
            "1": Node(
                "CheckpointLoaderSimple", (0, 375), (250, 80), {"ckpt_name": _CHECKPOINT["name"]}, model=_CHECKPOINT
            ),
            "2": Node("VAELoader", (0, 535), (250, 60), {"vae_name": _VAE["name"]}, model=_VAE),
        },
        vae=["2", 0],
        folders=("storybooth samples/blue_plush", "storybooth samples/red_robot"),
        sentences={},
        size=1024,
        steps=50,
        start_step=5,
        switch_step=20,
        training={},
    ),
)
STORIES += (photos_as_uploads(STORIES[0]),)


def as_grid(story: Story, name: str, lora_name: str) -> Story:
    """The same on one page of equal panels, however many: for scripts, which bring a story and a subject."""
    left_out = {key for key, node in story.nodes.items() if node.type in ("PrimitiveString", "StoryBoothPageLayout")}
    nodes = {}
    for key, node in story.nodes.items():
        inputs = {
            at: value for at, value in node.inputs.items() if not isinstance(value, list) or value[0] not in left_out
        }
        if {"subject", "instance_prompt"} & node.inputs.keys():
            inputs |= {at: SUBJECT for at in ("subject", "instance_prompt") if at in node.inputs}
        if node.type == "StoryBoothLoraTrainer":
            inputs["lora_name"] = lora_name
        if node.type == "SaveImage":
            inputs["filename_prefix"] = f"storybooth/{name}"
        if key not in left_out:
            nodes[key] = replace(node, inputs=inputs, via={})
    return replace(story, name=name, nodes=nodes)


GRIDS = (
    as_grid(STORIES[0], "nupjuki_story_mini", "nupjuki_story_mini"),
    as_grid(STORIES[1], "nupjuki_story_sdxl", "nupjuki"),
)
"""Only in `workflows/api`."""

_DRAW = """async ([api, nodes, stages, guide, pack]) => {
    await app.loadApiJson(api, "story");
    const graph = app.rootGraph ?? app.graph;
    const inside = ([x, y], [left, top, w, h]) => x >= left && y >= top && x < left + w && y < top + h;
    const paint = (node) => {
        const { colour } = stages.find(({ box }) => inside(node.pos, box)) ?? {};
        const { color, bgcolor } = LGraphCanvas.node_colors[colour] ?? {};
        Object.assign(node, { color, bgcolor });
    };
    const drawn = new Map(); // reroutes by output and points
    for (const node of graph.nodes) {
        const { at, size, model, title, labels, via } = nodes[node.id];
        node.pos = at;
        node.setSize(size);
        paint(node);
        if (title) node.title = title;
        if (node.type.startsWith("StoryBooth")) node.properties.cnr_id = pack;
        if (model) node.properties.models = [model];
        for (const widget of node.widgets ?? []) if (widget.name === "control_after_generate") widget.value = "fixed";
        for (const [name, label] of Object.entries(labels)) {
            node.inputs.find((input) => input.name === name).label = label;
            node.widgets.find((widget) => widget.name === name).label = label;
        }
        for (const [name, points] of Object.entries(via)) {
            const link = graph.getLink(node.inputs.find((input) => input.name === name).link);
            points.forEach((_, index) => {
                const key = JSON.stringify([link.origin_id, link.origin_slot, points.slice(0, index + 1)]);
                const known = drawn.get(key);
                if (!known) drawn.set(key, graph.createReroute(points[index], link));
                else {
                    known.linkIds.add(link.id);
                    link.parentId = known.id;
                }
            });
        }
    }
    const write = (sentence, at, size) => {
        const note = LiteGraph.createNode("MarkdownNote");
        [note.pos, note.size, note.widgets[0].value] = [at, size, sentence];
        paint(note);
        graph.add(note);
    };
    for (const { title, sentence, box, colour } of stages) {
        const group = new LiteGraph.LGraphGroup(title);
        [group.pos, group.size] = [box.slice(0, 2), box.slice(2)];
        group.color = LGraphCanvas.node_colors[colour]?.groupcolor;
        graph.add(group);
        if (!guide) write(sentence, [box[0] + 20, box[1] + 70], [box[2] - 40, 120]);
    }
    const told = stages.map(({ title, sentence }) => `**${title}** ${sentence}`).join("\\n\\n");
    if (guide) write(told, guide.slice(0, 2), guide.slice(2));
    return JSON.stringify(graph.serialize());
}"""

_OPEN = "(workflow) => app.loadGraphData(workflow)"

_EXPORT = """async (workflow) => {
    await app.loadGraphData(workflow);
    return JSON.stringify((await app.graphToPrompt()).output);
}"""


def draw(page: Page, story: Story) -> tuple[dict[str, Any], Graph]:
    """Return the story as the canvas saves it, and as it exports it for the API. `page` shows ComfyUI."""
    nodes = {key: asdict(node) for key, node in story.nodes.items()}
    stages = [asdict(stage) for stage in story.stages]
    workflow = json.loads(page.evaluate(_DRAW, [story.api, nodes, stages, story.guide, "storybooth"]))
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"storybooth/{story.name}"))  # not another one at every run
    extra = {name: workflow["extra"][name] for name in ("reroutes", "linkExtensions") if name in workflow["extra"]}
    if story.app.outputs:
        inputs = [[node, name, *([{"height": height}] if height else [])] for node, name, height in story.app.inputs]
        extra |= {"linearMode": False, "linearData": {"inputs": inputs, "outputs": list(story.app.outputs)}}
    workflow["extra"] = extra
    return workflow, json.loads(page.evaluate(_EXPORT, workflow))


def run(page: Page, comfy: Server, story: Story, workflow: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    """Press Run as a user would; return the saved picture, and the canvas with all stages and what they show."""
    left, top, right, bottom = story.bounds
    margin, scale = 180, 0.9  # in pixels of the screen: menus lie over the canvas's edges
    clip = {"x": margin, "y": margin, "width": round(scale * (right - left)), "height": round(scale * (bottom - top))}
    page.set_viewport_size({axis: clip[axis] + 2 * margin for axis in ("width", "height")})
    open_canvas(page, comfy.url, nodes2=True)
    offset = [margin / scale - left, margin / scale - top]
    page.evaluate(_OPEN, workflow | {"extra": workflow["extra"] | {"ds": {"scale": scale, "offset": offset}}})
    page.evaluate("app.api.addEventListener('execution_success', () => (window.finished = true))")
    page.get_by_test_id("queue-button").click()
    page.wait_for_function("window.finished", timeout=1_200_000)
    page.wait_for_timeout(5000)  # for images to load, and for notices to go
    canvas = Image.open(io.BytesIO(page.screenshot(clip=clip)))
    (saved,) = (str(node["id"]) for node in workflow["nodes"] if node["type"] == "SaveImage")
    *_, record = comfy.get_json("/history").values()
    return Image.open(io.BytesIO(comfy.download(record["outputs"][saved]["images"][0]))), canvas


def board(page: Page) -> Image.Image:
    """The storyboard with the story's pictures, one card open, after a run."""
    page.set_viewport_size({"width": 1440, "height": 960})
    page.evaluate("document.querySelector('.storybooth-story header button').click()")
    page.locator(".storybooth-cards .storybooth-card").first.click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(2000)
    return Image.open(io.BytesIO(page.locator(".storybooth-board").screenshot()))


def _photos_to_page(page: Image.Image, toys: tuple[str, ...] = ("blue_plush",)) -> Image.Image:
    """Sample photos, and the page that came of them: for a story that needs a model which is not here to draw it."""
    width, height = 512, 512
    sheet = Image.new("RGB", (width, height), "#20242c")
    page = page.convert("RGB")
    page.thumbnail((330, height - 32))
    sheet.paste(page, (width - 16 - page.width, (height - page.height) // 2))
    left = width - page.width - 48  # for the photos
    side = min(left - 16, (height - 64) // 3)
    for row in range(3):
        toy = toys[row % len(toys)]
        photo = Image.open(ROOT / "assets" / "samples" / toy / f"{3 * row:02}.jpg").convert("RGB")
        place = (16 + (left - 16 - side) // 2, 16 + row * (height - 32 - side) // 2)
        sheet.paste(photo.resize((side, side), Image.Resampling.LANCZOS), place)
    middle, tip = left + 8, left + 24
    ImageDraw.Draw(sheet).polygon([(middle, 236), (tip, 256), (middle, 276)], fill="#d8dde6")
    return sheet


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def write(page: Page, comfy: Server, story: Story) -> None:
    """Write the files of a story. `page` is a fresh one."""
    open_canvas(page, comfy.url)
    workflow, api = draw(page, story)
    _write(WORKFLOWS / "api" / f"{story.name}.json", api)
    if story in GRIDS:
        return
    _write(WORKFLOWS / f"{story.name}.json", workflow)
    if "mini" in story.name:
        picture, canvas = run(page, comfy, story, workflow)
        if story is STORIES[0]:
            canvas.convert("RGB").save(CANVAS, quality=85)
            board(page).convert("RGB").save(BOARD, quality=85)
            shown = picture.convert("RGB")
            shown.thumbnail((1024, 1024))
            shown.save(PAGE, quality=85)
    elif "_cast_" in story.name:
        drawn = Image.open(WORKFLOWS / "storybooth_comic_cast_mini.jpg")
        picture = _photos_to_page(drawn, ("blue_plush", "red_robot"))
    else:
        picture = _photos_to_page(Image.open(PAGE))
    picture.thumbnail((512, 512))
    picture.convert("RGB").save(WORKFLOWS / f"{story.name}.jpg", quality=85)


def main() -> None:
    """Write every workflow, or those named, in both formats, its thumbnail, and the canvas after a run."""
    (WORKFLOWS / "api").mkdir(parents=True, exist_ok=True)
    SUBGRAPHS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as base, sync_playwright() as playwright:
        install_pack(Path(base))
        with serve(host.obtain(host.NEWEST), Path(base)) as comfy:
            chromium = playwright.chromium.launch(executable_path=browser.executable(), args=["--no-sandbox"])
            for name, photo in UPLOADS.items():
                comfy.upload(name, photo.read_bytes())
            for story in (*STORIES, *GRIDS):
                if sys.argv[1:] and story.name not in sys.argv[1:]:
                    continue
                with chromium.new_context() as context:  # a canvas remembers values of an earlier graph
                    write(context.new_page(), comfy, story)
            for blueprint in BLUEPRINTS:
                if sys.argv[1:] and blueprint.name not in sys.argv[1:]:
                    continue
                with chromium.new_context() as context:
                    page = context.new_page()
                    open_canvas(page, comfy.url)
                    _write(SUBGRAPHS / f"{blueprint.name}.json", draw_blueprint(page, blueprint, GRIDS[1]))


if __name__ == "__main__":
    main()
