"""Save Comic in a real ComfyUI: every format, under names that nothing overwrites, told so that clients find them."""

import io
import zipfile

import pytest
from PIL import Image
from pypdf import PdfReader

from storybooth.workshop.client import InvalidGraphError, NodeError

CAPTION = "A house in the woods"


def graph(prefix, chosen="pdf", pages=2, **more):
    """Comic Page's page and, behind it in a batch, the same once more; the other arguments are Save Comic's inputs."""
    return {
        "mini": {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}},
        "storyboard": {
            "class_type": "StoryBoothStoryboard",
            "inputs": {
                "clip": ["mini", 1],
                "script": f"a house # {CAPTION}\na forest",
                "subject": "",
                "style": "none",
                "negative": "",
            },
        },
        "panels": {
            "class_type": "EmptyImage",
            "inputs": {"width": 300, "height": 200, "batch_size": 2, "color": 0x4060A0},
        },
        "page": {
            "class_type": "StoryBoothComicPage",
            "inputs": {
                "images": ["panels", 0],
                "storyboard": ["storyboard", 0],
                "columns": 1,
                "gutter": 10,
                "caption_place": "below",
                "caption_size": 0,
                "font": "",
            },
        },
        "pages": {"class_type": "RepeatImageBatch", "inputs": {"image": ["page", 0], "amount": pages}},
        "save": {
            "class_type": "StoryBoothSaveComic",
            "inputs": {"page": ["pages", 0], "format": chosen, "filename_prefix": prefix, **more},
        },
    }


def saved(comfy, nodes):
    """What Save Comic tells that it has saved, and the contents as /view gives them."""
    told = [file for file in comfy.run(nodes).outputs["save"]["images"] if file["type"] == "output"]
    return told, [comfy.download(file) for file in told]


def test_a_pdf_with_the_text_of_its_page(comfy):
    nodes = graph("comics/forest", pages=1, layers=["page", 1], title="In the forest")
    (told,), (content,) = saved(comfy, nodes)
    assert told == {"filename": "forest_00001_.pdf", "subfolder": "comics", "type": "output"}
    assert (comfy.base / "output" / "comics" / "forest_00001_.pdf").read_bytes() == content
    reader = PdfReader(io.BytesIO(content), strict=True)
    assert reader.metadata.title == "In the forest"
    (page,) = reader.pages
    assert page.extract_text() == CAPTION
    assert float(page.mediabox.width) == pytest.approx(320 * 72 / 300, abs=1e-3)
    # The same once more lies beside it; nothing is left of how it was written.
    nodes["save"]["inputs"]["title"] = "Again"
    assert saved(comfy, nodes)[0][0]["filename"] == "forest_00002_.pdf"
    names = {path.name for path in (comfy.base / "output" / "comics").iterdir()}
    assert names == {"forest_00001_.pdf", "forest_00002_.pdf"}


@pytest.mark.parametrize(
    ("chosen", "suffix", "count"),
    [("png", ".png", 2), ("cbz", ".cbz", 1), ("epub", ".epub", 1), ("webtoon", ".png", 3)],
)
def test_formats_of_several_pages(comfy, chosen, suffix, count):
    # A number of pages is a story's own: without layers, its captions are told by the storyboard.
    more = {"storyboard": ["storyboard", 0], "slice_height": 200, "slice_width": 160, "reading": "right to left"}
    told, contents = saved(comfy, graph(f"{chosen} of %width%/page", chosen, **more))
    assert [file["filename"] for file in told] == [f"page_{number:05}_{suffix}" for number in range(1, count + 1)]
    assert {file["subfolder"] for file in told} == {f"{chosen} of 320"}
    if suffix == ".png":
        sizes = [Image.open(io.BytesIO(content)).size for content in contents]
        if chosen == "png":
            assert sizes == [(320, sizes[0][1])] * 2
        else:
            assert sizes[0] == (160, 200)
            assert 0 <= sizes[1][1] - sizes[2][1] <= 1  # what is left is shared out
        text = Image.open(io.BytesIO(contents[0])).text
        assert '"StoryBoothSaveComic"' in text["prompt"]  # dropped on the canvas, it brings its graph
    else:
        with zipfile.ZipFile(io.BytesIO(contents[0])) as archive:
            described = {"cbz": "ComicInfo.xml", "epub": "EPUB/package.opf"}[chosen]
            assert CAPTION in archive.read(described).decode()
            assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2


def test_pages_are_shown_where_the_file_is_no_picture(comfy):
    run = comfy.run(graph("shown/comic", "cbz", pages=3))
    shown = [file for file in run.outputs["save"]["images"] if file["type"] == "temp"]
    assert len(shown) == 3
    assert Image.open(io.BytesIO(comfy.download(shown[0]))).width == 320


def on_a_layout(nodes, **more):
    """Such a graph, its two panels on a page each; the other arguments are Page Layout's inputs."""
    nodes["storyboard"]["inputs"]["script"] = f"a house # {CAPTION}\na forest # And then"
    laid_out = {
        "layout": "feature panel",
        "rows": "1 | 1",
        "reading": "left to right",
        "page_width": 600,
        "gutter": 1.2,
    }
    laid_out |= {"page_size": "as the layout has it", "margin": 3.5, "slant": 8.0, "bleed": False, **more}
    nodes["layout"] = {
        "class_type": "StoryBoothPageLayout",
        "inputs": {"storyboard": ["storyboard", 0], **laid_out},
    }
    nodes["page"]["inputs"]["layout"] = ["layout", 0]
    nodes["save"]["inputs"]["page"] = ["page", 0]
    return nodes


def test_all_pages_of_a_layout(comfy):
    nodes = on_a_layout(graph("laid out/page", layers=["page", 1]))
    _, (content,) = saved(comfy, nodes)
    assert [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages] == [CAPTION, "And then"]
    nodes["save"]["inputs"]["format"] = "layered svg"
    told, contents = saved(comfy, nodes)
    assert len(told) == 2
    assert [content.count(b"<polygon") > 0 for content in contents] == [True, True]


@pytest.mark.parametrize(
    ("laid_out", "reading", "chosen", "is_said"),
    [
        ("right to left", "left to right", "cbz", True),
        ("left to right", "right to left", "epub", True),
        ("right to left", "right to left", "pdf", False),
        ("right to left", "left to right", "webtoon", False),  # nothing is turned there
    ],
)
def test_pages_that_are_read_the_other_way_than_they_are_turned(comfy, laid_out, reading, chosen, is_said):
    nodes = on_a_layout(graph("turned/page", chosen, layers=["page", 1], reading=reading), reading=laid_out)
    texts = [event.data["text"] for event in comfy.queue(nodes) if event.type == "progress_text"]
    _, *more = texts[-1].split("\n")
    assert more == ([f"Pages are laid out {laid_out}, and reading is {reading}: set both alike"] if is_said else [])


def test_layers(comfy):
    _, (content,) = saved(comfy, graph("layers/page", "layered svg", pages=1, layers=["page", 1]))
    assert f">{CAPTION}</text>".encode() in content
    assert content.count(b"data:image/png") == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"filename_prefix": "../outside"}, r"file name \(filename_prefix\): got '\.\./outside'"),
        ({"filename_prefix": "/etc/comic"}, r"file name \(filename_prefix\): got '/etc/comic'"),
        ({"filename_prefix": ""}, r"file name \(filename_prefix\): got ''"),
        ({"format": "docx"}, "format"),
        ({"format": "layered svg"}, "layers: got nothing"),
        ({"layers": ["page", 1]}, "layers: they tell of 1 pages, and page brings 2"),
        ({"layers": ["storyboard", 0]}, "layers"),
        ({"dpi": 0}, "dpi"),
        ({"slice_height": 0, "format": "webtoon"}, "slice_height"),
        ({"title": "\ud83d"}, "title: it has half of a character"),
        ({"reading": "up"}, "reading"),
        ({"page": ["storyboard", 0]}, "page"),
    ],
)
def test_what_cannot_be_saved(comfy, more, message):
    nodes = graph("refused/comic")
    nodes["save"]["inputs"] |= more
    with pytest.raises((NodeError, InvalidGraphError), match=message):
        comfy.run(nodes)
    assert not (comfy.base / "output" / "refused").exists()


def test_names_are_looked_at_before_anything_is_drawn(comfy):
    nodes = graph("../outside")
    nodes["panels"]["inputs"]["color"] = 0x123456  # not cached
    executed = []
    with pytest.raises(NodeError, match="filename_prefix"):
        for event in comfy.queue(nodes):
            if event.type == "executing":
                executed.append(event.data["node"])
    assert "panels" not in executed
