"""The virtual environment `.dev/env`: one for ComfyUI, the pack and the test tools.

Set-up survives an interruption at any point: every stage is stamped when it is complete, and a stage without
its stamp is done again. A stage whose requirements have not changed costs nothing.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from . import DEV, ROOT, WorkshopError
from .own_folder import remake

ENV = DEV / "env"
PYTHON = ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PIP_LOG = DEV / "pip.log"

PACK_REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "workshop" / "requirements-demo.txt")


def create() -> None:
    """Make the environment if it is not there: of this Python, with what pip needs to open a source distribution."""
    digest = _digest([sys.version])
    if _stamp("created") == digest:
        return
    if not all(map(_is_there, ("venv", "ensurepip"))):  # Debian's Python comes without the second
        raise WorkshopError(
            "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv; elsewhere "
            "take a Python from python.org."
        )
    print(f"Making a virtual environment in {ENV}")
    remake(ENV)
    made = subprocess.run([sys.executable, "-m", "venv", str(ENV)], capture_output=True, text=True, errors="replace")
    if made.returncode != 0:
        reason = (made.stdout + made.stderr).strip()
        raise WorkshopError(f"Python could not make a virtual environment in {ENV}:\n{reason}")
    pip("install", "--upgrade", "setuptools", "wheel")
    _set_stamp("created", digest)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it was taken away from the running Python
        return False


def install(stage: str, files: Iterable[Path]) -> None:
    """Install requirement files into the environment, in one go so that pip resolves them together."""
    files = list(files)
    digest = _digest(file.read_text(encoding="utf-8") for file in files)
    if _stamp(stage) == digest:
        return
    print(f"Installing what the {stage} needs. The first time this fetches torch, which takes some minutes.")
    pip("install", *(part for file in files for part in ("-r", str(file))))
    _set_stamp(stage, digest)


def pip(*arguments: str) -> None:
    """Run the environment's pip, showing what it is at in one line and keeping all of it in `.dev/pip.log`."""
    process = subprocess.Popen(
        [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
    )
    width = shutil.get_terminal_size().columns - 1
    lines = []
    with process, PIP_LOG.open("a", encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            lines.append(line.strip())
            if sys.stdout.isatty():
                print(f"\r{line.strip():{width}.{width}}", end="", flush=True)
    if sys.stdout.isatty():
        print(f"\r{'':{width}}\r", end="")
    if process.returncode != 0:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise WorkshopError(
            "pip could not fetch or install what is needed; is the network up and is there disk space?\n"
            + "\n".join(errors)
            + f"\nAll it said is in {PIP_LOG}. Run the same command again to go on from here."
        )


def python_for(comfyui_requirements: Path) -> Path:
    """Return a Python with ComfyUI's requirements and ours: the running one if it has them, else `.dev/env`'s."""
    if running_python_has(comfyui_requirements):
        return Path(sys.executable)
    create()
    install("host", [comfyui_requirements, *PACK_REQUIREMENTS])
    return Path(sys.executable) if Path(sys.prefix).resolve() == ENV.resolve() else PYTHON


def running_python_has(comfyui_requirements: Path) -> bool:
    """Tell whether this Python has ours, and ComfyUI's in whatever version: who runs it with others knows why."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return False

    def installed(line: str, check_version: bool) -> bool:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            return True
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        return not check_version or requirement.specifier.contains(version, prereleases=True)

    ours = [line for file in PACK_REQUIREMENTS for line in _lines(file)]
    return all(installed(line, True) for line in ours) and all(
        installed(line, False) for line in _lines(comfyui_requirements)
    )


def _lines(file: Path) -> list[str]:
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _stamp(stage: str) -> str | None:
    try:
        return (ENV / f".storybooth-{stage}").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _set_stamp(stage: str, digest: str) -> None:
    (ENV / f".storybooth-{stage}").write_text(digest, encoding="utf-8")
