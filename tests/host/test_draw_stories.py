"""Many stories over two real servers and a Ray cluster of two nodes: none is lost with a server, a node or the script
itself, and pages are those of one server that runs the whole graph.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from storybooth.tests.conftest import HOSTS
from storybooth.tests.host.bank_story import story as bank_story
from storybooth.tests.host.story import graph, photo
from storybooth.workshop import ROOT, host
from storybooth.workshop.server import install_pack, serve
from storybooth.workshop.stories import Story, read_stories

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

from storybooth.workshop.painter import DONE, FAILED, LOST, REFUSED, Job, Loan, Painter, is_running

pytestmark = pytest.mark.once

STORE = {"object_store_memory": 80 * 2**20, "num_cpus": 2}
NOTICED = {"health_check_period_ms": 500, "health_check_failure_threshold": 4, "health_check_timeout_ms": 2000}
"""A lost node is noticed within seconds, not half a minute."""


@pytest.fixture
def stories(tmp_path):
    """A file of six stories of two characters, and of one that nobody can draw, between lines that are none."""
    for character, shift in (("ball", 0), ("pup", 30)):
        (tmp_path / character).mkdir()
        for angle in (0, 20):
            (tmp_path / character / f"{angle}.png").write_bytes(photo(angle + shift))
    small = graph("", "")
    small["page"]["inputs"]["places"] = ["panels", 2]
    (tmp_path / "small.json").write_text(json.dumps(small))
    layout = {"storyboard": ["storyboard", 0], "layout": "manga", "page_width": 400}
    small["layout"] = {"class_type": "StoryBoothPageLayout", "inputs": layout | _DEFAULTS}
    small["panels"]["inputs"]["layout"] = small["page"]["inputs"]["layout"] = ["layout", 0]
    (tmp_path / "laid.json").write_text(json.dumps(small))
    (tmp_path / "moon.txt").write_text(
        "{subject} on the moon # on the moon\n[seed=3] a hill\n{subject} at home @pup: Hi"
    )
    lines = [
        {"name": f"{character}-{number}", "photos": character, "subject": f"a sks {character}", "seed": number}
        for number in range(3)
        for character in ("ball", "pup")
    ]
    lines[1]["script"] = "moon.txt"
    lines[2]["settings"] = {"StoryBoothPanelSampler.seed_mode": "same"}
    lines[4]["workflow"] = "laid.json"
    lines[5]["settings"] = {"StoryBoothPanelSampler.at_once": 2}  # this one is drawn whole
    much = {f"StoryBoothIdentityBankWriter.{name}": value for name, value in TOO_MUCH.items()}
    lines.append({"name": "giant", "photos": "ball", "subject": "a sks ball", "settings": much})
    bad = ["{broken", json.dumps({"photos": "nowhere"}), json.dumps({"name": "ball-0", "photos": "ball"})]
    file = tmp_path / "stories.jsonl"
    file.write_text("\n".join([bad[0], *map(json.dumps, lines), "", *bad[1:]]))
    return file


TOO_MUCH = {"width": 8192, "height": 8192, "steps": 1000, "storage": "full"}
"""A bank for which no computer has the memory."""

_DEFAULTS = {
    "rows": "",
    "reading": "left to right",
    "page_size": "as the layout has it",
    "gutter": 1.2,
    "margin": 3.5,
    "slant": 8.0,
    "bleed": False,
}


def command(stories, out, *more):
    words = [sys.executable, ROOT / "scripts" / "draw_stories.py", stories, "--out", out]
    return [*map(str, words), "--workflow", str(stories.with_name("small.json")), *more]


def results(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def pixels(content):
    with Image.open(io.BytesIO(content)) as picture:
        return picture.size, picture.tobytes()


class Script:
    """The script while it runs, and what it has `told`; killed at the end."""

    def __init__(self, words):
        self.told = ""
        self._run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def read_until(self, words):
        """Read on until it says so."""
        for line in self._run.stdout:
            self.told += line
            if words in line:
                return
        raise AssertionError(f"it never said {words!r}:\n{self.told}")

    def ended(self):
        """Whether it has; then all that it told is told."""
        if self._run.poll() is None:
            return False
        self.told += self._run.stdout.read()
        return True

    def __exit__(self, *_):
        self._run.kill()
        self.told += self._run.communicate(timeout=100)[0]


def at_work(*servers, script=None):
    """Wait until each has been given something, a Ray worker stands behind it, while the script runs."""
    waited = set(servers)
    until = time.monotonic() + 600
    while waited and time.monotonic() < until and not (script and script.ended()):
        waited -= {server for server in waited if server.get_json("/queue")["queue_running"]}
        time.sleep(0.05)
    assert not waited, f"no work came to {[server.url for server in waited]}:\n{script.told if script else ''}"


def test_a_node_a_server_and_the_script_die_and_nothing_is_lost(comfy, stories, tmp_path):
    out, base = tmp_path / "out", tmp_path / "second"
    install_pack(base)
    cluster = Cluster(initialize_head=True, head_node_args={**STORE, "_system_config": NOTICED})
    try:
        node = cluster.add_node(**STORE)
        with serve(HOSTS / f"comfyui-{host.NEWEST}", base) as doomed:
            ray = "--ray", cluster.address
            # Servers get nodes in the order of their ids: the doomed one is driven from that which stays.
            turns = sorted([(cluster.head_node.node_id, doomed.url), (node.node_id, comfy.url)])
            with Script(command(stories, out, *ray, *(f"--server={url}" for _, url in turns))) as script:
                at_work(doomed, comfy, script=script)
                cluster.remove_node(node, allow_graceful=False)
                script.read_until("its Ray worker is gone")
                if f"{doomed.url}: lost" in script.told:  # whatever the order was
                    script.read_until(f"{doomed.url}: back")
                os.kill(doomed.pid, signal.SIGKILL)
                script.read_until(f"{doomed.url}: lost")
                script.read_until("drawn by http")
            told = script.told
            rest = command(stories, out, *ray, "--server", comfy.url)
            done = subprocess.run(rest, capture_output=True, text=True, timeout=1500, check=False)
            (out / "ball-0.png").write_bytes(b"what somebody has put there")
            own = command(stories, out, *ray, "--start", "1")
            again = subprocess.run(own, capture_output=True, text=True, timeout=1500, check=False)
    finally:
        cluster.shutdown()
    assert done.stderr.strip() == "4 of 10 stories cannot be drawn; results.jsonl says why.", done.stderr
    assert told.count("drawn by http") <= done.stdout.count("drawn before") < 6, told + done.stdout
    assert told.count("trained by") + done.stdout.count("trained by") == 2
    assert "drawn by one server, as panels at once" in told + done.stdout
    assert again.stdout.count("drawn before") == 5, again.stdout
    assert "ball-0: drawn by server 1" in again.stdout
    reasons = {entry["line"]: entry["error"] for entry in results(out) if "error" in entry}
    assert reasons.keys() == {1, 8, 10, 11}
    assert "not JSON" in reasons[1]
    assert "no server draws it" in reasons[8]
    assert "of system memory" in reasons[8]
    assert "Use storage compact" in reasons[8]
    assert reasons[8].endswith("Change the story, or name a server that can.")
    assert "there is no folder" in reasons[10]
    assert "is taken by line 2" in reasons[11]

    found = read_stories(stories, stories.with_name("small.json"))
    whole = [story for story in found if isinstance(story, Story) and story.name != "giant"]
    drawn = [entry["name"] for entry in results(out) if "pages" in entry]
    assert sorted(drawn) == sorted([*(story.name for story in whole), "ball-0"])  # each once, but for that one
    for story in whole:
        story.photos.upload(comfy)
        (page,) = comfy.run(story.graph).images(story.saver)
        assert pixels(page) == pixels((out / f"{story.name}.png").read_bytes()), story.name
    assert not list((comfy.base / "input" / "storybooth_loans").glob("*"))
    assert not list((comfy.base / "models" / "identity_banks" / "storybooth_loans").glob("*"))


@contextmanager
def files(folder):
    """The address of a server that gives out what lies in a folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_server_that_hangs_in_the_middle_of_its_work(comfy):
    long = {
        "mini": {"class_type": "StoryBoothMiniCheckpoint", "inputs": {}},
        "words": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["mini", 1], "text": "a hill"}},
        "empty": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "drawn": {
            "class_type": "KSampler",
            "inputs": {name: ["words", 0] for name in ("positive", "negative")}
            | {"model": ["mini", 0], "latent_image": ["empty", 0], "seed": 1, "steps": 10000, "cfg": 4.0}
            | {"sampler_name": "euler", "scheduler": "normal", "denoise": 1.0},
        },
        "saved": {"class_type": "SaveLatent", "inputs": {"samples": ["drawn", 0], "filename_prefix": "hangs"}},
    }
    painter = Painter(comfy.url, "", "", "", 5)

    def hang():
        at_work(comfy)
        os.kill(comfy.pid, signal.SIGSTOP)

    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(hang)
        try:
            kind, why = painter.work(Job(long, "saved"))
            hanging.result()
        finally:
            os.kill(comfy.pid, signal.SIGCONT)
    assert kind == LOST
    assert re.search("no sign of life for 5 s|does not answer", why), why
    painter.stop()
    until = time.monotonic() + 600
    while comfy.get_json("/queue")["queue_running"] and time.monotonic() < until:
        time.sleep(0.05)
    assert not comfy.get_json("/queue")["queue_running"]  # what was left there is stopped


def test_a_server_of_our_own_that_ends_is_started_again(comfyui_folder, tmp_path):
    """And a setting that a node does not have is told, which ComfyUI itself passes over."""
    painter = Painter("", str(comfyui_folder), sys.executable, str(tmp_path), 60)
    nodes = {name: bank_story()[name] for name in ("mini", "storyboard")}
    nodes["shown"] = {"class_type": "PreviewAny", "inputs": {"source": ["storyboard", 0]}}
    try:
        assert painter.ready()[0] == DONE
        (folder,) = tmp_path.iterdir()
        (server,) = (child for child in psutil.Process().children() if str(folder) in child.cmdline())
        server.kill()
        while is_running(server.pid):  # its port closes before it has ended
            time.sleep(0.01)
        assert painter.work(Job(nodes, "shown"))[0] == LOST
        assert painter.ready()[0] == DONE
        assert painter.work(Job(nodes, "shown"))[0] == DONE
        nodes["storyboard"]["inputs"]["styles"] = "comic book"
        kind, why = painter.work(Job(nodes, "shown"))
        assert kind == FAILED
        assert why.startswith("settings: 'StoryBoothStoryboard.styles' is unknown. StoryBoothStoryboard has cast, clip")
    finally:
        painter.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_server_whose_disk_is_full_refuses_and_is_not_lost(comfy):
    """So that others draw what it cannot."""
    disk = comfy.base / "models" / "identity_banks" / "full"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        disk.rmdir()
        pytest.skip("a disk of 16 KiB takes root")
    painter = Painter(comfy.url, "", "", "", 60)
    nodes = {name: bank_story()[name] for name in ("mini", "storyboard", "writer")} | {
        "saved": {"class_type": "StoryBoothSaveIdentityBank", "inputs": {"bank": ["writer", 0], "name": "full/bank"}}
    }
    content = save({"x": torch.zeros(2**16)})
    try:
        saved = painter.work(Job(nodes, "saved"))
        lent = painter.work(Job(nodes, "saved", loans=(Loan("identity_banks", "full/lent.safetensors", content),)))
        left = list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()
        painter.stop()
    for kind, why in (saved, lent):
        assert kind == REFUSED, why
        assert "No space left on device" in why
    assert "HTTP 507" in lent[1]
    assert left == []


def test_servers_that_are_none(comfy, stories, tmp_path):
    """Asked by a copy of the pack that has one line more."""
    pack = install_pack(tmp_path / "another")
    with (pack / "comic" / "page.py").open("a") as code:
        code.write("# one line more\n")
    (tmp_path / "no pack").mkdir()
    (tmp_path / "no pack" / "object_info").write_text("{}")
    with files(tmp_path) as none, files(tmp_path / "no pack") as bare:
        urls = none, bare, comfy.url, "http://127.0.0.1:9"
        words = [*command(stories, tmp_path / "out", "--patience", "8"), *(f"--server={url}" for url in urls)]
        words[1] = str(pack / "scripts" / "draw_stories.py")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "No server is left, and 7 stories wait. Start one and run this again: it goes on."
    assert f"{none} is no ComfyUI" in done.stdout
    assert f"{bare} has no StoryBooth" in done.stdout
    assert f"{comfy.url} has another version of StoryBooth" in done.stdout
    assert "http://127.0.0.1:9: lost" in done.stdout
