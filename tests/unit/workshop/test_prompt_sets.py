"""Stories in the form of ConsiStory+, as the benchmark `public` reads them."""

import pytest
import yaml

from storybooth.comic.storyboard import parse
from storybooth.development.benchmarks.prompt_sets import PromptSet, read_sets

CAT = {"concept_token": "cat", "style": "", "subject": "A cat", "settings": ["in a box", "on a sled", "in an alley"]}
ROBOT = {
    "style": " A drawing of ",
    "subject": "a red\n robot",
    "settings": ["at sea", "in a cafe", "in snow", "at home"],
}


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, count=None):
        file = tmp_path / "sets.yaml"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return read_sets(file, count)

    return write_and_read


def test_prompts_are_style_subject_and_setting(read):
    cat, robot = read({"animals": [CAT], "toys": [ROBOT]})
    assert (cat.name, robot.name) == ("animals 1", "toys 1")
    assert cat.prompts == ["A cat in a box", "A cat on a sled", "A cat in an alley"]
    assert robot.prompts[:2] == ["A drawing of a red robot at sea", "A drawing of a red robot in a cafe"]
    panels = parse(robot.script, robot.subject)
    assert [panel.prompt for panel in panels] == robot.prompts
    assert [panel.identity for panel in panels] == [True, True, False, False]


def test_so_many_sets_of_each_category(read):
    found = read({"animals": [CAT, ROBOT, CAT], "toys": [ROBOT]}, 2)
    assert [told.name for told in found] == ["animals 1", "animals 2", "toys 1"]
    assert found[0] == PromptSet("animals 1", "A cat", tuple(CAT["settings"]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (["a red robot"], "got a list at the top, expected categories"),
        ("", "got a NoneType at the top"),
        ("animals: [", "cannot be read as YAML"),
        ("animals: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ({"toys": {"subject": "a red robot"}}, "category 'toys' is not in the form"),
        (
            {"toys": [ROBOT, {"subject": "a robot", "frames": ["in a cafe"]}]},
            "toys 2 is .* got frames, subject, expected",
        ),
        ({"toys": ["a red robot"]}, "toys 1 is not in the form .* got no keys"),
        ({"toys": [{**ROBOT, "settings": ["at sea", "in snow"]}]}, r"settings \(3 or more texts\)"),
        ({"toys": [{**ROBOT, "settings": ["at sea", "in snow", 7]}]}, "toys 1 is not in the form"),
        ({"toys": [{**ROBOT, "subject": " "}]}, "toys 1 is not in the form"),
        ({"toys": [{**CAT, "style": "[id]"}, {**CAT, "settings": ["a", "b [plain]", "c"]}]}, "toys 2: script, line 2"),
    ],
)
def test_another_form_is_named(read, content, said):
    with pytest.raises(ValueError, match=rf"sets\.yaml.*{said}"):
        read(content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none\.yaml"):
        read_sets(tmp_path / "none.yaml")
