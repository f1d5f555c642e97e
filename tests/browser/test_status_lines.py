"""What a node says of itself on a canvas in another language."""

import pytest

from storybooth.development.canvas import open_canvas, open_graph

LINE = "app.rootGraph.getNodeById('load').widgets.find(({ name }) => name === '$$node-text-preview')?.value"


@pytest.mark.once
def test_a_nodes_status_is_said_in_the_canvas_language(comfy, page):
    """As soon as ComfyUI shows it: the line is one that Python has made."""
    load = {"folder": "storybooth samples/blue_plush", "default_caption": ""}
    graph = {
        "load": {"class_type": "StoryBoothSubjectImages", "inputs": load},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["load", 0]}},
    }
    page.request.post(f"{comfy.url}/settings", data={"Comfy.Locale": "ko"})
    try:
        open_canvas(page, comfy.url)
        open_graph(page, graph, "photos")
        page.get_by_test_id("queue-button").click()
        page.wait_for_function(f"({LINE} ?? '').startsWith('사진 ')")
        assert "자기 캡션이 있는 사진" in page.evaluate(LINE)
    finally:
        page.request.post(f"{comfy.url}/settings", data={"Comfy.Locale": "en"})
