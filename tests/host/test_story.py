"""The whole story on a real ComfyUI: by hand, and through the demo."""

import io
import json
import shutil
from collections import Counter

import pytest
import safetensors
from PIL import Image

from storybooth.tests.deletions import watched
from storybooth.tests.host.story import graph, photo, upload_photos
from storybooth.workshop import WorkshopError, demo, host
from storybooth.workshop.client import NodeError


def test_photos_become_a_page_with_every_event_on_the_way(comfy):
    upload_photos(comfy, "by-hand")
    run = comfy.queue(graph("by-hand", "by-hand"))
    events = list(run)
    (page,) = run.images("save")
    assert Image.open(io.BytesIO(page)).width > 2 * 64
    with safetensors.safe_open(comfy.base / "models" / "loras" / "by-hand.safetensors", "pt") as lora:
        assert lora.metadata()["ss_output_name"] == "by-hand"

    panels = [event.data for event in events if event.type == "storybooth.panel"]
    assert [panel["index"] for panel in panels] == [None, 0, 1, 2]
    assert {panel["node"] for panel in panels} == {"panels"}
    assert Image.open(io.BytesIO(comfy.download(panels[-1]["image"]))).size == (64, 64)
    texts = [event.data for event in events if event.type == "progress_text"]
    of_trainer = [text["text"] for text in texts if text["node"] == "trainer"]
    assert any("loss" in text for text in of_trainer)
    assert of_trainer[-1] == f"Saved {comfy.base / 'models' / 'loras' / 'by-hand.safetensors'}"


def test_a_story_that_has_nothing_for_the_bank_is_refused_before_training(comfy):
    upload_photos(comfy, "too-plain")
    nodes = graph("too-plain", "too-plain")
    nodes["storyboard"]["inputs"]["script"] = "[plain] {subject}, at sea\n[NC] a house"
    with pytest.raises(NodeError, match=r"storyboard: it has no \[id\] line"):
        comfy.run(nodes)
    assert not (comfy.base / "models" / "loras" / "too-plain.safetensors").exists()


@pytest.mark.parametrize(
    ("script", "font", "message"),
    [
        ("[id] {subject}, at sea # 바다", "", 'font: the built-in font has no character "바"'),
        ("[id] {subject}, at sea # at sea", "NoSuchFont.ttf", "font: no font file 'NoSuchFont.ttf'"),
    ],
)
def test_a_page_that_cannot_be_lettered_is_refused_before_training(comfy, script, font, message):
    upload_photos(comfy, "unlettered")
    nodes = graph("unlettered", "unlettered")
    nodes["storyboard"]["inputs"]["script"] = script
    nodes["page"]["inputs"]["font"] = font
    nodes["panels too"] = {"class_type": "PreviewImage", "inputs": {"images": ["panels", 0]}}
    with pytest.raises(NodeError, match=message):
        comfy.run(nodes)
    assert not (comfy.base / "models" / "loras" / "unlettered.safetensors").exists()


def test_only_what_a_new_caption_touches_runs_again(comfy):
    upload_photos(comfy, "again")
    nodes = graph("again", "again")
    comfy.run(nodes)
    comfy.run(
        {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
    )
    before = (comfy.base / "models" / "loras" / "again.safetensors").stat()
    nodes["storyboard"]["inputs"]["script"] += ", alone"
    events = list(comfy.queue(nodes))
    assert (comfy.base / "models" / "loras" / "again.safetensors").stat().st_mtime_ns == before.st_mtime_ns
    steps = Counter(event.data["node"] for event in events if event.type == "progress")
    assert steps["trainer"] == steps["writer"] == 0
    assert steps["panels"] > 0


def test_only_the_panel_whose_line_changed_is_drawn_again(comfy):
    upload_photos(comfy, "kept")
    nodes = graph("kept", "kept")
    nodes["panels"]["inputs"]["seed_mode"] = "same"
    nodes["writer"]["inputs"]["seed"] = 4711  # no other test has this bank written: the server would find it
    nodes["all"] = {"class_type": "SaveImage", "inputs": {"images": ["panels", 0], "filename_prefix": "all"}}
    script = nodes["storyboard"]["inputs"]["script"] + "\n{subject} in a tent # in a tent"

    def draw(script):
        nodes["storyboard"]["inputs"]["script"] = script
        seen = len(comfy.log_text())
        run = comfy.queue(nodes)
        moves = [event.data for event in run if event.type == "progress" and event.data["node"] == "panels"]
        steps = nodes["panels"]["inputs"]["steps"]  # a panel that is not drawn moves the bar by all of them at once
        drawn = {move["value"] // steps for move in moves if move["value"] % steps}
        # ComfyUI leaves moves out that follow each other too fast; in the log each sampling has its bar.
        times = comfy.log_text()[seen:].count(f"| 0/{steps} [")
        return [Image.open(io.BytesIO(image)).tobytes() for image in run.images("all")], drawn, times

    (walking, house, sea, tent), drawn, times = draw(script)
    assert (drawn <= {1, 2, 3}, times) == (True, 3 + 1), "the identity image is the bank's, which is written"
    lines = script.splitlines()
    swapped, drawn, times = draw("\n".join([*lines[:2], lines[4], lines[3], lines[2]]))
    assert swapped == [walking, tent, sea, house]
    assert (drawn, times) == (set(), 0)

    lines[2] = "a tower in a forest"
    changed, drawn, times = draw("\n".join(lines))
    assert (drawn <= {1}, times) == (True, 1)
    assert [changed[0], *changed[2:]] == [walking, sea, tent]
    assert changed[1] != house

    # What shapes all panels that read the bank leaves the plain one alone.
    nodes["patch"]["inputs"]["strength_64"] = 0.2
    weaker, drawn, times = draw("\n".join(lines))
    assert (drawn <= {1, 3}, times) == (True, 2)
    assert [weaker[0], weaker[2]] == [walking, sea], "an identity image and a [plain] line"
    assert weaker[3] != tent


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    """The demo with a small story and a base directory of its own."""
    monkeypatch.setattr(demo, "BASE", tmp_path / "comfy")
    monkeypatch.setattr(demo, "STORY", tmp_path / "story.json")
    demo.STORY.write_text(json.dumps(graph("none", "none")))
    photos = tmp_path / "balls"
    photos.mkdir()
    (photos / "0.png").write_bytes(photo(0))
    return photos


def made(capsys):
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if line[:4] in ("Page", "LoRA"))
    return lines["Page"], lines["LoRA"]


ON_THE_NEWEST = pytest.mark.parametrize("comfyui_folder", [host.NEWEST], indirect=True)


@ON_THE_NEWEST
def test_the_demo_prints_where_page_and_lora_are(comfyui_folder, small_demo, capsys):
    # Where an earlier demo put its copies: the photos themselves must not go.
    photos = demo.BASE / "input" / small_demo.name
    shutil.copytree(small_demo, photos)
    with watched() as lost:
        demo.run(comfyui_folder, photos)
    assert lost == []
    assert [file.read_bytes() for file in photos.iterdir()] == [photo(0)]
    page, lora = made(capsys)
    assert Image.open(page).width > 2 * 64
    (small_demo / "0.txt").write_text("a ball with a caption")
    demo.run(comfyui_folder, small_demo)
    other_page, other_lora = made(capsys)
    assert other_page != page
    assert other_lora != lora, "other captions, other LoRA"
    (small_demo / "0.txt").unlink()
    demo.run(comfyui_folder, small_demo, "a green sks globe")
    named_page, named_lora = made(capsys)
    assert named_lora not in (lora, other_lora)
    with Image.open(named_page) as page_of_globe:
        assert '"subject": "a green sks globe"' in page_of_globe.text["prompt"]


@ON_THE_NEWEST
def test_the_demo_says_what_is_wrong_with_the_photos(comfyui_folder, small_demo):
    with pytest.raises(WorkshopError, match="there is no folder"):
        demo.run(comfyui_folder, small_demo / "missing")
    with pytest.raises(WorkshopError, match=r"0\.png is a file"):
        demo.run(comfyui_folder, small_demo / "0.png")
    with pytest.raises(WorkshopError, match="--subject: it is empty"):
        demo.run(comfyui_folder, small_demo, " ")
    (small_demo / "empty").mkdir()
    with pytest.raises(WorkshopError, match="holds no images"):
        demo.run(comfyui_folder, small_demo / "empty")
    (small_demo / "0.png").write_bytes(b"not an image")
    with pytest.raises(WorkshopError, match=r"0\.png[\s\S]*log"):
        demo.run(comfyui_folder, small_demo)
