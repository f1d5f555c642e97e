"""Page Layout in a real ComfyUI: the sampler draws in its shapes, the page shows them, what is wrong is said first."""

import io

import numpy
import pytest
from PIL import Image

from storybooth.tests.host.bank_story import changed, story
from storybooth.workshop.client import NodeError

SCRIPT = """\
[id] {subject}, walking in a forest # walking
[id] [hidden] {subject}, sitting in a cafe
a house in a forest # A house
[plain] {subject}, at sea
{subject}, in a cafe"""
SAMPLING = {"width": 128, "height": 128, "steps": 3, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal"}
SCHEDULE = {"strength_32": 0.6, "strength_64": 0.4, "start_step": 0, "switch_step": 2}
SCHEDULE |= {"early_probability": 1.0, "late_probability": 1.0}


def graph(layout=None, page=None, sampler=None):
    """The story without a training; the arguments are inputs of Page Layout, Comic Page and Story Panel Sampler."""
    nodes = changed(
        story(SCRIPT),
        writer={**SAMPLING, **SCHEDULE},
        patch=SCHEDULE,
        panels={"layout": ["layout", 0], **SAMPLING, **(sampler or {})},
    )
    nodes["storyboard"]["inputs"]["subject"] = "a red robot"
    laid_out = {"layout": "grid 2 x 2", "rows": "1 1 / 1 | 1", "reading": "left to right", "page_width": 300}
    laid_out |= {"page_size": "square", "gutter": 2.0, "margin": 3.5, "slant": 8.0, "bleed": False, **(layout or {})}
    letters = {"columns": 2, "gutter": 8, "caption_place": "below", "caption_size": 12, "font": "", **(page or {})}
    shown = {"images": ["panels", 0], "storyboard": ["storyboard", 0], "layout": ["layout", 0]}
    added = {
        "layout": ("StoryBoothPageLayout", {"storyboard": ["storyboard", 0], **laid_out}),
        "page": ("StoryBoothComicPage", shown | letters),
        "save": ("SaveImage", {"images": ["page", 0], "filename_prefix": "laid-out/page"}),
        "all": ("SaveImage", {"images": ["panels", 0], "filename_prefix": "laid-out/panel"}),
    }
    return nodes | {key: {"class_type": node_type, "inputs": inputs} for key, (node_type, inputs) in added.items()}


def pictures(run, node):
    return [Image.open(io.BytesIO(content)).convert("RGB") for content in run.images(node)]


def test_panels_are_drawn_in_the_shapes_of_their_places(comfy):
    run = comfy.queue(graph())
    events = list(run)
    texts = [event.data["text"] for event in events if event.type == "progress_text" and event.data["node"] == "layout"]
    assert texts == ["4 panels on 2 pages. In SDXL's sizes: 3 at 1024 x 1024, 1 at 1408 x 704"]
    pages, panels = pictures(run, "save"), pictures(run, "all")
    assert [page.size for page in pages] == [(300, 300)] * 2
    assert [panel.size for panel in panels] == [(128, 128), (128, 128), (176, 88), (128, 128)]
    (plan,) = pictures(run, "layout")
    assert plan.width > plan.height

    # In the middle of its place stands the middle of the picture, made smaller.
    place = pages[0].crop((20, 20, 140, 120)).resize((12, 10), Image.Resampling.BOX)
    panel = panels[0].resize((134, 134)).crop((10, 10, 130, 110)).resize((12, 10), Image.Resampling.BOX)
    assert numpy.abs(numpy.asarray(place).astype(int) - numpy.asarray(panel)).mean() < 10


def test_panels_of_one_shape_are_the_same_as_without_a_layout(comfy):
    """The bank's own picture too, where it fits; a batch of them draws the same."""
    laid_out = pictures(comfy.run(graph()), "all")
    batched = pictures(comfy.run(graph(sampler={"at_once": 4, "seed_mode": "same"})), "all")
    plain = graph()
    del plain["panels"]["inputs"]["layout"], plain["page"]["inputs"]["layout"], plain["layout"]
    run = comfy.run(plain)
    without = pictures(run, "all")
    assert [panel.size for panel in without] == [(128, 128)] * 4
    assert len(pictures(run, "save")) == 1
    for index in (0, 1, 3):
        assert (numpy.asarray(laid_out[index]) == numpy.asarray(without[index])).all()
        near = numpy.abs(numpy.asarray(batched[index]).astype(int) - numpy.asarray(laid_out[index]))
        assert near.max() <= 2


def test_a_panel_of_another_shape_reads_the_bank(comfy):
    """An [id] line whose place has another shape is drawn again, and all read a bank of square pictures."""
    wide = {"rows": "1 / 1", "page_size": "square"}
    read = pictures(comfy.run(graph(wide)), "all")
    unread = graph(wide)
    unread["panels"]["inputs"]["model"] = ["mini", 0]
    plain = pictures(comfy.run(unread), "all")
    assert [panel.size for panel in read] == [(176, 88)] * 4
    same = [(numpy.asarray(one) == numpy.asarray(other)).all() for one, other in zip(read, plain, strict=True)]
    assert same == [False, False, True, False]


@pytest.mark.parametrize(
    ("inputs", "node", "message"),
    [
        ({"layout": {"rows": "1 x"}}, "layout", "rows: 'x' at 'x' was not expected"),
        ({"layout": {"rows": "9: 1 / 1: 1 1"}}, "layout", "rows: panel 2, on page 1, would be .* times as wide"),
        ({"page": {"caption_size": 200}}, "page", 'caption_size: the caption "walking" does not fit'),
    ],
)
def test_what_cannot_be_laid_out_is_said_before_anything_is_drawn(comfy, inputs, node, message):
    nodes = graph(**inputs)
    nodes["panels"]["inputs"]["seed"] = 6
    nodes.pop("all")
    with pytest.raises(NodeError, match=message) as caught:
        comfy.run(nodes)
    assert caught.value.node_id == node


def test_a_layout_of_another_storyboard_is_refused(comfy):
    nodes = graph()
    nodes["other"] = {**nodes["storyboard"], "inputs": {**nodes["storyboard"]["inputs"], "script": "a house\na tree"}}
    nodes["layout"]["inputs"]["storyboard"] = ["other", 0]
    with pytest.raises(NodeError, match="layout: it has places for 2 panels, but storyboard shows 4"):
        comfy.run(nodes)


def test_rows_leave_only_the_paper_of_a_layout_and_its_tooltip_says_so(comfy):
    """Two layouts for the same paper then give the same plan."""
    told = comfy.object_info("StoryBoothPageLayout")["StoryBoothPageLayout"]["input"]["required"]["layout"][1]
    assert "Where rows are filled in, only the paper of this layout counts." in told["tooltip"]
    plans = []
    for layout in ("grid 2 x 2", "cinematic rows", "webtoon strip"):
        nodes = graph({"layout": layout, "page_size": "as the layout has it", "page_width": 0})
        kept = {name: nodes[name] for name in ("mini", "storyboard", "layout")}
        plans.append(pictures(comfy.run(kept), "layout")[0])
    assert plans[0].size == plans[1].size != plans[2].size
    assert (numpy.asarray(plans[0]) == numpy.asarray(plans[1])).all()
