"""The folder that stories are drawn into: pages, `results.jsonl`, LoRAs, and panels of stories not done yet."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..files import file_name, prepare_folder, write_whole
from . import WorkshopError
from .client import Graph
from .stories import Story

_PARTS = ".parts"


@contextmanager
def drawn_by_us_alone(folder: Path) -> Iterator[None]:
    """Keep others from drawing into `folder` meanwhile. Raises WorkshopError where somebody does, and OSError."""
    prepare_folder(folder)
    lock = FileLock(folder / ".lock")  # the system takes it from a process that is killed
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise WorkshopError(
            f"--out: another draw_stories.py draws into {folder}. Wait for it, end it, or name another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class DrawnPanel:
    """A panel's PNG file, and what its server told of where speakers are: "" for nothing."""

    picture: bytes
    places: str = ""


class Results:
    """`results.jsonl` has a line for each story that was drawn, or that cannot be; the latest counts."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where `folder` cannot be made or written to."""
        prepare_folder(folder)
        self._folder = folder
        self._file = folder / "results.jsonl"
        self._drawn: dict[str, dict[str, Any]] = {}
        self._owners: dict[str, str] = {}
        self._broken = False
        if self._file.exists():
            text = self._file.read_text(encoding="utf-8", errors="replace")
            self._broken = text != "" and not text.endswith("\n")
            for line in text.split("\n"):
                # Killed while it wrote, or changed by hand.
                with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    self._know(json.loads(line))
        self._loras: dict[str, str] = {}
        with suppress(OSError, ValueError):  # none yet
            self._loras = json.loads((folder / _PARTS / "loras.json").read_text(encoding="utf-8"))

    def _know(self, entry: dict[str, Any]) -> None:
        if "pages" not in entry:
            return
        names = dict.fromkeys(entry["pages"], entry["name"])
        self._drawn[entry["story"]] = entry
        self._owners |= names

    def has(self, story: Story) -> bool:
        """Whether the pages of this very story lie there, as they were drawn."""
        entry = self._drawn.get(story.digest)
        return bool(
            entry
            and entry["name"] == story.name
            and all(
                (path := self._folder / name).is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
                for name, digest in entry["pages"].items()
            )
        )

    def drawn(self, story: Story, pages: Sequence[bytes], servers: Sequence[str], seconds: float) -> None:
        """Save pages, each whole or not at all, then note them. Raises OSError.

        ValueError where a file that is not this story's has such a name: it stays. A picture carries its graph, as Save
        Image's do, but not what a server adds to it, such as the times of its files: so the same story gives the same
        bytes, whoever draws it.
        """
        digests = {}
        numbers = range(1, len(pages) + 1)
        paths = [self._folder / f"{story.name}{'' if len(pages) == 1 else f'-{number}'}.png" for number in numbers]
        for path in paths:
            self._keep_off(path, story)
        for path, page in zip(paths, pages, strict=True):
            page = _own_file(page, story.graph)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda temporary, page=page: temporary.write_bytes(page))
            digests[path.relative_to(self._folder).as_posix()] = hashlib.sha256(page).hexdigest()
        entry = {"line": story.line, "name": story.name, "pages": digests, "servers": list(servers)}
        entry |= {"seconds": round(seconds, 1), "story": story.digest}
        self._note(**entry)
        self._know(entry)
        shutil.rmtree(self._folder / _PARTS / story.digest, ignore_errors=True)

    def _keep_off(self, path: Path, story: Story) -> None:
        """Raise ValueError where a page would replace what is not an earlier one of its story."""
        name = path.relative_to(self._folder).as_posix()
        owner = self._owners.get(name)
        if not path.exists() or owner == story.name:
            return
        if owner is None and _graph_of(path) == story.graph:  # killed before it was noted
            return
        whose = f"a page of the story '{owner}'" if owner else "a file that is no page of this script's"
        raise ValueError(f"its page would be {name}, but {whose} lies there. Move that away, or rename one of the two.")

    def failed(self, line: int, name: str, reason: str) -> None:
        """Note a story that cannot be drawn. Raises OSError."""
        self._note(line=line, name=name, error=reason)

    def panels(self, story: Story) -> dict[int, DrawnPanel]:
        """Panels that were drawn already, by their place, from an earlier call that was stopped."""
        files = [file for file in (self._folder / _PARTS / story.digest).glob("*.png") if file.stem.isdigit()]
        return {int(file.stem): DrawnPanel(file.read_bytes(), _text_of(file.with_suffix(".json"))) for file in files}

    def keep_panel(self, story: Story, place: int, panel: DrawnPanel) -> None:
        """Keep a panel until its page is drawn. Raises OSError."""
        folder = self._folder / _PARTS / story.digest
        prepare_folder(folder)
        write_whole(folder / f"{place:05}.json", lambda temporary: temporary.write_text(panel.places, "utf-8"))
        write_whole(folder / f"{place:05}.png", lambda temporary: temporary.write_bytes(panel.picture))

    def knows_lora(self, name: str) -> bool:
        """Whether the LoRA that stories call `name` lies here."""
        return name in self._loras and (self._folder / "loras" / self._loras[name]).is_file()

    def lora(self, name: str) -> tuple[str, bytes]:
        """What servers call the LoRA that stories call `name`, and its file. Raises OSError."""
        return self._loras[name], (self._folder / "loras" / self._loras[name]).read_bytes()

    def keep_lora(self, name: str, known: str, content: bytes) -> None:
        """Keep a trained LoRA, `known` to servers by that name. Raises OSError, ValueError for a name that is none."""
        known = file_name(known, "lora_name").as_posix()  # a server's word: it stays in this folder
        path = self._folder / "loras" / known
        prepare_folder(path.parent)
        write_whole(path, lambda temporary: temporary.write_bytes(content))
        self._loras[name] = known
        prepare_folder(self._folder / _PARTS)
        table = json.dumps(self._loras)
        write_whole(self._folder / _PARTS / "loras.json", lambda temporary: temporary.write_text(table, "utf-8"))

    def _note(self, **entry: Any) -> None:
        line = ("\n" if self._broken else "") + json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                f"{self._file} cannot be written ({error.strerror}). Free some space or check permissions, and run "
                "this again: it goes on."
            ) from error
        self._broken = False


def _text_of(file: Path) -> str:
    with suppress(OSError, ValueError):
        return file.read_text(encoding="utf-8")
    return ""


def _graph_of(path: Path) -> Graph | None:
    """The graph that a page carries; None where it is no picture, or has none."""
    try:
        with Image.open(path) as picture:
            return json.loads(picture.info["prompt"])
    except (OSError, ValueError, KeyError, TypeError, Image.DecompressionBombError):
        return None


def _own_file(page: bytes, graph: Graph) -> bytes:
    """A page's PNG file with the same pixels, and with `graph` alone beside them."""
    notes = PngInfo()
    notes.add_text("prompt", json.dumps(graph))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(page)) as picture:
        picture.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()
