"""The script grammar, rule by rule, and its errors."""

import random

import pytest

from storybooth.comic.flags import MAX_SEED
from storybooth.comic.stories import NUPJUKI
from storybooth.comic.storyboard import Panel, parse
from storybooth.comic.styles import NEGATIVE, STYLES, apply_style
from storybooth.texts import MAX_CHARACTERS

CAT = "a grey cat"


def one(line: str) -> Panel:
    """The panel of a line that is not alone in its script, so that no flag of it is a default."""
    return parse(f"[id] a dog\n{line}", CAT)[1]


def test_a_line_is_a_panel():
    first, second = parse("[id] {subject}, sleeping # A nap\n\n  {subject} awake  \r\n", CAT)
    assert first == Panel(line=1, prompt="a grey cat, sleeping", caption="A nap", identity=True)
    assert second == Panel(line=3, prompt="a grey cat awake")


@pytest.mark.parametrize(
    ("line", "prompt", "caption"),
    [
        ("{subject} and {subject} # {subject} twice", "a grey cat and a grey cat", "a grey cat twice"),
        ("a {mood|tone} in {} {other}", "a {mood|tone} in {} {other}", ""),
        ("house #7, c#, #1 song # No. #2 # here", "house #7, c#, #1 song", "No. #2 # here"),
        ("a house #", "a house", ""),
        ("a house\t#\tHome", "a house", "Home"),
        ("a [red] house # a house [id]", "a [red] house", "a house [id]"),
        ("a house, #1 song, C# minor, #ff8800 and #fff", "a house, #1 song, C# minor, #ff8800 and #fff", ""),
        ("a house, #nofilter, http://x/#part #", "a house, #nofilter, http://x/#part", ""),
        (
            "(plain:1.2) wall, the subject of a photo, {subject matter|topic}, {object}",
            "(plain:1.2) wall, the subject of a photo, {subject matter|topic}, {object}",
            "",
        ),
        ("숲속의 {subject} # 밤의 숲", "숲속의 a grey cat", "밤의 숲"),
    ],
)
def test_prompt_and_caption(line, prompt, caption):
    panel = one(line)
    assert (panel.prompt, panel.caption) == (prompt, caption)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("[id]", {"identity": True}),
        ("[hidden]", {"hidden": True}),
        ("[plain]", {"plain": True}),
        ("[NC]", {}),
        ("[seed=7]", {"seed": 7}),
        (f"[ SEED = {MAX_SEED} ]", {"seed": MAX_SEED}),
        ("[Id][Hidden]  [seed=0]", {"identity": True, "hidden": True, "seed": 0}),
        ("[nc] [plain] [hidden]", {"plain": True, "hidden": True}),
    ],
)
def test_flags(flags, expected):
    assert one(f"{flags} a house") == Panel(line=2, prompt="a house", **expected)


def test_flags_in_any_order_mean_the_same():
    flags = ["[hidden]", "[plain]", "[NC]", "[seed=3]"]
    draw = random.Random(0)
    seen = {one(" ".join(draw.sample(flags, len(flags))) + " a house # Home") for _ in range(30)}
    assert seen == {Panel(line=2, prompt="a house", caption="Home", hidden=True, plain=True, seed=3)}


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("{subject}, walking in a forest", "walking in a forest"),
        ("a house, {subject}, a tree", "a house, a tree"),
        ("a forest, {subject}", "a forest"),
        ("a forest without {subject}, at night.", "a forest without, at night."),
        ("{subject} {subject} forest", "forest"),
        ("a forest,, at  night", "a forest,, at  night"),
    ],
)
def test_no_character_leaves_the_subject_out(line, prompt):
    assert one(f"[NC] {line}").prompt == prompt


@pytest.mark.parametrize(
    ("script", "identity"),
    [
        ("{subject} a\n{subject} b\n{subject} c", [True, True, False]),
        ("{subject} a", [True]),
        ("{subject} a\n[id] b\nc", [False, True, False]),
        (
            "[plain] {subject} a\n{subject} b\n[NC] {subject} c\n{subject} d\n{subject} e",
            [False, True, False, True, False],
        ),
        ("[hidden] {subject} a\n[seed=1] {subject} b\n{subject} c", [True, True, False]),
        ("[plain] {subject} a\n[NC] {subject} b", [False, False]),
        ("a forest\n{subject} a\na spider\n{subject} b", [False, True, False, True]),
        ("a forest\nA grey cat a\na house\nthe grey cat", [False, True, False, False]),
        ("a forest # {subject}\na house", [False, False]),
    ],
)
def test_identity_lines(script, identity):
    assert [panel.identity for panel in parse(script, CAT)] == identity


def test_the_nupjuki_story():
    panels = parse(NUPJUKI, "a blue sks plush", "comic book")
    assert len(panels) == 10
    assert [panel.line for panel in panels if panel.identity] == [4, 5]
    assert [panel.line for panel in panels if panel.hidden] == [5]
    assert [panel.line for panel in panels if panel.plain] == [1, 2, 10]
    assert all(panel.caption for panel in panels if not panel.hidden)
    assert panels[3].prompt == (
        "a blue sks plush, standing in a lush forest illuminated by fireflies. graphic illustration, comic art, "
        "graphic novel art, vibrant, highly detailed"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[di] a cat", r"\[di\] is not a flag.*\[id\], \[hidden\], \[plain\], \[NC\] and \[seed=NUMBER\]"),
        ("[id=2] a cat", r"\[id=2\] is not a flag"),
        ("[] a cat", r"\[\] is not a flag"),
        ("[id a cat", "bracket is not closed.*Flags are"),
        ("[seed=x] a cat", "whole number from 0 to .* got 'x'"),
        ("[seed=-1] a cat", "whole number from 0 to .* got '-1'"),
        ("[seed=1.5] a cat", "whole number from 0 to .* got '1.5'"),
        (f"[seed={MAX_SEED + 1}] a cat", "whole number from 0 to"),
        ("[seed=٣] a cat", "whole number from 0 to"),
        ("[seed] a cat", "whole number from 0 to .* got ''"),
        ("[id] [ID] a cat", r"\[ID\] repeats a flag"),
        ("[seed=1] [seed=2] a cat", r"\[seed=2\] repeats a flag"),
        ("[id] [plain] a cat", r"\[id\] and \[plain\] exclude each other"),
        ("[NC] [id] a cat", r"\[id\] and \[NC\] exclude each other"),
        ("[id] [hidden]", "there is no prompt"),
        ("[id] # A caption", "there is no prompt"),
        ("# A comment", "there is no prompt"),
        ("[NC] {subject}, # Gone", r"\[NC\] leaves out \{subject\}, and nothing else"),
    ],
)
def test_a_bad_line_is_quoted_with_its_number(line, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(f"a house\n\n{line}\na tree", CAT)
    assert str(caught.value).startswith(f'script, line 3: "{line}": ')


@pytest.mark.parametrize(
    "line",
    [
        "［id］ ［seed=7］ {subject}, sleeping # A nap",
        "［ｉｄ］［ＳＥＥＤ＝７］ ｛subject｝, sleeping ＃ A nap",
        "[seed=７][id] ｛ｓｕｂｊｅｃｔ｝, sleeping\u3000＃\u3000A nap",
        "\ufeff[id] [seed=7] {subject}, sleeping # A nap",
        "\u200b[id]\u200d \u2060[seed=7] {sub\u00adject}, sleep\u200bing # \u200eA nap\u202c",
        "\x00[id] [seed=7] {subject}, sleeping #\xa0A nap\x1a",
    ],
)
def test_what_keyboards_and_editors_slip_in_is_read_as_meant(line):
    panel = one(line)
    assert panel == Panel(line=2, prompt="a grey cat, sleeping", caption="A nap", identity=True, seed=7)


def test_full_width_signs_and_joiners_stay_where_they_are_text():
    panel = one("森［赤］ ＃１ # 日記［＃２］ می\u200cروم 👩\u200d🚀")
    assert (panel.prompt, panel.caption) == ("森［赤］ ＃１", "日記［＃２］ می\u200cروم 👩\u200d🚀")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_every_line_end_ends_a_panel(end):
    panels = parse(f"[id] a house{end}{end}a tree # Home{end}", CAT)
    assert [(panel.line, panel.prompt, panel.caption) for panel in panels] == [
        (1, "a house", ""),
        (3, "a tree", "Home"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a cat #walking home", '"#walking home" looks like a caption.*" # "'),
        ("#walking", '"#walking" looks like a caption'),
        ("a cat# walking", "looks like a caption"),
        ("a cat#walking", "looks like a caption"),
        ("a cat ## walking", "looks like a caption"),
        ("森の中＃夜", "looks like a caption"),
        ("森の中 ＃夜", '"＃夜" looks like a caption'),
        ("{Subject} sleeps", r'"\{Subject\}" looks like \{subject\}\. Write \{subject\}'),
        ("{ subject } sleeps", "looks like {subject}"),
        ("{SUBJECT} sleeps", "looks like {subject}"),
        ("{subjet} sleeps", "looks like {subject}"),
        ("{sujbect} sleeps", "looks like {subject}"),
        ("{subjects} sleep", "looks like {subject}"),
        ("｛Ｓubject｝ sleeps", "looks like {subject}"),
        ("{subject sleeps", "looks like {subject}"),
        ("subject} sleeps", "looks like {subject}"),
        ("{subject) sleeps", "looks like {subject}"),
        ("(subject) sleeps", "looks like {subject}"),
        ("a dog and [subject]", "looks like {subject}"),
        ("a house # The home of {Subject}", "looks like {subject}"),
        ("a cat [id]", r"\[id\] is a flag, and flags come first"),
        ("a cat ［hidden］ # Home", r"\[hidden\] is a flag, and flags come first"),
        ("a cat, [seed=7]", r"\[seed=7\] is a flag, and flags come first"),
        ("(id) a cat", r'"\(id\)" looks like a flag.*: \[id\]'),
        ("[seed=7] {plain} a cat", r"\[plain\]"),
        ("【id】 a cat", r"\[id\]"),
        ("（hidden） a cat", r"\[hidden\]"),
        ("id] a cat", r"\[id\]"),
        ("a house\\n[id] a cat", "two characters.*one panel a line"),
        ("a house\\nA cat", "two characters"),
    ],
)
def test_near_misses_are_refused_with_what_was_meant(line, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(f"a house\n{line}", CAT)
    assert str(caught.value).startswith(f'script, line 2: "{line}": ')


@pytest.mark.parametrize("script", ["", "  ", "\n\t\n\r\n", "\ufeff\n\u200b"])
def test_an_empty_script(script):
    with pytest.raises(ValueError, match=r"script: it is empty\. Write one panel a line"):
        parse(script, CAT)


def test_an_empty_subject_matters_only_where_it_is_used():
    assert parse("a house", " ")[0].prompt == "a house"
    with pytest.raises(ValueError, match=r'line 2: "\{subject\} sleeps".*`subject` is empty'):
        parse("a house\n{subject} sleeps", " ")


LONG = MAX_CHARACTERS // 2 + 1


@pytest.mark.parametrize(
    ("script", "subject", "start"),
    [
        ("a house\n" + "x" * 1_000_000, CAT, 'script, line 2: "xxx'),
        ("[" + "x" * 9000 + "] a house", CAT, 'script, line 1: "[xxx'),
        ("[id]" * 2000 + " a house", CAT, 'script, line 1: "[id][id]'),
        (f"[seed={'9' * 400}] a house", CAT, 'script, line 1: "[seed=999'),
        ("{subject} {subject}", "x" * LONG, 'script, line 1: "{subject} {subject}": it is 10,003 characters long'),
        ("a # {subject} {subject}", "x" * LONG, 'script, line 1: "a # {subject} {subject}": it is 10,003 characters'),
        ("{subject}", "x" * 1_000_000, "subject: it is 1,000,000 characters long, expected at most 10,000"),
        ("a\nb \ud83d c", CAT, 'script, line 2: "b ? c": it has half of a character (U+D83D)'),
        ("{subject}", "\udc00", "subject: it has half of a character (U+DC00)"),
    ],
)
def test_texts_that_nothing_can_read_are_refused_in_few_words(script, subject, start):
    with pytest.raises(ValueError, match=r"^(script|subject)") as caught:
        parse(script, subject)
    message = str(caught.value)
    assert message.startswith(start)
    assert len(message) < 400


def test_a_script_is_read_or_refused_with_a_line_of_its_own():
    """Scripts put together at random: as many panels as lines, in order, or an error that quotes one of the lines."""
    draw = random.Random(7)
    parts = [
        "[id]",
        "[plain]",
        "[NC]",
        "[hidden]",
        "[seed=5]",
        "[x]",
        "[",
        "]",
        "#",
        "{subject}",
        "{}",
        ",",
        "cat",
        "숲",
    ]
    outcomes = set()
    for _ in range(2000):
        lines = [" ".join(draw.choices(parts, k=draw.randint(0, 4))) for _ in range(draw.randint(1, 4))]
        filled = [number for number, line in enumerate(lines, start=1) if line]
        try:
            panels = parse("\n".join(lines), CAT)
        except ValueError as error:
            outcomes.add("refused")
            quotes = [f'script, line {number}: "{lines[number - 1]}": ' for number in filled] or ["script: it is empty"]
            assert str(error).startswith(tuple(quotes))
        else:
            outcomes.add("read")
            assert [panel.line for panel in panels] == filled
            assert all(panel.prompt and "{subject}" not in panel.prompt + panel.caption for panel in panels)
            assert not any(panel.identity and panel.plain for panel in panels)
    assert outcomes == {"read", "refused"}


def test_every_style_keeps_the_prompt():
    assert next(iter(STYLES)) == "none"
    assert apply_style("a house", "none") == "a house"
    for style in list(STYLES)[1:]:
        assert apply_style("a house", style).startswith("a house. ")


def test_an_unknown_style_is_named():
    with pytest.raises(ValueError, match="style: got 'oil', expected one of: none, comic book"):
        parse("a house", CAT, "oil")


def test_the_negative_prompt_is_the_reports():
    assert NEGATIVE.startswith("photograph, deformed, glitch, noisy, realistic")
    assert NEGATIVE.endswith("signature, watermark, username, blurry")
