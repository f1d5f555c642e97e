"""A folder of photos on its way into ComfyUI's input folder, under a name that says what is in it.

A folder's own name is no identity: two may share it, and what lies in one changes.
"""

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ..photo_files import HEIC, PHOTOS, PhotoFolder, captions_of, look_into, suffixes, why_left_out
from . import WorkshopError
from .client import Client, Graph


@dataclass(frozen=True)
class Photos:
    """Photos and captions to be shown to ComfyUI.

    `name`: for a folder in ComfyUI's input, and for files made from the photos; other photos, other name. `told`: how
    many photos there are, and which files are left out and why. `captions`: of all photos; none where a photo has none,
    for that one learns the words of --subject.
    """

    files: tuple[Path, ...]
    name: str
    told: str
    captions: tuple[str, ...] = ()

    def copy_into(self, inputs: Path) -> Path:
        """Copy them below ComfyUI's input folder, unless they are there; return their folder. Raises OSError.

        Whole or not at all, and nothing that is there already is touched.
        """
        inputs.mkdir(parents=True, exist_ok=True)
        target, number = inputs / self.name, 1
        while target.exists() and _digest(file for file in target.iterdir() if file.is_file()) != _digest(self.files):
            number += 1  # somebody has changed what an earlier demo put there
            target = inputs / f"{self.name}-{number}"
        if target.exists():
            return target
        temporary = inputs / f".{target.name}.{uuid4().hex}.tmp"
        temporary.mkdir()
        try:
            for file in self.files:
                shutil.copyfile(file, temporary / file.name)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    def doubt(self, subject: str, said: str = "--subject") -> str:
        """A sentence where captions beside the photos call the subject something else than `said` does, else "".

        The trainer learns the captions' words; a story in other words draws whatever these mean to the model.
        """
        words = _plain(subject)
        if not self.captions or any(words in _plain(caption) for caption in self.captions):
            return ""
        return (
            f"{said}: '{subject}' is in no caption beside the photos, and captions are what is learned; one says "
            f"'{self.captions[0][:80]}'. Call it the same in both, or take the captions away."
        )

    def upload(self, comfy: Client) -> None:
        """Send them to a server. What an earlier, interrupted call has sent is sent again: it is the same."""
        for file in self.files:
            comfy.upload(file.name, file.read_bytes(), subfolder=self.name)


def find_photos(folder: Path, elsewhere: bool = False, said: str = "--photos") -> Photos:
    """The photos of the folder that `said` names; `elsewhere`: another computer is going to read them.

    Raises WorkshopError where there is no such folder, or no photo in it, and OSError.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise WorkshopError(
            f"{said}: {folder} is a file; name its folder."
            if folder.is_file()
            else f"{said}: there is no folder {folder}."
        )
    readable = PHOTOS | HEIC if elsewhere else suffixes()
    found = look_into(folder, readable)
    left_out = why_left_out(found.left_out)
    if not found.photos:
        kinds = ", ".join(sorted(readable))
        raise WorkshopError(f"{said}: {folder} holds no images ({kinds}). Put some into it. {left_out}".strip())
    words = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", folder.name)).strip("-.")[:40]
    name = f"{words or 'photos'}-{_digest(found.files)[:12]}"
    return Photos(found.files, name, f"Photos: {len(found.photos)}. {left_out}".strip(), _captions(found))


def lora_name(graph: Graph, trainer: str, photos: Photos) -> str:
    """A name for the LoRA that the node `trainer` makes of the photos: one for each way to make it.

    The same photos and settings give the same name, so that the LoRA is found again; others never meet its file.
    """
    shaping: Graph = {}
    to_visit = [trainer]
    while to_visit:
        node_id = to_visit.pop()
        if node_id in graph and node_id not in shaping:
            shaping[node_id] = graph[node_id]
            links = (value for value in graph[node_id]["inputs"].values() if isinstance(value, list))
            to_visit += [link[0] for link in links if len(link) == 2 and isinstance(link[0], str)]
    settings = {
        node_id: {name: value for name, value in node["inputs"].items() if name != "lora_name"}
        for node_id, node in shaping.items()
    }
    digest = hashlib.sha256(json.dumps([settings, photos.name], sort_keys=True).encode()).hexdigest()
    return f"{photos.name.rpartition('-')[0]}-{digest[:12]}"


def _captions(found: PhotoFolder) -> tuple[str, ...]:
    """The captions of all photos; nothing where a photo has none, or where one cannot be read, as the node will say."""
    try:
        captions, _ = captions_of(found)
    except (ValueError, OSError):
        return ()
    return tuple(captions) if all(captions) else ()


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _digest(files: Iterable[Path]) -> str:
    """A digest of files by name and content."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        content = file.read_bytes()
        digest.update(f"{unicodedata.normalize('NFC', file.name)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
