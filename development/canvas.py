"""ComfyUI's canvas in a browser, ready to be driven."""

from playwright.sync_api import Page

_PATIENCE = 120_000  # milliseconds: the canvas is large, and the machine may be busy
_READY = """() => !!(
    window.app?.extensionManager?.workflow?.activeWorkflow
    && window.LiteGraph?.registered_node_types["StoryBoothPanelSampler"]
)"""


def open_canvas(page: Page, url: str, nodes2: bool = False) -> None:
    """Open a server's canvas and wait until it can be used; `nodes2` turns Nodes 2.0 on."""
    settings = {"Comfy.VueNodes.Enabled": nodes2, "Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}
    page.request.post(f"{url}/settings", data=settings)
    page.goto(url)
    wait_for_canvas(page)


def wait_for_canvas(page: Page) -> None:
    """Wait until nodes are registered and a workflow is open, as after a reload."""
    page.wait_for_function(_READY, timeout=_PATIENCE)


def wait_until_stored(page: Page, text: str) -> None:
    """Wait until the canvas has stored the unsaved workflow with `text` in it, a moment after a change."""
    stored = "(text) => Object.values(localStorage).some((value) => value.includes(text))"
    page.wait_for_function(stored, arg=text, timeout=60_000)
