"""Measurements from within ComfyUI's own process."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storybooth.workshop import ROOT

HERE = Path(__file__).parent

Run = Callable[..., tuple[int, str, str]]
"""Takes the most seconds, a script and its arguments; gives exit status, what was printed, and errors."""


@pytest.fixture(scope="session")
def run_within(comfyui_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs scripts in ComfyUI's own process (development/within.py): on Linux one that is warm already (warm.py)."""
    within = [sys.executable, ROOT / "development" / "within.py", comfyui_folder]

    def run_cold(seconds: int, *script: object) -> tuple[int, str, str]:
        done = subprocess.run([*within, *script], capture_output=True, text=True, timeout=seconds, check=False)
        return done.returncode, done.stdout, done.stderr

    if sys.platform != "linux":
        yield run_cold
        return

    files = [tmp_path_factory.mktemp("within") / name for name in ("output", "errors")]
    with subprocess.Popen(
        [*within, HERE / "warm.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as warm:

        def run_warm(seconds: int, *script: object) -> tuple[int, str, str]:
            print(json.dumps([*map(str, files), seconds, *map(str, script)]), file=warm.stdin, flush=True)
            status = int(warm.stdout.readline())
            return status, *(file.read_text(encoding="utf-8") for file in files)

        yield run_warm


@pytest.fixture(scope="session")
def measure_within(run_within: Run) -> Callable[..., Any]:
    """Run a script beside this file in ComfyUI's own process; return the JSON printed last."""

    def measure(script: str, *arguments: object, timeout: int = 1800) -> Any:
        status, printed, errors = run_within(timeout, HERE / script, *arguments)
        assert status == 0, errors[-4000:] or f"{script} ended with {status}"
        return json.loads(printed.splitlines()[-1])

    return measure
