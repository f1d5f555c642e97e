"""The canvas takes a script apart as the grammar reads it, and changes nothing but what it is told to change."""

import base64
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storybooth.comic.near_misses import plain_braces
from storybooth.comic.speech import MANNERS, SOUND
from storybooth.comic.stories import NUPJUKI
from storybooth.comic.storyboard import parse
from storybooth.workshop import ROOT

PIECES = [
    *(
        "[id]",
        "[hidden] ",
        "[ NC ]",
        "[PLAIN]",
        "［id］",
        "[seed=7] ",
        "[seed＝ ７]",
        "[left=ball]",
        "[",
        "]",
        "=",
        "[]",
    ),
    *(
        "{subject}",
        "｛subject｝",
        "{ball}",
        " # ",
        " ＃ ",
        "#",
        "# ",
        "#tag",
        "@",
        " @ball: ",
        "@공: 어디?",
        "＠x（thinks）：",
    ),
    *(
        " @owl (whispers, right): psst",
        " @sound: CRASH",
        "@ball (off",
        ":",
        " (left)",
        "cat",
        "어디",
        "é",
        "😀",
        "²",
        "Ⅳ",
    ),
    *(" ", "  ", "\t", "\u3000", "\xa0", "\u200b", "\ufeff", "\u200c", "\u200d", "\u00ad", "\x1f", "e\u0301", "क्‍ष"),
]
ENDS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\n\n"]
LINES = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
SUBJECT = "{subject}"  # stands for itself, so that what is read can be compared with what is written

many = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def lines(page):
    """Run JavaScript that has js/script_lines.js as `s`, and one argument as `given`."""
    code = base64.b64encode((ROOT / "js" / "script_lines.js").read_bytes()).decode()
    page.evaluate(f"async () => {{ window.s = await import('data:text/javascript;base64,{code}'); }}")
    return lambda script, given: page.evaluate(f"(given) => {script}", given)


def panel_of(line):
    """What the grammar reads of a line; None for one that it refuses or that is blank. An implied [id] is left out."""
    try:
        (panel,) = parse(f"[id] x\n{line}", SUBJECT)[1:]
    except ValueError:
        return None
    return replace(panel, line=0, speech=tuple(replace(spoken, line=0) for spoken in panel.speech))


@given(st.lists(st.tuples(LINES, st.sampled_from(ENDS)), max_size=8).map(lambda parts: "".join(map("".join, parts))))
@many
def test_every_line_is_cut_where_the_grammar_cuts_it(lines, script):
    found = lines("({ cut: s.splitLines(given), joined: s.joinLines(s.splitLines(given)) })", script)
    assert found["joined"] == script
    texts = found["cut"]["texts"]
    assert (texts[:-1] if texts[-1] == "" else texts) == script.splitlines()
    for line, read in zip(texts, lines("given.map((line) => s.readLine(line))", texts), strict=True):
        for part in (*read["flags"], read["prompt"], *read["speech"], *(said["words"] for said in read["speech"])):
            assert 0 <= part["from"] <= part["to"] <= len(line.encode("utf-16-le")) // 2
        if panel := panel_of(line):
            assert_alike(read, panel)


def assert_alike(read, panel):
    flags = {flag["name"]: flag["value"] for flag in read["flags"]}
    seed = None if panel.seed is None else str(panel.seed)
    assert flags.keys() <= {"id", "hidden", "plain", "nc", "seed"}
    assert ("id" in flags, "hidden" in flags, "plain" in flags) == (panel.identity, panel.hidden, panel.plain)
    assert flags.get("seed", seed) == seed or int(flags["seed"]) == panel.seed
    if not ("nc" in flags and SUBJECT in plain_braces(read["prompt"]["text"], "subject")):
        assert plain_braces(read["prompt"]["text"], "subject") == panel.prompt
    assert plain_braces((read["caption"] or {"text": ""})["text"], "subject") == panel.caption
    said = [(spoken["speaker"], words_of(spoken), manner_of(spoken), spoken["where"]) for spoken in read["speech"]]
    assert said == [(spoken.speaker, spoken.words, spoken.manner, spoken.side) for spoken in panel.speech]


def words_of(spoken):
    return " ".join(plain_braces(spoken["words"]["text"], "subject").split())


def manner_of(spoken):
    return SOUND if spoken["speaker"].casefold() == SOUND else MANNERS[spoken["how"]]


CHANGES = {
    "s.setPrompt(given, 'a dog')": {"prompt": "a dog"},
    "s.setPrompt(given, s.readLine(given).prompt.text)": {},
    "s.setCaption(given, 'Night')": {"caption": "Night"},
    "s.setFlag(given, 'hidden', true)": {"hidden": True},
    "s.setFlag(given, 'hidden', false)": {"hidden": False},
    "s.setFlag(given, 'plain', true)": {"plain": True, "identity": False},
    "s.setFlag(given, 'seed', true, '9')": {"seed": 9},
    "s.setFlag(given, 'seed', false)": {"seed": None},
    "s.readLine(given).speech.reduceRight((line, said, index) => s.removeSpeech(line, index), given)": {"speech": ()},
}


@given(LINES)
@many
def test_a_change_changes_its_part_alone(lines, line):
    panel = panel_of(line)
    if panel is None or "#" in panel.prompt or "＃" in panel.prompt:  # a # in a prompt needs a caption's mark behind it
        return
    every = ", ".join(CHANGES)
    for result, (change, expected) in zip(lines(f"[{every}]", line), CHANGES.items(), strict=True):
        assert panel_of(result) == replace(panel, **expected), (change, result)
    if not panel.hidden and not panel.identity:
        assert panel_of(lines("s.setFlag(s.setFlag(given, 'hidden', true), 'hidden', false)", line)) == panel
    spoken = panel_of(lines("s.addSpeech(s.setFlag(given, 'nc', false), 'owl', 'thinks', 'hm')", line)).speech[-1]
    assert (spoken.speaker, spoken.manner, spoken.words) == ("owl", "thought", "hm")


def test_what_is_written_as_people_write_it_stays_to_the_byte(lines):
    for line in NUPJUKI.splitlines():
        parts = "[given, s.setPrompt(given, p.prompt.text), s.setCaption(given, p.caption?.text ?? '')]"
        assert lines(f"((p) => {parts})(s.readLine(given))", line) == [line] * 3
    named = "['[id] a house # x', '{subject}, a house @a: b', 'a cat and {owl}, at sea']"
    shown = lines(f"{named}.map((line) => [s.setCharacter(line, 'owl', true), s.setCharacter(line, 'Owl', false)])", 0)
    assert shown == [
        ["[id] {owl}, a house # x", "[id] a house # x"],
        ["{owl}, {subject}, a house @a: b", "{subject}, a house @a: b"],
        ["{owl}, a cat and at sea", "a cat and at sea"],
    ]
    script = "a\r\n\r\nb # c\nd"
    moved = "((l) => { s.removeLine(l, 3); s.insertLine(l, 0, 'new'); return s.joinLines(l); })(s.splitLines(given))"
    assert lines(moved, script) == "new\r\na\r\n\r\nb # c"
