"""The captions of a folder's photos, and another one for one of them, kept where it is read from."""

import json
from pathlib import Path

from ..files import write_whole
from ..photo_files import CAPTIONS, PhotoFolder, captions_of, key, look_into, metadata_rows, read_text
from ..texts import check_text


def photos_with_captions(folder: Path) -> list[tuple[Path, str]]:
    """Every photo of `folder`, sorted by name, and its caption, "" where it has none.

    Raises OSError, and what `captions_of` does.
    """
    found = look_into(folder)
    return list(zip(found.photos, captions_of(found)[0], strict=True))


def write_caption(folder: Path, photo: str, caption: str) -> str:
    """Make `caption` that of the photo of this name in `folder`, and return what its caption is now.

    It is written into the photo's line of metadata.jsonl, else into the text file that it was read from, else into a
    new one. Where it is empty, the next of these may count again: files of others are not emptied.

    Raises FileNotFoundError where there is no such photo, ValueError for a caption that is no text, OSError where the
    file cannot be written, and what `captions_of` does: what cannot be read is not written over.
    """
    found = look_into(folder)
    if photo not in {each.name for each in found.photos}:
        raise FileNotFoundError(
            f"there is no photo {photo[:100]!r} in {folder.name!r} any more. Press R, and look again."
        )
    try:
        check_text(caption)
    except ValueError as error:
        raise ValueError(f"{photo}, its caption: {error}") from None
    captions_of(found)
    file, text = _in_table(found, photo, caption.strip()) or (_text_file(found, photo), caption.strip() + "\n")
    write_whole(file, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))
    now = look_into(folder)
    return dict(zip((each.name for each in now.photos), captions_of(now)[0], strict=True))[photo]


def _in_table(found: PhotoFolder, photo: str, caption: str) -> tuple[Path, str] | None:
    """metadata.jsonl with another caption, all its other lines as they were; None where the photo has no line there."""
    if found.metadata is None:
        return None
    lines = read_text(found.metadata).split("\n")
    for index, name, row in metadata_rows(found.metadata, {each.name for each in found.photos}):
        if name == photo:
            lines[index] = json.dumps(row | {"text": caption}, ensure_ascii=False)
            return found.metadata, "\n".join(lines)
    return None


def _text_file(found: PhotoFolder, photo: str) -> Path:
    """The text file that holds the photo's caption, or that is to hold it: 00.txt, or 00.jpg.txt beside a 00.png."""
    texts = found.texts.get(photo, ())
    if texts:
        return next((text for text in texts if read_text(text).strip()), texts[0])
    file = next(each for each in found.photos if each.name == photo)
    shared = [each for each in found.photos if key(each.stem) == key(file.stem)]
    return file.with_name((file.stem if len(shared) == 1 else file.name) + CAPTIONS[0])
