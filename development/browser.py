"""Chromium for the browser tests: the system's, or the one that playwright fetches."""

import shutil
import subprocess

from ..workshop import WorkshopError, environment

_NAMES = (
    "chromium-headless-shell",  # no window behind its pages: a third less work than the whole browser
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)


def executable() -> str | None:
    """Return the path of the system's Chromium or Chrome; None means playwright's own."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def ensure() -> None:
    """Have playwright fetch its Chromium when the system has none; that takes seconds when it is there already."""
    if executable():
        return
    made = subprocess.run([str(environment.PYTHON), "-m", "playwright", "install", "chromium"], capture_output=True)
    if made.returncode != 0:
        reason = (made.stdout + made.stderr).decode(errors="replace").strip()[-1000:]
        raise WorkshopError(f"There is no Chromium or Chrome on PATH, and playwright could not fetch one:\n{reason}")
