"""A cast in the script: who a line shows, what is drawn of each, and where."""

import pytest

from storybooth.comic.cast import Role, check_name
from storybooth.comic.storyboard import parse

CAST = (Role("nupjuki", "a blue plush"), Role("bob", "a red robot"), Role("ann", "a fox"))
HALVES = [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]


def one(line, style="none"):
    """The panel of a line that is not alone in its script."""
    return parse(f"[id] {{ann}}\n{line}", "", style, CAST)[1]


def drawn(line):
    return {part.name: part.prompt for part in one(line).parts}


def test_one_character_is_drawn_as_the_subject_of_a_story_of_its_own():
    for line in ("[plain] {bob}, {bob} in a cafe", "[seed=7] {bob} | here"):
        ours, theirs = one(line), parse(f"[id] a\n{line}".replace("{bob}", "{subject}"), "a red robot")[1]
        assert (ours.prompt, ours.seed, ours.plain, ours.parts) == (theirs.prompt, theirs.seed, theirs.plain, ())
        assert ours.characters == ("bob",)


def test_subject_is_the_first_of_the_cast():
    assert one("{subject} in a cafe").characters == ("nupjuki",)
    assert one("{subject} in a cafe").prompt == "a blue plush in a cafe"


def test_a_line_of_nobody():
    assert one("a house") == parse("[id] a\na house", "")[1]


@pytest.mark.parametrize(
    ("line", "scene", "own"),
    [
        ("{nupjuki} and {bob} in a cafe", "in a cafe", ["a blue plush in a cafe", "a red robot in a cafe"]),
        ("in a cafe: {bob}, {nupjuki}", "in a cafe", ["in a cafe: a red robot", "in a cafe: a blue plush"]),
        (
            "{nupjuki}, {ann} and {bob} at sea",
            "at sea",
            ["a blue plush at sea", "a fox at sea", "a red robot at sea"],
        ),
        (
            "{nupjuki} reading | {bob} drinking | in a cafe",
            "in a cafe",
            ["a blue plush reading, in a cafe", "a red robot drinking, in a cafe"],
        ),
        ("{nupjuki} & {bob}", "a blue plush & a red robot", ["a blue plush", "a red robot"]),
        ("｛nupjuki｝ with {bob} here", "here", ["a blue plush here", "a red robot here"]),
    ],
)
def test_each_is_drawn_from_the_line_without_the_others(line, scene, own):
    panel = one(line)
    assert panel.prompt == scene
    assert [part.prompt for part in panel.parts] == own
    assert [part.name for part in panel.parts] == list(panel.characters)


def test_the_style_is_put_around_every_prompt():
    panel = one("{bob} and {ann} at sea", "paper cut-out")
    assert all("layered paper" in prompt for prompt in (panel.prompt, *(part.prompt for part in panel.parts)))


@pytest.mark.parametrize(
    ("flags", "names", "boxes"),
    [
        ("", ["nupjuki", "bob"], HALVES),
        ("[left=bob] [right=nupjuki]", ["nupjuki", "bob"], HALVES[::-1]),
        ("[TOP = nupjuki][bottom=bob]", ["nupjuki", "bob"], [(0, 0, 1, 0.5), (0, 0.5, 1, 1)]),
        (
            "[left=ann] [middle=bob] [right=nupjuki]",
            ["ann", "bob", "nupjuki"],
            [(0, 0, 1 / 3, 1), (1 / 3, 0, 2 / 3, 1)],
        ),
        ("[middle=ann] [top=bob]", ["ann", "bob"], [(0, 1 / 3, 1, 2 / 3), (0, 0, 1, 1 / 3)]),
        ("[bob=10,20,50,60.5] [left=ann]", ["bob", "ann"], [(0.1, 0.2, 0.5, 0.605), (0, 0, 0.5, 1)]),
        ("[right=bob]", ["bob"], [(0.5, 0, 1, 1)]),
    ],
)
def test_places(flags, names, boxes):
    panel = one(f"{flags} {' and '.join(f'{{{name}}}' for name in names)} in a cafe")
    assert [part.name for part in panel.parts] == names
    assert [part.box for part in panel.parts][: len(boxes)] == boxes


def test_three_without_places_stand_side_by_side_in_the_order_of_the_line():
    parts = one("{bob}, {ann} and {nupjuki}").parts
    assert [part.name for part in parts] == ["bob", "ann", "nupjuki"]
    assert [part.box[::2] for part in parts] == [(0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)]


def test_a_speaker_is_where_its_part_is_unless_the_line_says_otherwise():
    panel = one("{bob} and {ann} at sea @ann: Hi {bob}! @Bob: Yes? @bob (right): No @owl: hoo # {bob} and {ann}")
    assert [(spoken.speaker, spoken.side) for spoken in panel.speech] == [
        ("ann", "right"),
        ("Bob", "left"),
        ("bob", "right"),
        ("owl", "middle"),
    ]
    assert panel.speech[0].words == "Hi bob!"
    assert panel.caption == "bob and ann"


def test_identity_lines_belong_to_the_character_that_they_name():
    script = "{bob} a\n{ann} a\n[id] {bob} b\n{ann} and {bob}\n[plain] {ann} b\n{ann} c\n{ann} d\n{nupjuki} a\na house"
    panels = parse(script, "", "none", CAST)
    identities = [(panel.line, panel.characters) for panel in panels if panel.identity]
    assert identities == [(2, ("ann",)), (3, ("bob",)), (6, ("ann",)), (8, ("nupjuki",))]


def test_no_character():
    assert one("[NC] {bob} and {ann} at sea").prompt == "at sea"
    assert one("[NC] {bob} and {ann} at sea").characters == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{bop} at sea", ["{bop} is nobody of this cast", "nupjuki, bob, ann", "Did you mean {bob}?"]),
        ("{Bob} at sea", ["Did you mean {bob}?"]),
        ("{zorro} at sea", ["{zorro} is nobody of this cast, which has nupjuki, bob, ann."]),
        ("a house # {zorro}", ["{zorro} is nobody"]),
        ("{bob at sea", ['a brace is missing at "{bob at sea"']),
        ("ann} and {bob} at sea", ["a brace is missing at"]),
        ("[left=bob] [middle=ann] [right=nupjuki] {bob} and {ann}", ["[right=nupjuki]", "does not show {nupjuki}"]),
        ("[bob=0,0,50,50] a house", ["[bob=...] gives bob a place", "does not show {bob}"]),
        ("[left=bob] {bob} and {ann}", ["ann has no place"]),
        ("[left=bob] [right=bob] {bob} and {ann}", ["gives bob two places"]),
        ("[left=bob] [left=ann] {bob} and {ann}", ["repeats a flag"]),
        ("[left=zorro] {bob}", ["[left=zorro] names nobody of this cast"]),
        ("[bob=0,0,5,50] {bob}", ["at least 10 wide"]),
        ("[bob=50,0,0,50] {bob}", ["in percent of the picture", "[bob=10,20,50,90]"]),
        ("[zorro=0,0,50,50] {bob}", ["is not a flag", "[left=nupjuki]"]),
        ("{bob} and {ann} [left=bob]", ["[left=bob] is a flag, and flags come first"]),
        ("{bob} and {ann}, {bob} waves", ["names {bob} twice"]),
        ("[id] {bob} and {ann}", ["[id] makes an identity image, which shows one character", "has 2"]),
        ("[id] a house", ["has 0"]),
        ("[id] [left=bob] {bob}", ["has 1 in a place"]),
        ("[NC] {bob} and {ann}", ["nothing else is there to draw"]),
        ("{bob} at sea @nupjuky: Hi!", ["@nupjuky looks like nupjuki of the cast", "Write @nupjuki, or"]),
    ],
)
def test_what_cannot_be_meant_is_refused(line, says):
    with pytest.raises(ValueError, match="script, line 2") as caught:
        one(line)
    assert [part for part in says if part not in str(caught.value)] == [], caught.value


def test_places_need_a_cast():
    with pytest.raises(ValueError, match="Wire Character nodes into cast"):
        parse("[left=bob] a house", "")
    assert parse("{bob} and {ann} at sea", "")[0].prompt == "{bob} and {ann} at sea"


def test_two_of_one_name():
    with pytest.raises(ValueError, match="'bob' is twice in this cast"):
        parse("a house", "", "none", (*CAST, Role("Bob", "a dog")))


@pytest.mark.parametrize("name", ["", "two words", "7up", "subject", "Left", "sound", "a" * 41, "b{b"])
def test_names_that_cannot_be(name):
    with pytest.raises(ValueError, match="name: "):
        check_name(name)


@pytest.mark.parametrize("name", ["bob", "Bob2", "눕죽이", "d'Artagnan"])
def test_names(name):
    check_name(name)
    (panel,) = parse(f"{{{name}}} in a cafe", "", "none", (Role(name, "a dog"),))
    assert panel.prompt == "a dog in a cafe"
