"""The folder that stories are drawn into: what is there is known again, whoever was killed in the middle."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from storybooth.workshop import ROOT, WorkshopError
from storybooth.workshop.results import DrawnPanel, Results, drawn_by_us_alone
from storybooth.workshop.stories import read_stories


def page(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def story(tmp_path):
    (tmp_path / "plush").mkdir()
    (tmp_path / "plush" / "0.png").write_bytes(page("blue"))
    (tmp_path / "stories.jsonl").write_text('{"name": "chapters/one", "photos": "plush"}')
    (found,) = read_stories(tmp_path / "stories.jsonl", ROOT / "workflows" / "api" / "nupjuki_story_mini.json")
    return found


def test_a_page_is_drawn_once_as_long_as_it_is_whole(story, tmp_path):
    out = tmp_path / "out"
    results = Results(out)
    assert not results.has(story)
    results.keep_panel(story, 3, DrawnPanel(b"three", '[{"bo": [0, 0, 0.5, 1]}]'))
    assert Results(out).panels(story) == {3: DrawnPanel(b"three", '[{"bo": [0, 0, 0.5, 1]}]')}
    results.drawn(story, [page("red")], ["here"], 1.25)
    assert Results(out).has(story)
    assert Results(out).panels(story) == {}
    (entry,) = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    assert (entry["name"], list(entry["pages"]), entry["servers"]) == ("chapters/one", ["chapters/one.png"], ["here"])
    with Image.open(out / "chapters" / "one.png") as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)
        assert json.loads(picture.info["prompt"]) == story.graph
    (out / "chapters" / "one.png").write_bytes(page("green"))
    assert not Results(out).has(story)


def test_pages_of_a_layout_are_numbered(story, tmp_path):
    Results(tmp_path / "out").drawn(story, [page("red"), page("blue")], ["here"], 1)
    assert sorted(path.name for path in (tmp_path / "out" / "chapters").iterdir()) == ["one-1.png", "one-2.png"]
    assert Results(tmp_path / "out").has(story)


def test_a_page_replaces_an_earlier_one_of_its_story_and_nothing_else(story, tmp_path):
    out = tmp_path / "out"
    (out / "chapters").mkdir(parents=True)
    path = out / "chapters" / "one.png"
    path.write_bytes(page("green"))
    with pytest.raises(ValueError, match=r"would be chapters/one\.png, but a file that is no page of this script's"):
        Results(out).drawn(story, [page("red")], ["here"], 1)
    assert path.read_bytes() == page("green")
    path.unlink()
    results = Results(out)
    results.drawn(story, [page("red")], ["here"], 1)
    (out / "results.jsonl").rename(out / "lost.jsonl")  # or not written, as the script was killed
    Results(out).drawn(story, [page("red")], ["here"], 1)
    Results(out).drawn(replace(story, graph={**story.graph, "more": {}}), [page("blue")], ["here"], 1)
    other = replace(story, name="chapters/one-1")
    results.drawn(other, [page("red")], ["here"], 1)
    with pytest.raises(ValueError, match="but a page of the story 'chapters/one-1' lies there"):
        results.drawn(story, [page("red"), page("blue")], ["here"], 1)


def test_a_line_that_was_cut_off_harms_no_other(story, tmp_path):
    Results(tmp_path / "out").drawn(story, [page("red")], ["here"], 1)
    with (tmp_path / "out" / "results.jsonl").open("a") as file:
        file.write('5\n{"pages": 1}\n{"name": "half')
    results = Results(tmp_path / "out")
    assert results.has(story)
    results.failed(7, "seven", "why")
    last = (tmp_path / "out" / "results.jsonl").read_text().splitlines()[-1]
    assert json.loads(last) == {"line": 7, "name": "seven", "error": "why"}


def test_a_lora_is_found_again_and_stays_in_its_folder(tmp_path):
    results = Results(tmp_path / "out")
    assert not results.knows_lora("ball")
    results.keep_lora("ball", "ball.seed2.safetensors", b"lora")
    assert Results(tmp_path / "out").lora("ball") == ("ball.seed2.safetensors", b"lora")
    with pytest.raises(ValueError, match="lora_name"):
        results.keep_lora("pup", "../../pup.safetensors", b"lora")
    Path(tmp_path / "out" / "loras" / "ball.seed2.safetensors").unlink()
    assert not Results(tmp_path / "out").knows_lora("ball")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be made"):
        Results(tmp_path / "file" / "out")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is always full here")
def test_a_disk_that_is_full(story, tmp_path):
    results = Results(tmp_path)
    (tmp_path / "results.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"results\.jsonl cannot be written \(No space left on device\)"):
        results.drawn(story, [page("red")], ["here"], 1)
    (tmp_path / "results.jsonl").unlink()
    assert not Results(tmp_path).has(story)  # it is drawn again


def test_one_at_a_time(tmp_path):
    with (
        drawn_by_us_alone(tmp_path),
        pytest.raises(WorkshopError, match="another draw_stories"),
        drawn_by_us_alone(tmp_path),
    ):
        pass
    with drawn_by_us_alone(tmp_path):
        pass
