"""Folders that these tools make, and make anew: they carry a mark, and nothing without it is ever removed."""

import shutil
from pathlib import Path
from uuid import uuid4

from . import WorkshopError

_MARK = ".storybooth-made"


def remake(folder: Path) -> None:
    """Make `folder`, empty. One that is there goes, if these tools have made it.

    Raises WorkshopError where they have not, or where it cannot be removed.
    """
    remove(folder)
    try:
        folder.mkdir(parents=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise _not_anew(folder, error) from error


def remove(folder: Path) -> None:
    """Remove `folder` where it is there and these tools have made it. Raises as `remake`."""
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise WorkshopError(
            f"{folder} was not made by this program, so it stays as it is. Move it elsewhere, or delete it."
        )
    try:
        if folder.exists():
            old = folder.with_name(f"{folder.name}.{uuid4().hex}.disabled")  # a name that ComfyUI passes over
            folder.rename(old)
            shutil.rmtree(old)
    except OSError as error:
        raise _not_anew(folder, error) from error


def _not_anew(folder: Path, error: OSError) -> WorkshopError:
    return WorkshopError(f"{folder} cannot be made anew ({error}). Close what uses it, and try again.")


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and (next(folder.iterdir(), None) is None or any(folder.glob(".storybooth-*")))
