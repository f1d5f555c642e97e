"""Names that stay in their folder, and files that are either whole or not there."""

import os
import re
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from uuid import uuid4

from safetensors import SafetensorError

SUFFIX = ".safetensors"
_REFUSED = frozenset('<>:"|?*')
_RESERVED = frozenset(
    {
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "CONIN$",
        "CONOUT$",
        *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³"),
    }
)
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Unicode's categories and directions of what ends a line, or lets a name read as another."""

_MAX_BYTES = 180
_MAX_FOLDERS = 8
_LEFT_SECONDS = 3600
_OWN = re.compile(r"\.[0-9a-f]{32}\.tmp$")


def file_name(name: str, socket: str) -> PurePosixPath:
    """Turn a name such as `nupjuki` or `characters/nupjuki` into a relative path that ends in .safetensors.

    Raises ValueError naming `socket` for a name that is empty, absolute, too long, climbs out with `..`, or that some
    file system refuses.
    """
    parts = name.removesuffix(SUFFIX).replace("\\", "/").split("/")
    problem = next(filter(None, map(_problem, parts)), "")
    if not problem and len(parts) > _MAX_FOLDERS + 1:
        problem = f"there are more than {_MAX_FOLDERS} folders"
    if problem:
        raise ValueError(
            f"{socket}: got {name[:100]!r}, in which {problem}. Expected a plain name, with folders if you like: "
            "nupjuki, or characters/nupjuki."
        )
    return PurePosixPath(*parts[:-1], parts[-1] + SUFFIX)


def _problem(part: str) -> str:
    if not part:
        return "a name is empty (is it absolute?)"
    if part in (".", "..") or part != part.strip() or part.endswith("."):
        return f"{part[:100]!r} is no name of a file or folder"
    if any(c in _REFUSED or {unicodedata.category(c), unicodedata.bidirectional(c)} & _UNSEEN for c in part):
        return f"{part[:100]!r} has a character that does not belong in a name"
    if part.split(".")[0].strip().upper() in _RESERVED:
        return f"{part[:100]!r} is reserved on Windows"
    if len(part.encode()) > _MAX_BYTES:
        return f"a name is longer than {_MAX_BYTES} bytes"
    return ""


def file_state(path: Path) -> tuple[int, ...]:
    """Equal only while the very same file lies at `path`, unchanged; () where there is none.

    Time and size alone tell nothing of a file that was copied over it with its own time.
    """
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def prepare_folder(folder: Path) -> None:
    """Create `folder`. Raises OSError if it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"the folder {folder} cannot be made ({error.strerror}). Check permissions, or choose another name."
        ) from error
    if not os.access(folder, os.W_OK):
        raise OSError(f"the folder {folder} cannot be written to. Change its permissions or choose another one.")


def write_whole(path: Path, write: Callable[[Path], object], new: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: the file is there whole or not at all.

    What was there before stays where that fails, and in any case with `new`. What a killed process left in the folder
    an hour ago or earlier is removed: younger files may belong to another server that is at work.

    Raises OSError naming the file; FileExistsError where it is to be `new` and somebody else has made it meanwhile.
    """
    _remove_left(path.parent)
    # A folder of its own: whatever `write` leaves in it, nothing of anybody else's is ever removed.
    own = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        own.mkdir()
        temporary = own / path.name
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a power cut must not leave a renamed but empty file
        if not (new and path.exists()):
            temporary.replace(path)
            return
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk as its own error
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{path} cannot be written ({reason}). Free some space or check permissions.") from error
    finally:
        _remove(own)
    raise FileExistsError(f"{path} was made by another program meanwhile and stays as it is. Choose another name.")


def _remove_left(folder: Path) -> None:
    """Remove what killed processes left in `folder`: by names that nobody else gives, and an hour old."""
    for left in folder.glob(".*.tmp"):
        with suppress(OSError):  # another server's, or removed by it
            files = [left, *(left.iterdir() if left.is_dir() else ())]
            if _OWN.search(left.name) and max(file.stat().st_mtime for file in files) < time.time() - _LEFT_SECONDS:
                _remove(left)


def _remove(own: Path) -> None:
    with suppress(OSError):
        if own.is_dir():
            for file in own.iterdir():
                file.unlink()
            own.rmdir()
        else:  # as an earlier version left it
            own.unlink()
