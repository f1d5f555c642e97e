"""Storyboard and Comic Page in a real ComfyUI: from a script to a page, and every message on the way."""

import io
import shutil
from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageFont

from storybooth.tests.fonts import KOREAN
from storybooth.workshop import ROOT
from storybooth.workshop.client import InvalidGraphError, NodeError

SCRIPT = "[id] {subject}, standing # A house\n[hidden] {subject}, walking # Not shown\n\na forest\n[NC] rain # Rain"


def graph(storyboard=None, page=None, panels=3):
    """Storyboard and Comic Page with grey panels of 96 x 64 from a core node; the other arguments are their inputs."""
    return {
        "mini": {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}},
        "storyboard": {
            "class_type": "StoryBoothStoryboard",
            "inputs": {
                "clip": ["mini", 1],
                "script": SCRIPT,
                "subject": "a cat",
                "style": "none",
                "negative": "blurry",
                **(storyboard or {}),
            },
        },
        "panels": {
            "class_type": "EmptyImage",
            "inputs": {"width": 96, "height": 64, "batch_size": panels, "color": 0x4060A0},
        },
        "page": {
            "class_type": "StoryBoothComicPage",
            "inputs": {
                "images": ["panels", 0],
                "storyboard": ["storyboard", 0],
                "columns": 2,
                "gutter": 10,
                "caption_place": "below",
                "caption_size": 0,
                "font": "",
                **(page or {}),
            },
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["page", 0], "filename_prefix": "comic/page"}},
    }


def draw(comfy, nodes):
    (content,) = comfy.run(nodes).images("save")
    return numpy.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def encoding(measure_within):
    return measure_within("encoding.py")


def test_prompts_are_encoded_as_clip_text_encode_does(encoding):
    assert encoding["prompts"][0].startswith("a cat, sleeping. graphic illustration")
    assert encoding["captions"] == ["", "Home", "Home again", ""]
    assert encoding["as CLIPTextEncode"] == [True] * 4
    assert encoding["negative"]
    assert encoding["prompts differ"]
    assert encoding["encoded once"]


@pytest.mark.parametrize(
    ("kind", "came"), [("SD 1.5", "SD1ClipModel"), ("refiner", "SDXLRefinerClipModel"), ("none", "no text encoders")]
)
def test_a_clip_that_is_not_sdxls_is_refused(encoding, kind, came):
    message = encoding["refused"][kind]
    assert message.startswith("clip: ")
    assert came in message
    assert "SDXL" in message


def test_a_page(comfy):
    page = draw(comfy, graph())
    panels = (page == (0x40, 0x60, 0xA0)).all(-1)
    assert page.shape[1] == 2 * 106 + 10
    assert panels.sum() == 3 * 96 * 64
    # Two panels over one that is centred; a strip for a caption under each row, "a forest" has none.
    assert panels[10:74, 10:106].all()
    assert panels[10:74, 116:212].all()
    assert panels[-100:, 63:159].sum() == 96 * 64
    ink = (page < 100).all(-1)
    assert ink[74:, 10:106].any()
    assert not ink[74:110, 116:212].any()


def test_what_is_said_stands_in_its_panel(comfy):
    script = "[id] {subject} @bo: Hi # A house\na forest\nrain"
    quiet = draw(comfy, graph({"script": script.replace("@bo: Hi ", "")}))
    spoken = draw(comfy, graph({"script": script}))
    rows, columns = numpy.nonzero((spoken != quiet).any(-1))
    assert len(rows) > 100
    assert rows.min() >= 10 and rows.max() < 74 and columns.min() >= 10 and columns.max() < 106


def test_a_hidden_line_has_no_place_on_the_page(comfy):
    shown = SCRIPT.replace("[hidden] ", "")
    page = draw(comfy, graph({"script": shown}, panels=4))
    assert (page == (0x40, 0x60, 0xA0)).all(-1).sum() == 4 * 96 * 64
    with pytest.raises(NodeError, match="images: got 3, but storyboard shows 4 panels"):
        comfy.run(graph({"script": shown}))


def test_only_the_storyboard_and_the_page_run_again_for_a_new_caption(comfy):
    comfy.run(graph())
    run = comfy.run(graph({"script": SCRIPT.replace("# Rain", "# More rain")}))
    assert set(run.executed) == {"storyboard", "page", "save"}


def test_a_font_of_the_fonts_folder(comfy):
    installed = ImageFont.truetype(KOREAN).path
    folder = comfy.base / "models" / "fonts" / "korean"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(installed, folder / f"my own{Path(KOREAN).suffix}")
    script = {"script": SCRIPT.replace("A house", "숲속의 집")}
    page = draw(comfy, graph(script, {"font": f"korean/my own{Path(KOREAN).suffix}"}))
    assert (page == draw(comfy, graph(script, {"font": KOREAN}))).all()
    with pytest.raises(NodeError, match=r'font: the built-in font has no character "숲" \(U\+C232\).*models/fonts'):
        comfy.run(graph(script))


def test_fonts_that_are_there_can_be_chosen_and_any_can_be_named_by_a_wire(comfy):
    file = comfy.base / "models" / "fonts" / "listed.ttf"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ImageFont.truetype(KOREAN).path, file)
    _, told = comfy.object_info("StoryBoothComicPage")["StoryBoothComicPage"]["input"]["required"]["font"]
    built_in, *names = told["options"]
    assert built_in == told["default"] == "built-in"
    assert {"listed.ttf", "ComicNeue-Bold.ttf", KOREAN} <= set(names)
    assert names.index("listed.ttf") < names.index(KOREAN)
    assert (draw(comfy, graph(page={"font": "built-in"})) == draw(comfy, graph())).all()
    wired = graph(page={"font": ["name", 0]})
    wired["name"] = {"class_type": "PrimitiveString", "inputs": {"value": "ComicNeue-Bold.ttf"}}
    assert (draw(comfy, wired) == draw(comfy, graph(page={"font": "ComicNeue-Bold.ttf"}))).all()
    with pytest.raises(InvalidGraphError, match="columns: got STRING, expected INT"):
        comfy.run(wired | {"page": {**wired["page"], "inputs": {**wired["page"]["inputs"], "columns": ["name", 0]}}})


def test_a_font_file_that_has_become_another_is_looked_at_again(comfy):
    file = comfy.base / "models" / "fonts" / "changing.ttf"
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ImageFont.truetype(KOREAN).path, file)
    before = draw(comfy, graph(page={"font": file.name}))
    shutil.copy(next((ROOT / "assets" / "fonts").glob("*.ttf")), file)
    after = draw(comfy, graph(page={"font": file.name}))
    assert after.shape != before.shape or (after != before).any()


@pytest.mark.parametrize(
    ("font", "message"),
    [
        ("NoSuchFont.ttf", "font: no font file 'NoSuchFont.ttf' was found"),
        ("/etc/passwd", "without its folder"),
        ("../../outside.ttf", "without its folder"),
        ("C:\\Windows\\Fonts\\arial.ttf", "without its folder"),
    ],
)
def test_a_font_that_is_not_there(comfy, font, message):
    with pytest.raises(NodeError, match=message) as caught:
        comfy.run(graph(page={"font": font}))
    assert caught.value.node_id == "page"


@pytest.mark.parametrize(
    ("storyboard", "message"),
    [
        ({"script": ""}, "script: it is empty"),
        ({"script": "a house\n[idd] a cat"}, r'script, line 2: "\[idd\] a cat".*\[idd\] is not a flag'),
        ({"script": "a house\na cat @bo (sings): la"}, r'script, line 2: .*"sings" says neither how nor where'),
        ({"script": "a house\na cat\na dog @bo: 바다"}, r"script, line 3: font: the built-in font has no character"),
        ({"script": "a house\na cat @bo: " + "far too much " * 9 + "\na dog"}, r"script, line 2: the bubble \"far too"),
        ({"subject": ""}, r"line 1.*`subject` is empty"),
        ({"style": "oil"}, "style"),
        ({"script": "a house\na cat \ud83d"}, r"script, line 2.*half of a character"),
        ({"script": "a house\n" + "(" * 3000 + "a cat" + ")" * 3000}, r"script, line 2: its parentheses are nested"),
        ({"script": "a house\n(a cat:nan)"}, r"script, line 2: .*not finite.*\(word:nan\)"),
        ({"negative": "(a cat:1e39)"}, r"negative: .*not finite"),
        ({"negative": "x" * 20_000}, "negative: it is 20,000 characters long"),
    ],
)
def test_a_script_that_cannot_be_read(comfy, storyboard, message):
    with pytest.raises((NodeError, InvalidGraphError), match=message):
        comfy.run(graph(storyboard))


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ({"columns": 0}, "columns"),
        ({"gutter": -1}, "gutter"),
        ({"caption_size": 9000}, "caption_size"),
        ({"caption_place": "left"}, "caption_place"),
    ],
)
def test_a_page_setting_that_cannot_be(comfy, page, name):
    with pytest.raises((NodeError, InvalidGraphError), match=name):
        comfy.run(graph(page=page))
