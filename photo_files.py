"""Which files of a folder are photos, which are their captions and masks, and which are left out and why.

Load Subject Images, the command line, the demo and queue_story.py all read a folder by this. Needs nothing but Python.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

METADATA = "metadata.jsonl"
PHOTOS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
HEIC = frozenset({".heic", ".heif", ".hif"})
"""What iPhones take; read where the package pillow-heif is installed."""

CAPTIONS = (".txt", ".caption")
MASK = ".mask.png"
"""How a subject mask is named after its photo: 00.mask.png or 00.jpg.mask.png. It is never a photo."""

_OF_NO_ONE = frozenset({"thumbs.db", "desktop.ini"})
_PLACES = frozenset({"__macosx"})
"""Folders that programs leave behind, in lower case: copies of photos in them are nobody's choice."""


@dataclass(frozen=True)
class PhotoFolder:
    """What lies in a folder.

    `photos`: sorted by name. `texts`: the text files of a photo that may hold its caption, by the photo's name; the
    first that is not empty counts. `metadata`: metadata.jsonl, if it is there. `left_out`: file name to the reason.
    `masks`: the mask of a photo, by the photo's name, where it has one.
    """

    photos: tuple[Path, ...]
    texts: Mapping[str, tuple[Path, ...]]
    metadata: Path | None
    left_out: Mapping[str, str]
    masks: Mapping[str, Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that count, sorted: what has to go where the photos go."""
        texts = {text for some in self.texts.values() for text in some}
        table = [self.metadata] if self.metadata else []
        return tuple(sorted({*self.photos, *texts, *self.masks.values(), *table}))


def why_left_out(left_out: Mapping[str, str]) -> str:
    """Files by the reason why they are left out, as a sentence or more; empty where there are none."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in left_out.items():
        by_reason[reason].append(name)
    told = [f"{_some(names)} ({reason})" for reason, names in by_reason.items()]
    return f"Left out: {', '.join(told)}." if told else ""


def suffixes() -> frozenset[str]:
    """How names of photos end, in lower case, as far as they can be read here."""
    return PHOTOS | HEIC if find_spec("pillow_heif") else PHOTOS


def look_into(folder: Path, readable: Collection[str] | None = None) -> PhotoFolder:
    """Sort the files of `folder`. Names are compared as people read them (see `key`). Raises OSError.

    `readable`: how names of photos end; without it, as `suffixes` says.
    """
    readable = suffixes() if readable is None else readable
    files = sorted(file for file in folder.iterdir() if file.is_file() and not _is_nobodys(file.name))
    photos = tuple(file for file in files if file.suffix.lower() in readable and not is_mask(file.name))
    named: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        named[key(photo.name)].add(photo.name)
        named[key(photo.stem)].add(photo.name)
    tables = sorted((file for file in files if key(file.name) == METADATA), key=lambda file: file.name != METADATA)
    texts: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    left_out: dict[str, str] = {}

    def belongs(file: Path, stem: str, to: dict[str, list[Path]]) -> None:
        """Put `file` down for the photos that are called `stem`."""
        names = named.get(key(stem), set())
        exact = {name for name in names if stem in (name, Path(name).stem)}
        for name in exact or names:
            to[name].append(file)
        if not names:
            left_out[file.name] = "no photo has this name"

    for file in files:
        suffix = file.suffix.lower()
        if is_mask(file.name):
            belongs(file, file.name[: -len(MASK)], masks)
        elif file in tables[:1] or suffix in readable:
            continue
        elif suffix in HEIC:
            left_out[file.name] = "HEIC needs the package pillow-heif in ComfyUI's Python; or save it as JPEG"
        elif suffix in CAPTIONS:
            belongs(file, file.stem, texts)
        elif suffix in (".csv", ".json", ".jsonl"):
            left_out[file.name] = f"captions of many photos are read from {METADATA} only"
        else:
            left_out[file.name] = "it is neither a photo nor a caption"
    ordered = {name: tuple(sorted(some, key=lambda text: _rank(text, name))) for name, some in texts.items()}
    # The longest name is the nearest: 00.jpg.mask.png says more than 00.mask.png.
    nearest = {name: max(some, key=lambda mask: (len(mask.name), mask.name)) for name, some in masks.items()}
    unused = {mask.name for some in masks.values() for mask in some} - {mask.name for mask in nearest.values()}
    left_out |= dict.fromkeys(sorted(unused), "its photo has another mask")
    return PhotoFolder(photos, ordered, tables[0] if tables else None, left_out, nearest)


def captions_of(found: PhotoFolder) -> tuple[list[str], dict[str, str]]:
    """The caption of every photo, "" where it has none, and the text files that do not count, with the reason.

    It is the photo's line in metadata.jsonl (`file_name`, `text`), else the first of its text files that is not empty.

    Raises FileNotFoundError for a file that metadata.jsonl names in vain, ValueError for a bad line in it or a text
    file that is not UTF-8.
    """
    rows = metadata_rows(found.metadata, {photo.name for photo in found.photos}) if found.metadata else ()
    of_table = {name: row["text"].strip() for _, name, row in rows}
    captions, used, unused = [], set(), set()
    for photo in found.photos:
        caption, *others = (of_table.get(photo.name, ""), *found.texts.get(photo.name, ()))
        while not caption and others:
            text = others.pop(0)
            caption = read_text(text).strip()
            used.add(text.name)
        unused.update(text.name for text in others)
        captions.append(caption)
    return captions, dict.fromkeys(sorted(unused - used), "its photo has another caption")


def read_text(path: Path) -> str:
    """What a text file of the folder holds. ValueError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text ({error}). Save it as UTF-8.") from error


def key(name: str) -> str:
    """`name` so that two that read alike are equal: macOS stores accents apart, Windows knows no case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_mask(name: str) -> bool:
    """Whether a file of this name is a subject mask and no photo."""
    return name.lower().endswith(MASK)


def is_passed_over(folder: str) -> bool:
    """Whether a folder of this name holds nobody's photos: hidden, or left behind by a program."""
    return folder.startswith(".") or folder.lower() in _PLACES


def _is_nobodys(name: str) -> bool:
    return name.startswith(".") or name.lower() in _OF_NO_ONE


def _rank(text: Path, photo: str) -> tuple[int, bool, bool, str]:
    """The order in which texts of one photo count: 00.txt, 00.jpg.txt, 00.caption; exact names before others."""
    of_stem = key(text.stem) == key(Path(photo).stem)
    exact = text.stem in (photo, Path(photo).stem)
    return CAPTIONS.index(text.suffix.lower()), not of_stem, not exact, text.name


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def metadata_rows(path: Path, images: Collection[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The lines of metadata.jsonl that say something: each line's index, the name that its image has on disk, the row.

    Raises what `captions_of` says of metadata.jsonl.
    """
    alike: dict[str, list[str]] = {}
    for image in images:
        alike.setdefault(key(image), []).append(image)
    seen: set[str] = set()
    for index, line in enumerate(read_text(path).split("\n")):
        if not line.strip():
            continue
        where = f"{METADATA}, line {index + 1}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} is not JSON ({error}): {line.strip()[:80]!r}. Correct the line.") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("file_name", "text")):
            raise ValueError(
                f'{where}: got {line.strip()[:80]!r}, expected {{"file_name": "photo.jpg", "text": "its caption"}}.'
            )
        name = row["file_name"]
        if name not in images and len(alike.get(key(name), ())) == 1:
            (name,) = alike[key(name)]
        if name in seen:
            raise ValueError(f"{where}: {name!r} already has a caption further up. Keep one of the two lines.")
        if name not in images:
            raise FileNotFoundError(
                f"{where}: there is no image {name[:100]!r} beside {METADATA}. Correct or remove the line; images are "
                f"{', '.join(sorted(suffixes()))}."
            )
        seen.add(name)
        yield index, name, row
