"""The font files of this computer, by the names that `lettering.load_font` takes."""

import os
import sys
from functools import lru_cache
from pathlib import Path

SUFFIXES = (".ttf", ".otf", ".ttc")


def font_folders() -> list[Path]:
    """Where this computer keeps its fonts: the folders in which Pillow's `ImageFont.truetype` looks for a name."""
    home = Path.home()
    if sys.platform == "win32":
        windows = os.environ.get("WINDIR")
        return [Path(windows, "fonts")] if windows else []
    if sys.platform == "darwin":
        return [Path("/Library/Fonts"), Path("/System/Library/Fonts"), home / "Library" / "Fonts"]
    own = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [Path(folder, "fonts") for folder in (own, *shared.split(":"))]


@lru_cache(maxsize=1)
def installed_files() -> dict[str, str]:
    """Where all fonts below `font_folders` lie, by file name, sorted. Looked up once: the folders may be large."""
    found: dict[str, str] = {}
    for folder in font_folders():
        for place, _, files in os.walk(folder):
            for name in files:
                if Path(name).suffix.lower() in SUFFIXES:
                    found.setdefault(name, str(Path(place, name)))
    return dict(sorted(found.items(), key=lambda font: font[0].casefold()))


def installed_fonts() -> tuple[str, ...]:
    """The file names of all these fonts."""
    return tuple(installed_files())
