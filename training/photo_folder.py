"""A folder of photos of one subject, and the captions and masks that go with them."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..photo_files import HEIC, PHOTOS, captions_of, is_mask, is_passed_over, look_into, suffixes, why_left_out
from .images import open_with_alpha
from .masks import open_mask


@dataclass(frozen=True)
class Subject:
    """`photos` sorted by file name, `captions` and `masks` one for each, and what was read and what was not, in a line.

    A mask is of mode L and its photo's size: 255 where the subject is, 0 where not; None where a photo has none.
    """

    photos: list[Image.Image]
    captions: list[str]
    masks: list[Image.Image | None]
    told: str


def image_folders(root: Path) -> list[str]:
    """Every folder below `root` that holds images, as sorted paths relative to it, with forward slashes.

    Hidden ones and those that programs leave behind, such as __MACOSX, are passed over. Linked folders are not
    followed, so nothing outside `root` is ever listed.
    """
    folders = []
    for folder, within, files in os.walk(root):
        within[:] = [name for name in within if not is_passed_over(name)]
        if any(Path(file).suffix.lower() in PHOTOS | HEIC and file[0] != "." and not is_mask(file) for file in files):
            folders.append(Path(folder))
    return sorted(folder.relative_to(root).as_posix() for folder in folders if folder != root)


def folder_within(root: Path, name: str) -> Path | None:
    """The folder below `root` that `image_folders` calls `name`, found without looking through all of them; None where
    there is none, or where the name leads out of `root` or through a link. It may hold no images."""
    parts = name.split("/")
    if any(part in ("", "..", ".") or "\\" in part or ":" in part or is_passed_over(part) for part in parts):
        return None
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink() or not path.is_dir():
            return None
    return path


def read_subject(
    folder: Path, default_caption: str, watch: Callable[[Sequence[Path]], Iterable[Path]] = iter
) -> Subject:
    """All photos of `folder` with their captions and masks, sorted by file name.

    An image's caption is its line in metadata.jsonl (`file_name`, `text`), else the text file of its name (00.txt,
    00.jpg.txt or 00.caption), else `default_caption`. Its mask is the file 00.mask.png (or 00.jpg.mask.png), else
    its alpha channel. `watch` passes on the image files, one after another.

    Raises FileNotFoundError for a missing folder or a file that metadata.jsonl names in vain, ValueError for an
    empty folder, a bad line of metadata.jsonl, a caption file that is not UTF-8, or an image or a mask that cannot be
    used.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder.name!r}. Choose another one, or put it back and reload.")
    found = look_into(folder)
    if not found.photos:
        raise ValueError(
            f"{folder.name!r} holds no images. Put your photos ({', '.join(sorted(suffixes()))}) into it. "
            f"{why_left_out(found.left_out)}".strip()
        )
    captions, unused = captions_of(found)
    left_out = {**found.left_out, **unused}
    photos, masks = [], []
    for path in watch(found.photos):
        photo, alpha = open_with_alpha(path)
        file = found.masks.get(path.name)
        photos.append(photo)
        masks.append(open_mask(file, photo.size) if file else alpha)
    own, masked = sum(map(bool, captions)), sum(mask is not None for mask in masks)
    told = f"Photos: {len(captions)}, with captions of their own: {own}"
    told += f", with masks: {masked}" if masked else ""
    return Subject(
        photos=photos,
        captions=[caption or default_caption for caption in captions],
        masks=masks,
        told=f"{told}. {why_left_out(left_out)}".strip(),
    )


def require_captions(captions: Sequence[str]) -> None:
    """Raise ValueError naming `instance_prompt` where a photo has no caption: nothing would call up what is learned."""
    without = sum(not caption.strip() for caption in captions)
    if without:
        raise ValueError(
            f"instance_prompt: it is empty, and {without} of {len(captions)} photos have no caption of their own. Say "
            "what the photos show: a rare word and what it is, such as a blue sks plush."
        )
