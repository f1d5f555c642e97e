"""How long a key takes on the storyboard of a long story: from the key to the picture on the screen, and to the script.

    .dev/env/bin/python development/benchmarks/editor.py [--lines 100] [--keys 60] [--output FILE]

A real ComfyUI and a headless Chromium, no graphics card: Chromium draws on the CPU. `handled` ends when all that the
key changes has been changed (the script, the card, the row on the node), `drawn` when the frame after it is painted, up
to 17 ms later where nothing else is to do. Each line has a picture, as after a run.
"""

import argparse
import runpy
import statistics
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

runpy.run_path(str(Path(__file__).resolve().parents[2] / "workshop" / "load_pack.py"))
sys.path.insert(1, str(Path(__file__).parent))

from machine import keep  # noqa: E402

from storybooth.development import browser  # noqa: E402
from storybooth.development.canvas import open_canvas  # noqa: E402
from storybooth.workshop import host  # noqa: E402
from storybooth.workshop.server import install_pack, serve  # noqa: E402

_LOAD = """([script, names]) => {
    const node = LiteGraph.createNode("StoryBoothStoryboard");
    app.rootGraph.add(node);
    window.storyboard = node;
    const written = script.split("\\n");
    node.properties.storybooth_pictures = names.map((filename, line) => ({
        line, written: written[line], seed: "1", prompt_id: "1", image: { filename, subfolder: "", type: "input" },
    }));
    const widget = node.widgets.find(({ name }) => name === "script");
    widget.value = script;
    widget.callback(script);
    app.canvas.centerOnNode(node);
}"""
_WATCH = """() => {
    window.keys = [];
    let began;
    window.addEventListener("keydown", ({ timeStamp }) => (began = timeStamp), true);
    window.addEventListener("input", () => {
        const start = began;
        queueMicrotask(() => {
            const handled = performance.now() - start;
            requestAnimationFrame(() => {
                const { port1, port2 } = new MessageChannel(); // comes when the frame has been painted
                port1.onmessage = () => window.keys.push({ handled, drawn: performance.now() - start });
                port2.postMessage(0);
            });
        });
    });
}"""


def measure(page: Page, url: str, lines: int, keys: int, names: list[str], nodes2: bool) -> dict[str, list[float]]:
    """Type `keys` letters into the middle card's prompt; milliseconds of each."""
    script = "\n".join(
        f"{{subject}}, standing in forest number {number} @nupjuki: Panel {number}! # {number} of {lines}"
        for number in range(1, lines + 1)
    )
    page.set_viewport_size({"width": 1600, "height": 1000})
    open_canvas(page, url, nodes2)
    page.evaluate(_LOAD, [script, names])
    page.locator(".storybooth-story header button").press("Enter")
    page.locator(".storybooth-cards .storybooth-card").nth(lines // 2).click()
    page.wait_for_timeout(1500)
    page.keyboard.press("Enter")  # into the prompt
    page.evaluate(_WATCH)
    for index in range(keys):
        page.keyboard.press("abcdefgh "[index % 9] if index % 9 < 8 else "Space")
        page.wait_for_timeout(100)  # a quick typist
    page.wait_for_function(f"window.keys.length >= {keys}")
    text = page.evaluate("storyboard.widgets.find(({ name }) => name === 'script').value")
    assert text.splitlines()[lines // 2] != script.splitlines()[lines // 2]  # it did arrive
    timed = page.evaluate("window.keys")
    return {each: [key[each] for key in timed] for each in ("handled", "drawn")}


def main() -> None:
    """Print and keep median and 95th percentile on both canvases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as base, sync_playwright() as playwright:
        install_pack(Path(base))
        names = [f"panel_{number:03}.png" for number in range(arguments.lines)]
        Path(base, "input").mkdir()
        for number, name in enumerate(names):
            colour = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
            Image.new("RGB", (1024, 1024), colour).save(Path(base, "input", name))
        with serve(host.obtain(host.NEWEST), Path(base)) as comfy:
            chromium = playwright.chromium.launch(executable_path=browser.executable(), args=["--no-sandbox"])
            for canvas, nodes2 in (("classic", False), ("Nodes 2.0", True)):
                page = chromium.new_context().new_page()
                timed = measure(page, comfy.url, arguments.lines, arguments.keys, names, nodes2)
                page.close()
                rows.append({"canvas": canvas, "ms": {each: summary(taken) for each, taken in timed.items()}})
                print(rows[-1], flush=True)
    keep("editor", False, {"lines": arguments.lines, "keys": arguments.keys, "rows": rows}, arguments.output)


def summary(taken: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {
        "median": round(statistics.median(taken), 1),
        "95 %": round(sorted(taken)[int(0.95 * len(taken))], 1),
    }


if __name__ == "__main__":
    main()
