"""Many stories over two real servers, on Ray: none is lost with a server, and pages are those of a single one."""

import json
import os
import signal
import subprocess
import sys

import pytest

from storybooth.tests.conftest import HOSTS
from storybooth.tests.host.story import graph, photo
from storybooth.workshop import ROOT, host
from storybooth.workshop.server import install_pack, serve

pytest.importorskip("ray")


@pytest.fixture
def stories(tmp_path):
    """A file of eight stories of two characters, between lines that are none."""
    for character, shift in (("ball", 0), ("pup", 30)):
        (tmp_path / character).mkdir()
        for angle in (0, 20):
            (tmp_path / character / f"{angle}.png").write_bytes(photo(angle + shift))
    small = graph("", "")
    small["save"]["inputs"]["filename_prefix"] = "stories/page"
    (tmp_path / "small.json").write_text(json.dumps(small))
    (tmp_path / "moon.txt").write_text(
        "[id] {subject} on the moon # on the moon\n[id] {subject} on Mars\n{subject} at home"
    )
    lines = [
        {"name": f"{character}-{number}", "photos": character, "subject": f"a sks {character}", "seed": number}
        for number in range(4)
        for character in ("ball", "pup")
    ]
    lines[1]["script"] = "moon.txt"
    lines[2]["settings"] = {"StoryBoothPanelSampler.seed_mode": "same"}
    bad = ["{broken", json.dumps({"photos": "nowhere"}), json.dumps({"name": "ball-0", "photos": "ball"})]
    file = tmp_path / "stories.jsonl"
    file.write_text("\n".join([bad[0], *map(json.dumps, lines), "", *bad[1:]]))
    return file


def command(stories, out, *more):
    words = [sys.executable, ROOT / "scripts" / "draw_stories.py", stories, "--out", out, *more]
    return [*map(str, words), "--workflow", str(stories.with_name("small.json")), "--patience", "60"]


def results(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_eight_stories_and_a_server_that_dies(comfy, stories, tmp_path):
    if comfy.release != host.NEWEST:
        pytest.skip("once is enough: it takes a minute")
    single, many = tmp_path / "single", tmp_path / "many"
    alone = subprocess.run(command(stories, single, "--server", comfy.url), capture_output=True, text=True, check=False)
    pages = {path.name: path.read_bytes() for path in single.glob("*.png")}
    assert len(pages) == 8, alone.stdout + alone.stderr
    assert alone.returncode == 1  # three lines are none, each with its number and why
    assert alone.stderr.strip() == "3 of 11 stories cannot be drawn; results.jsonl says why."
    reasons = {entry["line"]: entry["error"] for entry in results(single) if "error" in entry}
    assert reasons.keys() == {1, 11, 12}
    assert "not JSON" in reasons[1]
    assert "there is no folder" in reasons[11]
    assert "is taken by line 2" in reasons[12]
    assert len(set(pages.values())) == 8

    base = tmp_path / "second"
    install_pack(base)
    with serve(HOSTS / f"comfyui-{host.NEWEST}", base) as second:
        # The first has drawn all before and would be done at once: both begin from nothing.
        first = tmp_path / "first"
        install_pack(first)
        with serve(HOSTS / f"comfyui-{host.NEWEST}", first) as doomed:
            both = command(stories, many, "--server", doomed.url, "--server", second.url)
            run = subprocess.Popen(both, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            told = []
            for line in run.stdout:
                told.append(line)
                if f"drawn by {doomed.url}" in line:
                    os.kill(doomed.pid, signal.SIGKILL)
                    break
            told += run.communicate(timeout=500)[0].splitlines()
        told = "\n".join(told)
        assert f"{doomed.url}: lost" in told, told
        assert f"drawn by {second.url}" in told
        assert {path.name: path.read_bytes() for path in many.glob("*.png")} == pages
        drawn = [entry["name"] for entry in results(many) if "page" in entry]
        assert sorted(drawn) == sorted(name.removesuffix(".png") for name in pages)  # each once
        assert len(list((base / "models" / "loras").glob("*.safetensors"))) == 2

        # A page that was lost is drawn again, and nothing else.
        (many / "pup-2.png").unlink()
        again = subprocess.run(
            command(stories, many, "--server", second.url), capture_output=True, text=True, check=False
        )
        assert again.stdout.count("drawn before") == 7
        assert again.stdout.count("drawn by") == 1
        assert (many / "pup-2.png").read_bytes() == pages["pup-2.png"]


def test_servers_that_are_none(comfy, stories, tmp_path):
    if comfy.release != host.NEWEST:
        pytest.skip("once is enough")
    quick = [*command(stories, tmp_path / "out", "--server", "http://127.0.0.1:9"), "--patience", "3"]
    done = subprocess.run(quick, capture_output=True, text=True, check=False)
    assert "http://127.0.0.1:9: lost" in done.stdout
    assert done.stderr.strip() == "No server is left, and 8 stories wait. Start one and run this again: it goes on."
    for more, message in (
        (["--server", "ftp://x"], "expected an address"),
        (["--ray", "127.0.0.1:9"], "--ray: no Ray"),
    ):
        done = subprocess.run(command(stories, tmp_path / "out", *more), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
