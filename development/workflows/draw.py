"""Draw the workflows that ship with the pack: `workflows/*.json`, API twins, thumbnails, and `docs/canvas.jpg`.

    .dev/env/bin/python development/workflows/draw.py [name ...]

The graphs are written down here once. A real canvas turns them into both formats, so each is exactly what ComfyUI
itself would save; then it runs the Mini story for the pictures. Run this after an input was added to a node or Mini
learned something, look at the result, and commit it.
"""

# ruff: noqa: E402
import io
import json
import runpy
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

runpy.run_path(str(Path(__file__).resolve().parents[2] / "workshop" / "load_pack.py"))

from storybooth.comic.cast import Role
from storybooth.comic.page import layout_page
from storybooth.comic.stories import NUPJUKI
from storybooth.comic.storyboard import parse
from storybooth.development import browser
from storybooth.development.canvas import open_canvas
from storybooth.development.workflows.cast_story import ROLES, SCRIPT, cast_story
from storybooth.development.workflows.graphs import Node, Stage, Story
from storybooth.development.workflows.photos_as_uploads import UPLOADS, photos_as_uploads
from storybooth.development.workflows.two_characters import TWO_CHARACTERS
from storybooth.workshop import ROOT, host
from storybooth.workshop.client import Graph
from storybooth.workshop.server import Server, install_pack, serve

WORKFLOWS = ROOT / "workflows"
PICTURE = ROOT / "docs" / "canvas.jpg"

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

_TOP, _BOTTOM = 250, 1180  # of the nodes below the notes, and of all stages: Nodes 2.0 needs the more room
_TALL = 900  # the trainer with its curve; nine panels fit on the sampler


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
    nodes = {
        **sources,
        "3": Node("StoryBoothSubjectImages", (20, 600), (320, 550), {"folder": settings["folder"]}),
        "4": Node(
            "StoryBoothLoraTrainer",
            (410, _TOP),
            (340, _TALL),
            {"model": [model, 0], "clip": text, "vae": vae, "images": ["3", 0], "captions": ["3", 1]}
            | settings["training"],
        ),
        "5": Node("StoryBoothStoryboard", (820, _TOP), (480, _TALL), {"clip": text, "style": "comic book"}),
        "6": Node(
            "StoryBoothIdentityBankWriter",
            (1370, _TOP),
            (320, 590),
            {"model": ["4", 0], "storyboard": ["5", 0], **sampling, **schedule},
        ),
        "7": Node(
            "StoryBoothConsistentAttention",
            (1750, _TOP),
            (320, 280),
            {"model": ["4", 0], "bank": ["6", 0], **schedule},
        ),
        "8": Node(
            "StoryBoothPanelSampler",
            (2130, _TOP),
            (420, _TALL),
            {"model": ["7", 0], "storyboard": ["5", 0], "vae": vae, "bank": ["6", 0], **sampling},
        ),
        "9": Node("StoryBoothComicPage", (2620, _TOP), (280, 250), {"images": ["8", 0], "storyboard": ["5", 0]}),
        "10": Node(
            "SaveImage", (2930, _TOP), (480, _TALL), {"images": ["9", 0], "filename_prefix": f"storybooth/{name}"}
        ),
    }
    stages = (
        Stage("1 Character", sentences["character"], (0, 0, 360, _BOTTOM)),
        Stage("2 Learn", sentences["learn"], (390, 0, 380, _BOTTOM)),
        Stage("3 Story", sentences["story"], (800, 0, 520, _BOTTOM)),
        Stage("4 Identity", sentences["identity"], (1350, 0, 360, _BOTTOM)),
        Stage("5 Consistency", sentences["consistency"], (1730, 0, 360, _BOTTOM)),
        Stage("6 Panels", sentences["panels"], (2110, 0, 460, _BOTTOM)),
        Stage("7 Page", sentences["page"], (2600, 0, 830, _BOTTOM)),
    )
    return Story(name, nodes, stages)


# Bold, not code: Nodes 2.0 shows code in blue on blue.
_SENTENCES = {
    "character": "Photos of one character, from different sides, in a folder of ComfyUI's **input** folder.",
    "learn": "A LoRA learns how the character looks, under the words of **instance prompt**: a rare word and what it "
    "is. Photos of somebody else need another **LoRA name**.",
    "story": "One panel a line: what it shows, then **#** and its caption. **{subject}** stands for the character; "
    "call it in **subject** what the trainer calls it. The lower box is what no panel should show.",
    "identity": "The **[id]** lines are drawn together, and the bank keeps what makes their character the same.",
    "consistency": "From here on, the model looks at the bank while it draws: the later the step, the more often.",
    "panels": "Every line becomes a panel. **[plain]** lines are drawn by the LoRA alone, without the bank.",
    "page": "The panels and their captions become one page, saved in ComfyUI's **output** folder.",
}

STORIES = (
    _story(
        "nupjuki_story_mini",
        {"1": Node("StoryBoothMiniCheckpoint", (20, _TOP), (320, 100))},
        model="1",
        vae=["1", 2],
        sentences=_SENTENCES
        | {
            "character": "A tiny model that comes with StoryBooth and draws **a small, simple world**, and photos of "
            "one toy. To use photos of your own, drop them on **Load Subject Images**.",
        },
        folder="storybooth samples/blue_plush",
        size=192,
        steps=10,
        start_step=1,
        switch_step=4,
        training={
            "steps": 30,
            "learning_rate": 1e-3,
            "resolution": 128,
            "gradient_checkpointing": False,
            "lora_name": "nupjuki_story_mini",
        },
    ),
    _story(
        "nupjuki_story_sdxl",
        {
            "1": Node(
                "CheckpointLoaderSimple", (20, _TOP), (320, 130), {"ckpt_name": _CHECKPOINT["name"]}, model=_CHECKPOINT
            ),
            "2": Node("VAELoader", (20, 440), (320, 90), {"vae_name": _VAE["name"]}, model=_VAE),
        },
        model="1",
        vae=["2", 0],
        sentences=_SENTENCES
        | {
            "character": "SDXL, a VAE that works in half precision, and five to ten photos of one character: drop "
            "yours on **Load Subject Images**, which begins with samples.",
            "consistency": "From here on, the model looks at the bank while it draws: the later the step, the more "
            "often. (The first Nupjuki story also used FreeU; ComfyUI's FreeU node works on other blocks, so it is "
            "left out.)",
        },
        folder="storybooth samples/blue_plush",
        size=1024,
        steps=50,
        start_step=5,
        switch_step=20,
        training={"lora_name": "nupjuki"},
    ),
    TWO_CHARACTERS,
    cast_story(
        "cast_story_mini",
        {"1": Node("StoryBoothMiniCheckpoint", (20, _TOP), (320, 100))},
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
        "cast_story_sdxl",
        {
            "1": Node(
                "CheckpointLoaderSimple", (20, _TOP), (320, 130), {"ckpt_name": _CHECKPOINT["name"]}, model=_CHECKPOINT
            ),
            "2": Node("VAELoader", (20, 440), (320, 90), {"vae_name": _VAE["name"]}, model=_VAE),
        },
        vae=["2", 0],
        folders=("nupjuki", "bob"),
        sentences={},
        size=1024,
        steps=50,
        start_step=5,
        switch_step=20,
        training={},
    ),
)
STORIES += (photos_as_uploads(STORIES[0]),)

_DRAW = """async ([api, nodes, stages, pack]) => {
    await app.loadApiJson(api, "story");
    const graph = app.rootGraph ?? app.graph;
    for (const node of graph.nodes) {
        const { at, size, model } = nodes[node.id];
        node.pos = at;
        node.setSize(size);
        if (node.type.startsWith("StoryBooth")) node.properties.cnr_id = pack;
        if (model) node.properties.models = [model];
        for (const widget of node.widgets ?? []) if (widget.name === "control_after_generate") widget.value = "fixed";
    }
    for (const { title, sentence, box } of stages) {
        const group = new LiteGraph.LGraphGroup(title);
        [group.pos, group.size] = [box.slice(0, 2), box.slice(2)];
        graph.add(group);
        const note = LiteGraph.createNode("MarkdownNote");
        [note.pos, note.size] = [[box[0] + 20, box[1] + 70], [box[2] - 40, 120]];
        note.widgets[0].value = sentence;
        graph.add(note);
    }
    return JSON.stringify(graph.serialize());
}"""

_OPEN = "(workflow) => app.loadGraphData(workflow)"

_EXPORT = """async (workflow) => {
    await app.loadGraphData(workflow);
    return JSON.stringify((await app.graphToPrompt()).output);
}"""


def draw(page: Page, story: Story) -> tuple[dict[str, Any], Graph]:
    """Return the story as the canvas saves it, and as it exports it for the API. `page` shows ComfyUI."""
    api = {key: {"class_type": node.type, "inputs": node.inputs} for key, node in story.nodes.items()}
    nodes = {key: {"at": node.at, "size": node.size, "model": node.model} for key, node in story.nodes.items()}
    stages = [{"title": s.title, "sentence": s.sentence, "box": s.box} for s in story.stages]
    workflow = json.loads(page.evaluate(_DRAW, [api, nodes, stages, "storybooth"]))
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"storybooth/{story.name}"))  # not another one at every run
    workflow["extra"] = {}
    return workflow, json.loads(page.evaluate(_EXPORT, workflow))


def run(page: Page, comfy: Server, story: Story, workflow: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    """Press Run as a user would; return the saved picture, and the canvas with all stages and what they show."""
    width, height = story.size
    margin, scale = 180, 0.7  # in pixels of the screen: menus lie over the canvas's edges
    clip = {"x": margin, "y": margin, "width": round(scale * width), "height": round(scale * height)}
    page.set_viewport_size({axis: clip[axis] + 2 * margin for axis in ("width", "height")})
    open_canvas(page, comfy.url, nodes2=True)
    offset = [margin / scale, margin / scale]
    page.evaluate(_OPEN, workflow | {"extra": {"ds": {"scale": scale, "offset": offset}}})
    page.evaluate("app.api.addEventListener('execution_success', () => (window.finished = true))")
    page.get_by_test_id("queue-button").click()
    page.wait_for_function("window.finished", timeout=600_000)
    page.wait_for_timeout(5000)  # for images to load, and for notices to go
    canvas = Image.open(io.BytesIO(page.screenshot(clip=clip)))
    (saved,) = (str(node["id"]) for node in workflow["nodes"] if node["type"] == "SaveImage")
    *_, record = comfy.get_json("/history").values()
    return Image.open(io.BytesIO(comfy.download(record["outputs"][saved]["images"][0]))), canvas


def _layout_only(script: str, cast: Sequence[Role] = ()) -> Image.Image:
    """The story's page with its captions and empty panels: no SDXL at hand draws the pictures."""
    captions = [panel.caption for panel in parse(script, "a blue sks plush", cast=cast) if not panel.hidden]
    colours = ("#9db4c0", "#c2dfe3", "#5c8374", "#e0b1cb", "#7b8fa1", "#b5c99a", "#e6c79c", "#d4a373", "#a3b18a")
    return layout_page([Image.new("RGB", (256, 256), colour) for colour in colours[: len(captions)]], captions)


def _write(path: str, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (WORKFLOWS / path).write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Write every workflow, or those named, in both formats, its thumbnail, and the canvas after a run."""
    (WORKFLOWS / "api").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as base, sync_playwright() as playwright:
        install_pack(Path(base))
        with serve(host.obtain(host.NEWEST), Path(base)) as comfy:
            chromium = playwright.chromium.launch(executable_path=browser.executable(), args=["--no-sandbox"])
            for name, photo in UPLOADS.items():
                comfy.upload(name, photo.read_bytes())
            for story in STORIES:
                if sys.argv[1:] and story.name not in sys.argv[1:]:
                    continue
                page = chromium.new_context().new_page()  # a canvas remembers values of an earlier graph
                open_canvas(page, comfy.url)
                workflow, api = draw(page, story)
                _write(f"{story.name}.json", workflow)
                _write(f"api/{story.name}.json", api)
                if "mini" in story.name:
                    picture, canvas = run(page, comfy, story, workflow)
                    if story is STORIES[0]:
                        canvas.convert("RGB").save(PICTURE, quality=85)
                else:
                    told = (SCRIPT, ROLES) if story.name.startswith("cast") else (NUPJUKI,)
                    picture = _layout_only(*told)
                picture.thumbnail((512, 512))
                picture.convert("RGB").save(WORKFLOWS / f"{story.name}.jpg", quality=85)


if __name__ == "__main__":
    main()
