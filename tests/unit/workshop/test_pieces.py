"""A story's pieces: what each prompt holds, and which stories stay whole."""

import copy
import json

import pytest

from storybooth.comic.storyboard import parse
from storybooth.workshop import ROOT
from storybooth.workshop.pieces import PLACES, SAVED, SEEN, Whole, cut, saved_anew, training

STORY = "0123456789abcdef" * 2


@pytest.fixture
def graph():
    """The bundled story."""
    return json.loads((ROOT / "workflows" / "api" / "nupjuki_story_mini.json").read_text(encoding="utf-8"))


def inputs(graph, node_type):
    (found,) = (node["inputs"] for node in graph.values() if node["class_type"] == node_type)
    return found


def types(piece):
    return {node["class_type"].removeprefix("StoryBooth") for node in piece.graph.values()}


def test_each_piece_holds_what_it_needs_and_no_more(graph):
    before = copy.deepcopy(graph)
    pieces = cut(graph, STORY)
    assert types(training(graph)) == {"MiniCheckpoint", "SubjectImages", "LoraTrainer", "PreviewAny"}
    needed = {"MiniCheckpoint", "SubjectImages", "LoraTrainer", "Storyboard"}
    assert types(pieces.bank) == {*needed, "IdentityBankWriter", "SaveIdentityBank"}
    assert types(pieces.panels[1]) == {*needed, "PanelSampler", "SaveComic", "PreviewAny"}  # it is [plain]
    reads = {*needed, "PanelSampler", "SaveComic", "PreviewAny", "ConsistentAttention", "LoadIdentityBank"}
    assert types(pieces.panels[3]) == reads
    assert [place for place, piece in pieces.panels.items() if not piece.reads_bank] == [1, 2, 9]
    assert types(pieces.page) == {
        "MiniCheckpoint",
        "Storyboard",
        "SubjectImages",
        "RebatchImages",
        "ComicPage",
        "SaveImage",
    }
    named = pieces.panels[3].with_bank("x/y.safetensors").graph
    assert inputs(named, "StoryBoothLoadIdentityBank")["name"] == "x/y.safetensors"
    assert graph == before


def test_where_speakers_are_comes_with_the_panels_and_goes_to_the_page(graph):
    pieces = cut(graph, STORY)
    assert pieces.tells == SEEN
    told = pieces.panels[3].graph[SEEN]["inputs"]["source"]
    assert (pieces.panels[3].graph[told[0]]["class_type"], told[1]) == ("StoryBoothPanelSampler", PLACES)
    places = dict.fromkeys(pieces.panels, "[{}]") | {2: '[{"bo": [0.1, 0.2, 0.3, 0.4]}]'}
    page = inputs(pieces.page_with(places), "StoryBoothComicPage")
    assert json.loads(page["places"]) == [{}, {"bo": [0.1, 0.2, 0.3, 0.4]}, *[{}] * (len(places) - 2)]
    with pytest.raises(ValueError, match="places: "):
        pieces.page_with({1: "[{}, {}]"})

    inputs(graph, "StoryBoothComicPage").pop("places")
    pieces = cut(graph, STORY)
    assert pieces.tells == ""
    assert SEEN not in pieces.panels[3].graph
    assert pieces.page_with({}) == pieces.page.graph
    inputs(graph, "StoryBoothComicPage")["images"][1] = PLACES
    with pytest.raises(Whole, match="takes what Story Panel Sampler draws"):
        cut(graph, STORY)


@pytest.mark.parametrize("mode", ["same", "increment"])
def test_a_panel_is_the_line_that_it_is_in_the_story(graph, mode):
    """Read by the parser itself: prompt, seed and, of identity images, all of the bank's lines."""
    sampler, told = inputs(graph, "StoryBoothPanelSampler"), inputs(graph, "StoryBoothStoryboard")
    sampler["seed_mode"] = mode
    told["script"] = (
        "{subject} at home\n[seed=9] [hidden] a house\n{subject} at sea # sea\na hill\n［plain］ {subject}, gone"
    )
    whole = parse(told["script"], told["subject"], told["style"])
    pieces = cut(graph, STORY).panels
    shown = [index for index, panel in enumerate(whole) if not panel.hidden]
    assert list(pieces) == [1, 2, 3, 4]
    for place, index in zip(pieces, shown, strict=True):
        mine = parse(inputs(pieces[place].graph, "StoryBoothStoryboard")["script"], told["subject"], told["style"])
        (panel,) = (panel for panel in mine if not panel.hidden)
        assert panel.prompt == whole[index].prompt
        if whole[index].identity:
            assert [line.prompt for line in mine if line.identity] == [line.prompt for line in whole if line.identity]
            assert panel.seed is None
            assert "bank" in inputs(pieces[place].graph, "StoryBoothPanelSampler")
        else:
            assert panel.seed == 42 + (index if mode == "increment" else 0)
            assert "bank" not in inputs(pieces[place].graph, "StoryBoothPanelSampler")
    assert "model" in inputs(pieces[4].graph, "StoryBoothPanelSampler")


def test_a_layout_gives_each_panel_its_size(graph):
    sampler, page = inputs(graph, "StoryBoothPanelSampler"), inputs(graph, "StoryBoothComicPage")
    graph["20"] = {
        "class_type": "StoryBoothPageLayout",
        "inputs": {"storyboard": ["5", 0], "layout": "manga", "page_width": 800},
    }
    sampler["layout"] = page["layout"] = ["20", 0]
    pieces = cut(graph, STORY)
    drawn = [inputs(piece.graph, "StoryBoothPanelSampler") for piece in pieces.panels.values()]
    assert len({(widgets["width"], widgets["height"]) for widgets in drawn}) > 2
    assert not any("layout" in widgets for widgets in drawn)
    assert "RebatchImages" not in inputs(pieces.page.graph, "StoryBoothComicPage")["images"][0]
    # An [id] line of another shape than the bank's pictures is drawn anew, as Story Panel Sampler does it.
    (square,) = [place for place, widgets in enumerate(drawn, 1) if "bank" in widgets] or (0,)
    assert square == 0 or drawn[square - 1]["width"] == drawn[square - 1]["height"]
    graph["20"]["inputs"]["layout"] = "no such layout"
    with pytest.raises(Whole, match="no such layout"):
        cut(graph, STORY)


def test_what_is_saved_is_a_loan_of_the_story_and_never_of_one_name(graph):
    pieces = cut(graph, STORY)
    names = [saved_anew(pieces.bank.graph, SAVED, STORY)[SAVED]["inputs"]["name"] for _ in range(2)]
    assert len(set(names)) == 2
    assert all(name.startswith(f"storybooth_loans/{STORY}/") and name.endswith("/%digest%") for name in names)
    saved = saved_anew(pieces.page.graph, pieces.saver, STORY)[pieces.saver]["inputs"]
    assert saved["filename_prefix"].startswith(f"storybooth_loans/{STORY}/")
    assert saved["images"] == inputs(graph, "SaveImage")["images"]


@pytest.mark.parametrize(
    ("node_type", "change", "why"),
    [
        ("StoryBoothPanelSampler", {"at_once": 2}, "panels at once"),
        ("StoryBoothPanelSampler", {"seed": ["20", 0]}, "seed comes from another node"),
        ("StoryBoothStoryboard", {"script": ["20", 0]}, "script comes from another node"),
        ("StoryBoothStoryboard", {"script": "[broken"}, "its script: "),
        ("StoryBoothStoryboard", {"script": "[hidden] {subject}"}, "no line of its script is shown"),
        ("SaveImage", {"images": ["8", 0]}, "SaveImage.images takes what Story Panel Sampler draws"),
        ("StoryBoothComicPage", {"gutter": ["6", 1]}, "its page takes more than panels and words"),
        ("StoryBoothConsistentAttention", {"start_step": ["6", 1]}, "more of Identity Bank Writer than its bank"),
    ],
)
def test_what_stays_whole_says_why(graph, node_type, change, why):
    inputs(graph, node_type).update(change)
    with pytest.raises(Whole) as told:
        cut(graph, STORY)
    assert why in str(told.value)


def test_two_trainers_stay_whole(graph):
    graph["21"] = copy.deepcopy(graph["4"])
    with pytest.raises(Whole, match="2 nodes StoryBoothLoraTrainer"):
        cut(graph, STORY)
