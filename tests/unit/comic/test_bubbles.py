"""Speech in the script, and bubbles on the page: sized to their words, apart from each other, where they are read."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image

from storybooth.comic.bound import draw_pages, letter_pages
from storybooth.comic.bubbles import LETTERS, NOISE, place_bubbles
from storybooth.comic.cast import Role
from storybooth.comic.layout import READING, lay_out
from storybooth.comic.lettering import FULLER, is_torn, load_font, missing_character
from storybooth.comic.page import check_lettering, layout_page
from storybooth.comic.polygons import rectangle
from storybooth.comic.sheet import Sheet
from storybooth.comic.speech import MANNERS, Speech
from storybooth.comic.storyboard import parse
from storybooth.tests.fonts import KOREAN

MANY = ("speech", "thought", "shout", "whisper", "sound")
BOX = (0.0, 0.0, 900.0, 700.0)


def said(line: str) -> tuple[Speech, ...]:
    return parse(f"[id] a dog\n{line}", "a grey cat")[1].speech


def placed(*speeches: Speech, box=BOX, size=28, **options):
    safe = rectangle((box[0] + 8, box[1] + 8, box[2] - 8, box[3] - 8))
    return place_bubbles(speeches, safe, box, size, **options)


def box_of(bubble):
    return bubble.bubble.box(bubble.centre)


def apart(one, other):
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_speech_reads_like_a_script():
    panel = parse(
        "[id] {subject}, in a forest, @ night @nupjuki: Where am  I? @bo (shouts, left): {subject}! "
        "＠소리（thinks）：어디 @sound: CRASH # Deep in the forest",
        "a cat",
    )[0]
    assert panel.prompt == "a cat, in a forest, @ night"
    assert panel.caption == "Deep in the forest"
    assert panel.speech == (
        Speech("nupjuki", "Where am I?", "speech", "middle", 1),
        Speech("bo", "a cat!", "shout", "left", 1, is_placed=True),
        Speech("소리", "어디", "thought", "middle", 1),
        Speech("sound", "CRASH", "sound", "middle", 1),
    )


@pytest.mark.parametrize(
    "line", ["photo by @artist, a house", "a house, mail me@home: now", "a house @ 7: dusk", "a house # caption @ home"]
)
def test_what_is_no_speech_stays_as_it_was(line):
    panel = parse(f"[id] a dog\n{line}", "a cat")[1]
    assert panel.speech == ()
    assert f"{panel.prompt} # {panel.caption}".removesuffix(" # ") == line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a house @bo:", "says nothing"),
        ("a house @bo: @cy: hi", '"@bo:" says nothing'),
        ("@bo: hi", "there is no prompt"),
        ("a house @bo (sings): la", '"sings" says neither how nor where'),
        ("a house @bo (shouts) RUN", "looks like speech"),
        ("a house @ bo: hi", "looks like speech"),
        ("@bori hello", '"@bori" looks like speech, but no colon follows. Write @bori: words'),
        ("[plain] ＠보리 안녕", "＠보리: words"),
        ("a house @sound CRASH", "Write @sound: words"),
        ("a house # a caption @bo: hi", "Speech comes before it"),
        ("a house @bo: " + "x" * 401, "has 401 letters"),
        ("a house " + "@bo: hi " * 9, "9 bubbles are more than a panel holds"),
        ("[NC] a house @bo: hi", r"\[NC\] leaves every character out. Write @bo \(off\)"),
        ("a house @bo: {Subject}", "looks like {subject}"),
    ],
)
def test_speech_that_cannot_be_read(line, message):
    with pytest.raises(ValueError, match=rf"^script, line 2: .*{message}"):
        said(line)


def test_a_speaker_without_a_colon_is_no_part_of_the_prompt():
    """It would be drawn in silence; names that speak nowhere stay what they were."""
    lines = ["a house by @artist @Bori: hello", "a cat, waving @bori hello", "a cat by @artist, bori@home, a bori"]
    with pytest.raises(ValueError, match=r'^script, line 2: .*"@bori" looks like speech, but no colon follows'):
        parse("\n".join(lines), "a cat")
    del lines[1]
    assert [panel.prompt for panel in parse("\n".join(lines), "a cat")] == ["a house by @artist", lines[1]]
    with pytest.raises(ValueError, match='"@bori" looks like speech'):
        parse("{bori} waves @bori hello", "", cast=[Role("bori", "a bear")])
    assert parse("{bori} waves @artist", "", cast=[Role("bori", "a bear")])[0].prompt == "a bear waves @artist"


def test_voices_and_noises_need_nobody_in_the_picture():
    assert [spoken.side for spoken in said("[NC] a house @bo (off): hi @sound: BANG")] == ["off", "middle"]


@pytest.mark.parametrize("manner", MANY)
@pytest.mark.parametrize("words", ["No", "Where am I?", "I should never have left the cafe, and all that for a paper!"])
def test_all_words_are_inside_the_bubble_and_no_word_is_torn(manner, words):
    (bubble,) = placed(Speech("bo", words, manner, line=3))
    assert " ".join(bubble.bubble.lines) == words
    left, top, right, bottom = box_of(bubble)
    assert left > 7.9 and top > 7.9 and right < 892.1 and bottom < 692.1
    font = bubble.bubble.font
    assert max(font.getlength(line) for line in bubble.bubble.lines) <= right - left
    assert len(bubble.bubble.lines) * sum(font.getmetrics()) < bottom - top + 0.1


@pytest.mark.parametrize("right_to_left", [False, True])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("box", [BOX, (100.0, 50.0, 600.0, 850.0), (0.0, 0.0, 1400.0, 500.0)])
def test_bubbles_are_apart_in_reading_order_and_leave_the_speaker_free(box, count, right_to_left):
    words = ["Where are we?", "I have no idea at all.", "Look, a house!", "Run!"][:count]
    bubbles = placed(*(Speech("bo", text) for text in words), box=box, right_to_left=right_to_left)
    boxes = [box_of(bubble) for bubble in bubbles]
    assert all(apart(one, other) for one, other in combinations(boxes, 2))
    for before, after in pairwise(boxes):
        further = after[2] <= before[0] if right_to_left else after[0] >= before[2]
        assert further or (after[1] + after[3]) > (before[1] + before[3]), "further on, or lower"
    wide, high = box[2] - box[0], box[3] - box[1]
    speaker = (box[0] + 0.34 * wide, box[1] + 0.5 * high, box[0] + 0.66 * wide, box[3])
    assert all(apart(bubble, speaker) for bubble in boxes)
    for bubble in bubbles:
        others = [other for other in boxes if other != box_of(bubble)]
        assert all(apart((*bubble.mouth, *bubble.mouth), other) for other in others), "no tail runs into a bubble"


def test_a_tail_points_to_the_side_that_is_said():
    for side, low, high in (("left", 0, 450), ("right", 450, 900)):
        (bubble,) = placed(Speech("bo", "Hello there", side=side))
        assert low < bubble.mouth[0] < high
        assert bubble.mouth[1] > box_of(bubble)[3]
    (outside,) = placed(Speech("bo", "Hello there", side="off"))
    assert min(outside.mouth[0], 900 - outside.mouth[0]) < 20


def test_a_caption_is_not_covered():
    caption = (8.0, 8.0, 700.0, 120.0)
    (bubble,) = placed(Speech("bo", "Where am I?"), taken=[caption])
    assert apart(box_of(bubble), caption)


def test_a_bubble_that_does_not_fit_names_its_line():
    with pytest.raises(ValueError, match=r'^script, line 7: the bubble "word word.*does not fit.*caption_size'):
        placed(Speech("bo", "word " * 70, line=7), box=(0.0, 0.0, 200.0, 200.0))
    with pytest.raises(ValueError, match=r"^script, line 7: the bubble "):
        placed(Speech("bo", "Hi", line=7), box=(0.0, 0.0, 20.0, 20.0))


@pytest.mark.parametrize(
    ("words", "font", "line_by_line"),
    [
        ("여기가 어디지? 숲속에서 길을 잃었어", KOREAN, True),
        ("ここはどこ、森の中", KOREAN, False),
        ("Où est l’été? Łódź — Где мы?", "", True),
    ],
)
def test_words_of_other_scripts(words, font, line_by_line):
    (bubble,) = placed(Speech("bo", words), font=font)
    assert "".join(bubble.bubble.lines).replace(" ", "") == words.replace(" ", "")
    assert is_torn(words, bubble.bubble.lines) is False
    if not line_by_line:
        assert not any(line.startswith("、") for line in bubble.bubble.lines)


def test_a_font_without_the_letters_names_line_and_letter():
    with pytest.raises(ValueError, match=r'^script, line 2: font: the built-in font has no character "여"'):
        check_lettering([""], 1, 0, "below", 0, "", [said("a house @bo: 여기")])


def test_fonts_that_ship_write_english():
    letters = 'The quick brown fox? "No!" (it’s 4:30…) - & jumps; Über, café, ñandú'
    for file in (LETTERS, NOISE):
        assert missing_character(letters, load_font(str(file), 20)) is None
        assert file.stat().st_size < 60_000
    licence = FULLER.with_name("OFL.txt").read_text(encoding="utf-8")
    assert LETTERS.name in licence and NOISE.name in licence


PICTURE = Image.new("RGB", (600, 450), (70, 110, 160))


@pytest.mark.parametrize("manner", MANY)
def test_a_bubble_is_drawn_inside_its_panel_and_can_be_read(manner):
    speech = [(Speech("bo", "Where am I now?", manner),), ()]
    page = np.asarray(layout_page([PICTURE] * 2, ["", ""], columns=2, gutter=20, speeches=speech)).astype(int)
    plain = np.asarray(layout_page([PICTURE] * 2, ["", ""], columns=2, gutter=20)).astype(int)
    rows, columns = np.nonzero((page != plain).any(-1))
    assert len(rows) > 800
    assert rows.min() > 20 and columns.min() > 20 and rows.max() < 470 and columns.max() < 620
    assert ((page < 60).all(-1) & (plain > 60).any(-1)).sum() > 200, "ink"
    assert ((page > 250).all(-1) & (plain < 250).any(-1)).sum() > 200, "paper"


def test_every_manner_looks_different():
    pages = {layout_page([PICTURE], [""], speeches=[(Speech("b", "Now", m),)]).tobytes() for m in MANY}
    assert len(pages) == len(MANY) == len(set(MANNERS.values())) + 1


@pytest.mark.parametrize("layout", ["action", "manga", "webtoon strip", "newspaper strip", "grid 3 x 3"])
@pytest.mark.parametrize("reading", READING)
def test_bubbles_on_a_layout_stay_in_their_panels(layout, reading):
    made = lay_out(5, layout, page_width=1000, reading=reading, bleed=True)
    talk = [said("a cat @a (left): Look there! @b (right): Where?")] * 5
    words = letter_pages(["Meanwhile", "", "", "", ""], made, "above", 0, "", talk)
    for (caption, bubbles), place in zip(words, made.places, strict=True):
        left, top, right, bottom = place.box
        boxes = [box_of(bubble) for bubble in bubbles] + ([caption.box] if caption else [])
        assert len(bubbles) == 2
        assert all(left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom for box in boxes)
        assert all(apart(one, other) for one, other in combinations(boxes, 2))
    assert len(draw_pages([PICTURE] * 5, [""] * 5, made, speeches=talk)) == len(made.pages)


def test_without_speech_a_page_is_as_it_was():
    assert layout_page([PICTURE], ["Hi"], speeches=[()]) == layout_page([PICTURE], ["Hi"])


def test_japanese_stands_in_columns_on_pages_that_are_read_from_the_right():
    words = "ここはどこだろう、むかしのもりかな"
    speech = Speech("me", words, "speech", "middle", 1)
    (across,) = placed(speech, font=KOREAN)
    (down,) = placed(speech, font=KOREAN, right_to_left=True)
    assert across.bubble.direction is None
    assert across.bubble.half[0] > across.bubble.half[1]
    assert down.bubble.direction == "ttb"
    assert down.bubble.half[0] < down.bubble.half[1]
    sheet = Sheet.empty((900, 700), "grey")
    down.draw(sheet, 2)
    assert "".join(line.text for line in sheet.lines) == words
    assert not any(line.text[0] in "、。" for line in sheet.lines)
    left, top, right, bottom = box_of(down)
    for line, following in pairwise([*sheet.lines, None]):
        assert line.vertical
        assert left < line.left and line.left + line.ascent + line.descent < right
        assert top < line.baseline and line.baseline + line.width < bottom
        assert following is None or following.left < line.left
    (noise,) = placed(Speech("sound", words[:4], "sound", "middle", 1), font=KOREAN, right_to_left=True)
    assert noise.bubble.direction is None


@pytest.mark.parametrize("right_to_left", [False, True])
def test_each_speaks_from_its_own_side_though_who_is_further_on_begins(right_to_left):
    """No bubble has its tail cut short by the next one, as between both it would be."""
    first, then = ("left", "right") if right_to_left else ("right", "left")
    for words in (("Cold!", "He is a robot, is he not?"), ("Who is there, in the middle of the night?", "Me.")):
        speeches = [Speech("bob", words[0], "shout", first), Speech("nupjuki", words[1], "speech", then)]
        bubbles = placed(*speeches, right_to_left=right_to_left)
        middles = [bubble.centre[0] / BOX[2] - 0.5 for bubble in bubbles]
        assert [middle > 0 for middle in middles] == [side == "right" for side in (first, then)]
        assert all(bubble.mouth[1] > box_of(bubble)[3] + 28 for bubble in bubbles)
