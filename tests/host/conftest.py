"""Measurements from within ComfyUI's own process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storybooth.workshop import ROOT


@pytest.fixture(scope="session")
def measure_within(comfyui_folder: Path) -> Callable[..., Any]:
    """Run a script beside this file in ComfyUI's own process (development/within.py); return the JSON printed last."""

    def measure(script: str, *arguments: object, timeout: float = 900) -> Any:
        within = ROOT / "development" / "within.py"
        command = [sys.executable, within, comfyui_folder, Path(__file__).with_name(script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return measure
