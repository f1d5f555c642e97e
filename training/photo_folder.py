"""A folder of photos of one subject and the captions that go with them."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from .images import SUFFIXES, open_photo

METADATA = "metadata.jsonl"


def image_files(folder: Path) -> list[Path]:
    """The image files directly in `folder`, sorted by name; hidden files are left out."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file() and p.name[0] != ".")


def image_folders(root: Path) -> list[str]:
    """Every folder below `root` that holds images, as sorted paths relative to it, with forward slashes.

    Linked folders are not followed, so nothing outside `root` is ever listed.
    """
    folders = (
        Path(folder) for folder, _, files in os.walk(root) if any(Path(f).suffix.lower() in SUFFIXES for f in files)
    )
    return sorted(folder.relative_to(root).as_posix() for folder in folders if folder != root)


def read_subject(
    folder: Path, default_caption: str, watch: Callable[[list[Path]], Iterable[Path]] = iter
) -> list[tuple[Image.Image, str]]:
    """All photos of `folder` with their captions, sorted by file name.

    An image's caption is its line in metadata.jsonl (`file_name`, `text`), else the .txt file of the same name,
    else `default_caption`. `watch` passes on the image files, one after another.

    Raises FileNotFoundError for a missing folder or a file that metadata.jsonl names in vain, ValueError for an
    empty folder, a bad line of metadata.jsonl, a caption file that is not UTF-8 or an image that cannot be used.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder.name!r}. Choose another one, or put it back and reload.")
    files = image_files(folder)
    if not files:
        raise ValueError(f"{folder.name!r} holds no images. Put your photos ({', '.join(sorted(SUFFIXES))}) into it.")
    captions = _read_metadata(folder, {file.name for file in files})
    return [
        (open_photo(file), captions.get(file.name) or _read_caption(file.with_suffix(".txt")) or default_caption)
        for file in watch(files)
    ]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text ({error}). Save it as UTF-8.") from error


def _read_caption(path: Path) -> str:
    return _read_text(path).strip() if path.is_file() else ""


def _read_metadata(folder: Path, images: set[str]) -> dict[str, str]:
    path = folder / METADATA
    if not path.is_file():
        return {}
    captions: dict[str, str] = {}
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{METADATA}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} is not JSON ({error}): {line.strip()[:80]!r}. Correct the line.") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("file_name", "text")):
            raise ValueError(
                f'{where}: got {line.strip()[:80]!r}, expected {{"file_name": "photo.jpg", "text": "its caption"}}.'
            )
        name = row["file_name"]
        if name in captions:
            raise ValueError(f"{where}: {name!r} already has a caption further up. Keep one of the two lines.")
        if name not in images:
            raise FileNotFoundError(
                f"{where}: there is no image {name[:100]!r} beside {METADATA}. Correct or remove the line; images are "
                f"{', '.join(sorted(SUFFIXES))}."
            )
        captions[name] = row["text"].strip()
    return captions
