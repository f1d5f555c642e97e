"""The API client of the workshop against a real server: events, outputs, uploads, refusals and errors."""

import io

import pytest
from PIL import Image

from storybooth.workshop.client import InvalidGraphError


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_uploaded_image_comes_back_through_a_graph(comfy):
    comfy.upload("red.png", png("red"), subfolder="client")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "client/red.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "client/inverted"}},
    }
    run = comfy.queue(graph)
    types = [event.type for event in run]
    assert "executed" in types
    assert run.executed == ["1", "2", "3"]
    (image,) = run.images("3")
    assert Image.open(io.BytesIO(image)).getpixel((5, 5)) == (0, 255, 255)
    assert (comfy.base / "output" / "client").is_dir()


def test_a_refused_graph_names_node_and_input(comfy):
    graph = {"7": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
    with pytest.raises(InvalidGraphError, match=r"SaveImage \(node 7\).*images"):
        comfy.queue(graph)
