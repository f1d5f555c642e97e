"""Who is where in a panel, seen while it is drawn, and the page that is told of it; see seeing.py."""

import json

import pytest

from storybooth.tests.host.bank_story import changed, refused, story

SCRIPT = """\
[id] {subject}, walking in a forest
{subject} in a cafe @robot: Here I am! @house (left): Me?
[seed=3] {subject} in a cafe
[NC] a house by the sea @robot (off): Where?"""


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("seeing.py")


@pytest.mark.once
def test_looking_changes_no_bit_of_a_picture(measured):
    assert all(case["same"] for case in measured)
    assert {case["looked for in silence"] for case in measured} == {0}


@pytest.mark.once
def test_who_speaks_is_seen_where_the_picture_shows_it(measured):
    assert all(overlap(case["seen"], case["coloured"]) > 0.35 for case in measured), measured


@pytest.mark.once
def test_panels_of_a_batch_are_seen_one_by_one(measured):
    assert all(overlap(case["seen"], case["together"]) > 0.9 for case in measured), measured


def overlap(one, other):
    """The area that two boxes share, as part of the area that either covers."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, wide) * max(0.0, high)
    return shared / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared)


def told(comfy, script, **page):
    """What Story Panel Sampler tells of a story's speakers."""
    size = {"width": 128, "height": 128}
    nodes = changed(story(script), writer=size, panels=size)
    nodes["storyboard"]["inputs"]["subject"] = "a red robot"
    nodes["told"] = {"class_type": "PreviewAny", "inputs": {"source": ["panels", 2]}}
    letters = {
        "columns": 2,
        "gutter": 8,
        "caption_place": "below",
        "caption_size": 8,
        "font": "",
        "places": ["panels", 2],
    }
    inputs = {"images": ["panels", 0], "storyboard": ["storyboard", 0], **letters, **page}
    nodes["page"] = {"class_type": "StoryBoothComicPage", "inputs": inputs}
    nodes["paper"] = {"class_type": "PreviewImage", "inputs": {"images": ["page", 0]}}
    return nodes


def test_speakers_are_told_by_name_and_words_said_later_find_them_in_panels_drawn_before(comfy):
    silent = comfy.run(told(comfy, "\n".join(line.partition(" @")[0] for line in SCRIPT.splitlines())))
    assert json.loads(silent.outputs["told"]["text"][0]) == [{}, {}, {}, {}]
    spoken = comfy.queue(told(comfy, SCRIPT))
    events = list(spoken)
    places = json.loads(spoken.outputs["told"]["text"][0])
    assert [sorted(seen) for seen in places] == [[], ["robot"], [], []]
    left, top, right, bottom = places[1]["robot"]
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    steps = [event.data for event in events if event.type == "progress" and event.data.get("node") == "panels"]
    assert {event["value"] for event in steps} <= {step * events_per(steps) for step in range(5)}, steps


def events_per(steps):
    """The steps of a panel, on a bar of four."""
    return steps[-1]["max"] // 4


def test_a_page_is_lettered_by_what_was_seen(comfy):
    script = "[id] {subject} in a cafe @robot: Here I am!"
    pages = {}
    for box in ([0.02, 0.3, 0.3, 0.98], [0.7, 0.3, 0.98, 0.98]):
        run = comfy.run(told(comfy, script, columns=1, places=json.dumps([{"robot": box}])))
        pages[box[0]] = run.images("paper")[0]
    assert pages[0.02] != pages[0.7]


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ("nonsense", ("places", "nonsense", "Story Panel Sampler")),
        ("{}", ("places", "JSON list")),
        ("[]", ("places", "0 panels", "shows 1")),
        ('[{"robot": [0, 0, 2, 1]}]', ("places", "robot", "0 to 1")),
        ('[{"robot": [0.5, 0, 0.5, 1]}]', ("places", "robot")),
        ('[{"robot": "left"}]', ("places", "robot", "left")),
    ],
)
def test_places_that_are_none_are_refused_by_name(comfy, places, words):
    refused(comfy, told(comfy, "[id] {subject} in a cafe @robot: Here!", places=places), *words)
