"""Save Comic and Save LoRA on the canvas: pages are shown, and no file that is no picture is taken for one."""

import re

import pytest
from playwright.sync_api import expect
from safetensors.torch import save_file
from torch import zeros

from storybooth.development.canvas import open_canvas, open_graph, wait_for_frames


@pytest.mark.once
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_pages_are_shown_and_the_file_is_named(comfy, page, nodes2):
    name = f"shown_{'vue' if nodes2 else 'classic'}"
    save_file({"a": zeros(1)}, comfy.base / "models" / "loras" / f"{name}.safetensors")
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 200, "height": 300, "batch_size": 1, "color": 0x4060A0},
        },
        "2": {
            "class_type": "StoryBoothSaveComic",
            "inputs": {"page": ["1", 0], "format": "pdf", "filename_prefix": name},
        },
        "3": {"class_type": "PrimitiveString", "inputs": {"value": f"{name}.safetensors"}},
        "4": {"class_type": "StoryBoothSaveLora", "inputs": {"lora_name": ["3", 0], "filename_prefix": f"{name} lora"}},
    }
    open_canvas(page, comfy.url, nodes2)
    open_graph(page, graph, "files")
    page.evaluate("app.api.addEventListener('execution_success', () => { window.finished = true; }, { once: true })")
    page.evaluate("async () => { await app.queuePrompt(0, 1); }")
    page.wait_for_function("window.finished", timeout=600_000)
    shown = "Object.values(app.nodeOutputs).flatMap((output) => output.images ?? []).map((file) => file.filename)"
    page.wait_for_function(f"{shown}.length > 0")
    wait_for_frames(page)
    assert [name for name in page.evaluate(shown) if not name.endswith(".png")] == []
    assert len(page.evaluate(shown)) == 1
    expect(page.get_by_text("Image failed to load")).to_have_count(0)
    saved = {path.name for path in (comfy.base / "output").glob(f"{name}*")}
    assert saved == {f"{name}_00001_.pdf", f"{name} lora_00001_.safetensors"}
    dated = page.evaluate(
        """async () => {
            for (const { widgets } of app.rootGraph.nodes)
                for (const widget of widgets ?? [])
                    if (widget.name === "filename_prefix") widget.value = "%date:yyyy-MM-dd%/x";
            const { output } = await app.graphToPrompt();
            return [output[2], output[4]].map(({ inputs }) => inputs.filename_prefix);
        }"""
    )
    assert [bool(re.fullmatch(r"\d{4}-\d\d-\d\d/x", prefix)) for prefix in dated] == [True, True], dated
