"""Where speakers are: text that travels, boxes on the page, and whom a line's own word overrules."""

import pytest

from storybooth.comic.speakers import HEADS, Speakers, on_page, read_places, written_places
from storybooth.comic.speech import Speech

PANEL = (100, 0, 300, 200)
SEEN = {"bo": (110.0, 80.0, 160.0, 190.0)}


def test_what_was_seen_travels_as_text():
    text = written_places([{"bo": (0.12345, 0.25, 0.5, 1.0)}, {}, {"보": (0, 0, 1, 1)}])
    assert text == '[{"bo": [0.123, 0.25, 0.5, 1.0]}, {}, {"보": [0, 0, 1, 1]}]'
    assert read_places(text, 3) == [{"bo": (0.123, 0.25, 0.5, 1.0)}, {}, {"보": (0.0, 0.0, 1.0, 1.0)}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "JSON list"),
        ("[" * 100_000, "JSON list"),
        ("[1]", "JSON list"),
        ("[{}]", "1 panels, but storyboard shows 2"),
        ('[{"bo": [0, 0, 1]}, {}]', "for bo"),
        ('[{"bo": [0, 0, NaN, 1]}, {}]', "for bo"),
        ('[{"bo": [0.2, 0, 0.1, 1]}, {}]', "for bo"),
        ('[{"bo": {"a": 1}}, {}]', "for bo"),
    ],
)
def test_text_that_is_none_is_refused(text, words):
    with pytest.raises(ValueError, match=f"places: .*{words}"):
        read_places(text, 2)


def test_a_picture_that_is_cut_takes_its_boxes_along():
    # Twice as wide as its place: a quarter of it is cut off at each side.
    box = on_page({"bo": (0.25, 0.5, 0.5, 1.0), "gone": (0.0, 0.0, 0.1, 1.0)}, (400, 200), PANEL)
    assert box["bo"] == (100, 100, 200, 200)
    assert box["gone"][0] == box["gone"][2] == 100


def test_a_speaker_is_where_it_was_seen_unless_the_line_says_otherwise():
    speakers = Speakers(PANEL, SEEN)
    seen, told = Speech("Bo", "Hi"), Speech("Bo", "Hi", side="right", is_placed=True)
    assert speakers.across(seen) == 0.175
    assert speakers.side(seen) == "left"
    assert speakers.zone(seen, HEADS[0]) == (110, 80, 160, 190)
    assert speakers.mouth(seen, HEADS[0]) == (135, 92)
    assert speakers.side(told) == "right"
    assert speakers.zone(told, HEADS[0]) == Speakers(PANEL).zone(told, HEADS[0]) == (216, 84, 284, 200)
    assert Speakers(PANEL, SEEN).side(Speech("eve", "Hi")) == "middle"


def test_words_have_room_above_a_speaker_that_fills_its_panel():
    zone = Speakers(PANEL, {"bo": (100.0, 0.0, 300.0, 200.0)}).zone(Speech("bo", "Hi"), HEADS[0])
    assert zone[1] == 40
