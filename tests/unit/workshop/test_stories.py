"""A file of stories: what each line becomes, and why a line is none."""

import json

import pytest
from PIL import Image

from storybooth.workshop import ROOT, WorkshopError
from storybooth.workshop.stories import Refused, Story, read_stories

WORKFLOW = ROOT / "workflows" / "api" / "nupjuki_story_mini.json"


@pytest.fixture
def read(tmp_path):
    """Read a file of these lines; beside it lies the folder `plush` with a photo."""
    (tmp_path / "plush").mkdir()
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "plush" / "0.png")

    def make(*lines):
        file = tmp_path / "stories.jsonl"
        file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
        return read_stories(file, WORKFLOW)

    return make


def inputs(story, node_type):
    (found,) = (node["inputs"] for node in story.graph.values() if node["class_type"] == node_type)
    return found


def test_a_story_is_its_graph_with_what_the_line_says(read, tmp_path):
    (tmp_path / "moon.txt").write_text("{subject} on the moon", "utf-8")
    plain, full, other = read(
        {"photos": "plush"},
        "",
        {
            "name": "chapters/one",
            "photos": str(tmp_path / "plush"),
            "subject": "a sks dog",
            "script": "moon.txt",
            "seed": 7,
            "settings": {"StoryBoothPanelSampler.steps": 3},
        },
        {"photos": "plush", "settings": {"StoryBoothLoraTrainer.rank": 2}},
    )
    assert (plain.line, plain.name, full.line, full.name, other.name) == (1, "story-1", 3, "chapters/one", "story-4")
    assert inputs(full, "StoryBoothStoryboard")["script"] == "{subject} on the moon"
    assert inputs(full, "StoryBoothLoraTrainer")["instance_prompt"] == "a sks dog"
    assert inputs(full, "StoryBoothIdentityBankWriter")["seed"] == inputs(full, "StoryBoothPanelSampler")["seed"] == 7
    assert inputs(full, "StoryBoothPanelSampler")["steps"] == 3
    assert inputs(plain, "StoryBoothPanelSampler")["steps"] == 10
    assert inputs(plain, "StoryBoothSubjectImages")["folder"] == plain.photos.name
    # One character, trained alike, is one LoRA; trained otherwise, it is another.
    assert read({"photos": "plush"}, {"photos": "plush", "seed": 9})[1].lora == plain.lora
    assert len({plain.lora, full.lora, other.lora}) == 3
    assert len({plain.digest, full.digest, other.digest}) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line is not JSON"),
        ("[" * 100_000, "the line is not JSON"),
        ("[1]", "no JSON object"),
        ({}, "photos: it is missing"),
        ({"photos": "plush", "page": "x"}, "'page' is unknown. Expected name, photos"),
        ({"photos": "plush", "seed": "7"}, 'seed: got "7", expected a whole number'),
        ({"photos": "plush", "subject": " "}, "subject: it is empty"),
        ({"photos": "plush", "seed": True}, "seed: got true"),
        ({"photos": "nowhere"}, "photos: there is no folder"),
        ({"photos": "plush", "name": "../up"}, "name: got '../up'"),
        ({"photos": "plush", "name": "a\ud800\x1b[2J"}, "has a character that does not belong in a name"),
        ({"photos": "plush", "script": "missing.txt"}, "missing.txt cannot be read (No such file"),
        ({"photos": "plush", "script": "plush/0.png"}, "'plush/0.png' is a file, but no .txt"),
        ({"photos": "plush", "workflow": "missing.json"}, "missing.json cannot be read (No such file"),
        ({"photos": "plush", "workflow": "stories.jsonl"}, "stories.jsonl is not JSON"),
        (
            {"photos": "plush", "settings": {"KSampler.steps": 3}},
            "'KSampler.steps': the workflow has 0 nodes 'KSampler'",
        ),
        (
            {"photos": "plush", "settings": {"StoryBoothPanelSampler.model": 3}},
            "'StoryBoothPanelSampler.model' is no widget",
        ),
    ],
)
def test_a_line_that_is_none_says_why_and_the_others_are_read(read, line, reason):
    refused, story = read(line, {"name": "good", "photos": "plush"})
    assert isinstance(refused, Refused)
    assert refused.line == 1
    assert reason in refused.reason
    assert (refused.name + refused.reason).isprintable()
    assert isinstance(story, Story)


def test_two_stories_of_one_name(read):
    _, refused = read({"name": "Moon", "photos": "plush"}, {"name": "moon", "photos": "plush"})
    assert refused.name == "story-2"
    assert refused.reason.startswith("name: 'moon' is taken by line 1")


def test_equal_lines_are_two_stories(read):
    """And a line ends where its file's line does: JSON may hold what else ends lines."""
    one, other = read(*['{"photos": "plush", "script": "a hill\u2028\x85{subject}"}'] * 2)
    assert one.digest != other.digest
    assert inputs(one, "StoryBoothStoryboard")["script"] == "a hill\u2028\x85{subject}"


def test_a_file_without_stories(read, tmp_path):
    with pytest.raises(WorkshopError, match="it has no line"):
        read("", " ")
    with pytest.raises(WorkshopError, match="cannot be read"):
        read_stories(tmp_path / "missing.jsonl", WORKFLOW)
