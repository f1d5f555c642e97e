"""The benchmarks start in ComfyUI's process, and the one that runs on Mini ends with its figures."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from storybooth.dev import BENCHMARKS
from storybooth.workshop import ROOT, host

pytestmark = pytest.mark.parametrize("comfyui_folder", [host.NEWEST], indirect=True)


def benchmark(comfyui_folder, name, *arguments):
    """Run a benchmark; return what it printed."""
    within, script = ROOT / "development" / "within.py", ROOT / "development" / "benchmarks" / f"{name}.py"
    command = [sys.executable, within, comfyui_folder, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_benchmarks_say_what_they_take(measure_within):
    told = measure_within("helps.py", *BENCHMARKS)
    assert told.keys() == set(BENCHMARKS)
    assert [name for name, text in told.items() if "--output" not in text or "usage: " not in text] == []


def test_training_loops_are_timed_side_by_side(comfyui_folder, tmp_path):
    figures = tmp_path / "figures.json"
    settings = ("--size", "64", "--repeats", "1", "--accumulation", "1")
    printed = benchmark(comfyui_folder, "training", *settings, "--output", figures)
    rows = json.loads(figures.read_text())["rows"]
    assert [row["speed_ratio"] == 1 for row in rows] == [True, False, False, False]
    assert all(row["seconds"] > 0 and row["memory"] > 0 and row["loop"] in printed for row in rows)


def test_recipes_are_tried_on_toys_that_are_used_for_nothing_else(comfyui_folder, tmp_path):
    figures = tmp_path / "figures.json"
    recipes = ("--recipe", "steps=1", "--recipe", "steps=1", "rank=2", "text_dropout=0.5")
    printed = benchmark(
        comfyui_folder,
        "recipe",
        "--toys",
        "1",
        *recipes,
        "--work",
        tmp_path,
        "--output",
        figures,
        "--sheet",
        tmp_path / "a.jpg",
    )
    rows = json.loads(figures.read_text())["rows"]
    assert [row["setting"] for row in rows] == ["neither", "steps=1", "steps=1 rank=2 text_dropout=0.5"]
    assert {row["subject"] for row in rows} == {"search toy 0"}
    assert rows[0]["seconds"] == 0 < rows[1]["seconds"]
    assert all(-1 <= row["fidelity"] <= 1 and f"| {row['setting']} |" in printed for row in rows)
    assert Image.open(tmp_path / "a.jpg").height > 3 * 128
