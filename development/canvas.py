"""ComfyUI's canvas in a browser, ready to be driven."""

import time
from pathlib import Path
from secrets import token_hex
from typing import Any

from playwright.sync_api import Page

_PATIENCE = 300_000  # milliseconds: the canvas is large, and the machine may be busy
_READY = """() => !!(
    window.app?.extensionManager?.workflow?.activeWorkflow
    && window.LiteGraph?.registered_node_types["StoryBoothPanelSampler"]
)"""
_AT_HAND = "(name) => app.extensionManager.workflow.activeWorkflow?.filename.startsWith(name)"


def open_canvas(page: Page, url: str, nodes2: bool = False) -> None:
    """Open a server's canvas and wait until it can be used; `nodes2` turns Nodes 2.0 on."""
    settings = {"Comfy.VueNodes.Enabled": nodes2, "Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}
    page.request.post(f"{url}/settings", data=settings)
    page.goto(url)
    wait_for_canvas(page)


def wait_for_canvas(page: Page) -> None:
    """Wait until nodes are registered and a workflow is open, as after a reload."""
    page.wait_for_function(_READY, timeout=_PATIENCE)


def open_graph(page: Page, graph: dict[str, Any], name: str) -> None:
    """Open a graph of the API's format, as a workflow whose name begins so."""
    name = f"{name} {token_hex(4)}"  # of no other workflow that is open
    page.evaluate("([graph, name]) => app.loadApiJson(graph, name)", [graph, name])
    wait_for_workflow(page, name)


def wait_for_workflow(page: Page, name: str) -> None:
    """Wait until a workflow is the one at hand: its nodes are on the canvas before its mode and its undo are there."""
    page.wait_for_function(_AT_HAND, arg=name, timeout=_PATIENCE)


def wait_for_frames(page: Page, count: int = 10) -> None:
    """Wait until the canvas has been drawn so often: what it does while it draws is done then, however slow it is."""
    page.evaluate(
        """async (count) => {
            for (; count; count--) {
                app.canvas.setDirty(true, true);
                await new Promise(requestAnimationFrame);
            }
        }""",
        count,
    )


def settled(page: Page, script: str) -> Any:
    """What JavaScript gives once it has been the same for 30 frames and half a second: sizes and places are laid out
    frame by frame, and some things move there."""
    return page.evaluate(
        f"""async () => {{
            const read = () => JSON.stringify({script});
            let [value, same, since] = [read(), 0, performance.now()];
            while (same < 30 || performance.now() - since < 500) {{
                app.canvas.setDirty(true, true);
                await new Promise(requestAnimationFrame);
                const now = read();
                if (now === value) same++;
                else [value, same, since] = [now, 0, performance.now()];
            }}
            return JSON.parse(value);
        }}"""
    )


def undo_until(page: Page, holds: str) -> None:
    """Undo by keyboard until JavaScript `holds`: one step, or two where a node has grown meanwhile, which ComfyUI takes
    for a step, too."""
    page.evaluate(
        """() => {
            const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker;
            const { undo } = Object.getPrototypeOf(tracker);
            window.undone = 0;
            tracker.undo = async () => {
                await undo.call(tracker);
                window.undone++;
            };
        }"""
    )
    for number in (1, 2):
        page.keyboard.press("Control+z")
        page.wait_for_function(f"window.undone === {number}")
        if page.evaluate(holds):
            break
    page.wait_for_function(holds)


def wait_for_file(page: Page, path: Path, text: str) -> None:
    """Wait until a file says so: the canvas has the server write it, and answers of earlier writings look alike."""
    until = time.monotonic() + _PATIENCE / 1000
    while not (path.is_file() and path.read_text(encoding="utf-8") == text):
        assert time.monotonic() < until, f"{path} never said {text!r}"
        page.wait_for_timeout(100)


def wait_until_stored(page: Page, text: str) -> None:
    """Wait until the canvas has stored the unsaved workflow with `text` in it, a moment after a change."""
    stored = "(text) => Object.values(localStorage).some((value) => value.includes(text))"
    page.wait_for_function(stored, arg=text, timeout=_PATIENCE)
