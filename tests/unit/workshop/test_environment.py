"""The environment's set-up: a stage is done once, again when its requirements change, and again when it failed."""

import subprocess
import sys
from pathlib import Path

import pytest

from storybooth.workshop import ROOT, WorkshopError, environment


@pytest.fixture
def pip_log(tmp_path, monkeypatch):
    """Point the set-up at this test's folder; the Python in it is the one that runs, and pip a real pip."""
    monkeypatch.setattr(environment, "ENV", tmp_path)
    monkeypatch.setattr(environment, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(environment, "PIP_LOG", tmp_path / "pip.log")
    return tmp_path / "pip.log"


def runs_of_pip(log):
    return log.read_text().count("Requirement already satisfied: packaging") if log.exists() else 0


def test_a_stage_is_installed_once_and_again_when_its_requirements_change(tmp_path, pip_log):
    file = tmp_path / "requirements.txt"
    file.write_text("packaging\n")
    environment.install("host", [file])
    environment.install("host", [file])
    assert runs_of_pip(pip_log) == 1
    file.write_text("packaging>=20\n")
    environment.install("host", [file])
    assert runs_of_pip(pip_log) == 2


def test_a_stage_that_failed_says_why_and_is_tried_again(tmp_path, pip_log):
    file = tmp_path / "requirements.txt"
    file.write_text("./no-such-folder\n")
    for _ in range(2):
        with pytest.raises(WorkshopError, match="no-such-folder"):
            environment.install("host", [file])


def test_the_running_python_serves_if_it_has_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "PACK_REQUIREMENTS", (tmp_path / "ours.txt",))
    (tmp_path / "ours.txt").write_text("# a comment\npackaging>=1\n")
    (tmp_path / "comfyui.txt").write_text("packaging==0.0.1  # ComfyUI's own pins do not count\n\npytest\n")
    assert environment.python_for(tmp_path / "comfyui.txt") == Path(sys.executable)


@pytest.mark.parametrize(("ours", "comfyui"), [("packaging>=9999", "pytest"), ("packaging", "no-such-package")])
def test_the_running_python_does_not_serve_without(tmp_path, monkeypatch, ours, comfyui):
    monkeypatch.setattr(environment, "PACK_REQUIREMENTS", (tmp_path / "ours.txt",))
    (tmp_path / "ours.txt").write_text(ours)
    (tmp_path / "comfyui.txt").write_text(comfyui)
    assert not environment.running_python_has(tmp_path / "comfyui.txt")


def test_a_python_without_venv_is_told_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ENV", tmp_path / "env")
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # as on Debian: find_spec and import both say no
    with pytest.raises(WorkshopError, match=r"apt install python3-venv"):
        environment.create()
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["demo", "--photos", "nowhere-at-all"], 1, "--photos: there is no folder nowhere-at-all"),
        (["test", "--help"], 0, "Arguments go to pytest"),
    ],
)
def test_dev_answers_before_it_sets_anything_up(words, code, told):
    """-S: no package is there, so nothing but an answer is possible."""
    command = [sys.executable, "-S", str(ROOT / "dev.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, told in done.stdout + done.stderr) == (code, True)
