"""Fonts by the names that Comic Page lists: of ComfyUI's models/fonts folder, of the pack, of this computer."""

from pathlib import Path
from typing import Any

import folder_paths

from ...comic.font_files import installed_fonts
from ...comic.lettering import FULLER, font_file
from ...files import file_state
from .. import folders  # noqa: F401 (registers models/fonts)

BUILT_IN = "built-in"
"""No font is named; graphs from before there was a list say so by the empty text."""

_OURS = {file.name: file for file in sorted(FULLER.parent.glob("*.ttf"))}


def font_state(name: Any) -> tuple[int, ...]:
    """When and how the file of a font last changed; empty where there is none."""
    try:
        file = font_file(font_path(name))
        return file_state(Path(file)) if file else ()
    except (ValueError, OSError):  # told when the page is written
        return ()


def fonts() -> list[str]:
    """Every font that can be chosen, by name: of models/fonts, of the pack, of this computer."""
    return list(dict.fromkeys([*folder_paths.get_filename_list("fonts"), *_OURS, *installed_fonts()]))


def font_path(font: Any) -> str:
    """What `load_font` is to load: a file of models/fonts, one of ours, or the file name of an installed font."""
    if not isinstance(font, str):
        raise ValueError(f"font: got {str(font)[:100]}, expected the name of a font file, such as NanumGothic.ttf.")
    name = font.strip()
    if name == BUILT_IN:
        return ""
    if name in folder_paths.get_filename_list("fonts"):
        return folder_paths.get_full_path_or_raise("fonts", name)
    if name in _OURS:
        return str(_OURS[name])
    if set(name) & set("/\\:"):
        raise ValueError(
            f"font: got '{name}', expected the name of a font file without its folder, such as NanumGothic.ttf."
        )
    return name
