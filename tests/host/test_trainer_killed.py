"""A server that dies in the middle of training, by kill -9, and is started and queued again.

The training is a LoRA with an own word, whose two files must both come out as they would have. By STORYBOOTH_KILLED it
is another: `LoRA` or `T-LoRA`. `STORYBOOTH_KILLS` kills it more often than twice, each time some other number of steps
after the latest checkpoint.
"""

import contextlib
import os
import random
import shutil
import signal

import pytest

from storybooth.tests.host.trainings import with_options
from storybooth.workshop import server

pytestmark = pytest.mark.once

KILLS = int(os.environ.get("STORYBOOTH_KILLS", "2"))
STEPS = 6 * KILLS + 18
OPTIONS = {
    "own word": {"own_word": "sks", "word_rate": 0.01},
    "T-LoRA": {"method": "T-LoRA", "min_rank": 1},
    "LoRA": {},
}[os.environ.get("STORYBOOTH_KILLED", "own word")]


def step_of(event):
    """The number of the step that an event tells of, or 0."""
    words = event.data["text"].split() if event.type == "progress_text" else []
    return int(words[1]) if words and words[0] == "step" else 0


def first_step(run, kill_at, pid):
    """Follow a run until the step `kill_at`, then kill its server; return the first step that was done."""
    first = 0
    with contextlib.suppress(OSError):  # the connection breaks with the server
        for event in run:
            first = first or step_of(event)
            if kill_at and step_of(event) >= kill_at:
                os.kill(pid, signal.SIGKILL)
                kill_at = 0
    return first


def saved_step(base):
    """The step of the latest checkpoint, or 0."""
    states = (base / "output" / "storybooth" / "training" / "killed").glob("*.step*.safetensors")
    return max((int(state.name.split(".step")[1].split(".")[0]) for state in states), default=0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_killed_run_goes_on_and_its_file_is_byte_for_byte_the_same(comfyui_folder, tmp_path):
    widgets = {"lora_name": "killed", "steps": STEPS, "checkpoint_every": 3}
    models, kinds = tmp_path / "models", ("loras", *(["embeddings"] if "own_word" in OPTIONS else []))
    finished = [models / kind / "killed.safetensors" for kind in kinds]
    server.install_pack(tmp_path)
    moments = random.Random(1)
    for _ in range(KILLS):
        saved = saved_step(tmp_path)
        with server.serve(comfyui_folder, tmp_path) as running:
            kill_at = saved + moments.randint(1, 6)
            run = running.queue(with_options(running, widgets, **OPTIONS))
            assert first_step(run, kill_at, running.pid) == saved + 1
        assert not any(path.exists() for path in finished)

    saved = saved_step(tmp_path)
    with server.serve(comfyui_folder, tmp_path) as running:
        assert first_step(running.queue(with_options(running, widgets, **OPTIONS)), 0, running.pid) == saved + 1
        killed = [path.read_bytes() for path in finished]
        for path in finished:
            path.unlink()
        shutil.rmtree(tmp_path / "output" / "storybooth")
        running.free()
        assert first_step(running.queue(with_options(running, widgets, **OPTIONS)), 0, running.pid) == 1
    assert [path.read_bytes() for path in finished] == killed
