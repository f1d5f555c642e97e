"""Which edition of the pack this is: servers that share a story's work must have the very same code."""

import tomllib
from functools import cache
from hashlib import sha256
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
_ROOMS = (".", "training", "consistency", "comic", "nodes")


@cache
def edition() -> str:
    """Version and digest of the code that trains and draws, such as "0.1.0 (1f0c…)". Ends of lines do not count."""
    digest = sha256()
    for room in _ROOMS:
        files = (_ROOT / room).glob("*.py") if room == "." else (_ROOT / room).rglob("*.py")
        for file in sorted(files, key=lambda file: file.relative_to(_ROOT).as_posix()):
            code = file.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{file.relative_to(_ROOT).as_posix()}\0{len(code)}\0".encode() + code)
    return f"{_version()} ({digest.hexdigest()[:12]})"


def _version() -> str:
    try:
        return tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, ValueError, KeyError):  # somebody took the code alone
        return "unknown"
