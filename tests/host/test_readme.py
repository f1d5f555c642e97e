"""The README's commands, as they are printed there."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request

import pytest
from PIL import Image

from storybooth.tests.host.story import graph, photo
from storybooth.workshop import ROOT
from storybooth.workshop.server import install_pack

pytestmark = pytest.mark.once

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def archive(comfy):
    """What the Comfy registry's archive holds, unpacked: the server runs on it, and so do the README's commands."""
    (pack,) = (found.parent for found in (comfy.base / "custom_nodes").glob("*/pyproject.toml"))
    return pack


def command(name):
    """The words of the only command in the README's code blocks that begins like this."""
    blocks = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if block.startswith(name))
    return shlex.split(found.replace("\\\n", ""))


def test_the_story_is_queued_with_curl(comfy, archive):
    """Without curl and a shell, which not every machine has: what they would send is sent."""
    _curl, address, _H, header, _d, body = command("curl")
    (file,) = re.findall(r"\$\(cat (.*)\)", body)
    body = body.replace(f"$(cat {file})", (archive / file).read_text(encoding="utf-8"))
    address = address.replace("http://127.0.0.1:8188", comfy.url)
    request = urllib.request.Request(address, body.encode(), dict([header.split(": ")]))
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    assert answer["node_errors"] == {}
    while answer["prompt_id"] not in comfy.get_json("/history"):
        comfy.interrupt()
        time.sleep(0.2)


def test_what_curl_queues_twice_tells_its_picture_twice(comfy):
    """The second time all comes from ComfyUI's cache, and old releases then answer clients without a name with none."""
    *_, body = command("curl")
    picture = {"width": 16, "height": 16, "batch_size": 1, "color": 0x123456}
    small = {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    body = re.sub(r"\$\(cat .*?\)", json.dumps(small), body).encode()
    for _ in range(2):
        request = urllib.request.Request(f"{comfy.url}/prompt", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            queued = json.load(response)["prompt_id"]
        while queued not in comfy.get_json("/history"):
            time.sleep(0.1)
        assert len(comfy.history(queued)["outputs"]["2"]["images"]) == 1


def test_the_archive_holds_what_users_need_and_no_more(archive):
    folders = {path.name for path in archive.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {"assets", "comic", "consistency", "docs", "js", "locales", "nodes", "scripts", "training"} | {
        "subgraphs",
        "workflows",
        "workshop",
    }
    assert sum(path.stat().st_size for path in archive.rglob("*") if path.suffix != ".pyc") < 45e6
    for wanted in ("test", "benchmark attention"):
        line = [sys.executable, archive / "dev.py", *wanted.split()]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "archive leaves out. Clone the repository" in done.stderr


def test_the_example_script_queues_a_story(comfy, archive, tmp_path):
    words = command("python scripts/queue_story.py")
    given = dict(zip(words[2::2], words[3::2], strict=True))
    photos = tmp_path / given["--photos"]
    photos.mkdir()
    (photos / "0.png").write_bytes(photo(0))
    (photos / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a blue sks ball on sand"}\n')
    (tmp_path / given["--script"]).write_text("[id] {subject} on the moon # on the moon\n[id] {subject} on Mars\n")
    small = tmp_path / "story.json"
    small.write_text(json.dumps(graph("none", "none")))
    done = queue_story(*words[2:], "--server", comfy.url, "--workflow", small, pack=archive, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'a sks dog' is in no caption beside the photos" in done.stderr
    assert done.stdout.strip() == str(tmp_path / "page.png")
    assert Image.open(tmp_path / "page.png").width > 2 * 64
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".tmp"] == []
    assert list((comfy.base / "models" / "loras").glob(f"{photos.name}-*.safetensors"))
    (uploaded,) = (comfy.base / "input").glob(f"{photos.name}-*")
    assert (uploaded / "metadata.jsonl").is_file()

    # Other photos in a folder of the same name, and one photo more: each is another character.
    other = tmp_path / "other" / photos.name
    other.mkdir(parents=True)
    (other / "눕 é.png").write_bytes(photo(20))
    (photos / "2.png").write_bytes(photo(40))
    for changed in (other, photos):
        more = queue_story(
            "--photos", changed, "--server", comfy.url, "--workflow", small, pack=archive, folder=tmp_path
        )
        assert more.returncode == 0, more.stderr
        assert "Photos: " in more.stderr
    assert more.stdout.strip() == str(tmp_path / "page-3.png"), "pages that are there stay"
    assert len(list((comfy.base / "models" / "loras").glob(f"{photos.name}-*.safetensors"))) == 3
    folders = (comfy.base / "input").glob(f"{photos.name}-*")
    sent = sorted(sorted(file.name for file in folder.iterdir()) for folder in folders)
    assert sent == [["0.png", "2.png", "metadata.jsonl"], ["0.png", "metadata.jsonl"], ["눕 é.png"]]


def test_the_example_script_tells_in_a_line_what_is_wrong(comfy, archive, tmp_path):
    photos, korean, nodes = tmp_path / "photos", "story.txt", "nodes.json"
    photos.mkdir()
    (photos / "0.png").write_bytes(photo(0))
    (tmp_path / korean).write_bytes("숲".encode("cp949"))
    (tmp_path / nodes).write_text('{"1": {"class_type": "EmptyImage", "inputs": {}}}')
    asked = ["--server", comfy.url, "--photos", photos]
    for more, told in (
        (["--photos", "missing"], "--photos: there is no folder"),
        (["--photos", photos, "--page", "missing/page.png"], "missing/page.png cannot be written"),
        (["--photos", photos, "--script", korean], "--script: story.txt is not UTF-8 text"),
        (["--photos", photos, "--workflow", korean], "--workflow: story.txt is not UTF-8 text"),
        (["--photos", photos, "--workflow", nodes], "nodes.json has 0 nodes SaveImage"),
        (["--workflow", ROOT / "workflows" / "storybooth_comic_speech_bubbles_mini.json"], "the canvas's format"),
        (["--script", "missing.txt"], "missing.txt"),
        (["--server", "http://127.0.0.1:9"], "does not answer"),
        (["--photos", tmp_path], "holds no images"),
    ):
        done = queue_story(*asked, *more, pack=archive, folder=tmp_path)
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def queue_story(*arguments, pack, folder):
    line = [sys.executable, pack / "scripts" / "queue_story.py", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


def test_the_demo_takes_photos(comfyui_folder, tmp_path):
    """As far as the command line: what follows is in test_story."""
    archive = install_pack(tmp_path)
    _python, script, demo, given, photos, *subject = command("python dev.py demo --photos")
    assert (archive / photos / "metadata.jsonl").is_file()
    line = [sys.executable, archive / script, demo, given, tmp_path / photos, *subject]
    settings = os.environ | {"COMFYUI_PATH": str(comfyui_folder)}
    done = subprocess.run(line, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"--photos: there is no folder {(tmp_path / photos).resolve()}.\n"
