"""The folder that stories are drawn into: pages, `results.jsonl`, LoRAs, and panels of stories not done yet."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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


class Results:
    """`results.jsonl` has a line for each story that was drawn, or that cannot be; the latest counts."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where `folder` cannot be made or written to."""
        prepare_folder(folder)
        self._folder = folder
        self._file = folder / "results.jsonl"
        self._drawn: dict[str, dict[str, Any]] = {}
        self._broken = False
        if self._file.exists():
            text = self._file.read_text(encoding="utf-8")
            self._broken = text != "" and not text.endswith("\n")
            for line in text.splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:  # killed while it wrote
                    continue
                if "pages" in entry:
                    self._drawn[entry["story"]] = entry
        self._loras: dict[str, str] = {}
        with suppress(OSError, ValueError):  # none yet
            self._loras = json.loads((folder / _PARTS / "loras.json").read_text(encoding="utf-8"))

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

        A picture carries its graph, as Save Image's do, but not what a server adds to it, such as the times of its
        files: so the same story gives the same bytes, whoever draws it.
        """
        digests = {}
        for number, page in enumerate(pages, start=1):
            path = self._folder / f"{story.name}{'' if len(pages) == 1 else f'-{number}'}.png"
            page = _own_file(page, story.graph)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda temporary, page=page: temporary.write_bytes(page))
            digests[path.relative_to(self._folder).as_posix()] = hashlib.sha256(page).hexdigest()
        self._note(
            line=story.line,
            name=story.name,
            pages=digests,
            servers=list(servers),
            seconds=round(seconds, 1),
            story=story.digest,
        )
        shutil.rmtree(self._folder / _PARTS / story.digest, ignore_errors=True)

    def failed(self, line: int, name: str, reason: str) -> None:
        """Note a story that cannot be drawn. Raises OSError."""
        self._note(line=line, name=name, error=reason)

    def panels(self, story: Story) -> dict[int, bytes]:
        """Panels that were drawn already, by their place, from an earlier call that was stopped."""
        files = (self._folder / _PARTS / story.digest).glob("*.png")
        return {int(file.stem): file.read_bytes() for file in files if file.stem.isdigit()}

    def keep_panel(self, story: Story, place: int, picture: bytes) -> None:
        """Keep a panel until its page is drawn. Raises OSError."""
        folder = self._folder / _PARTS / story.digest
        prepare_folder(folder)
        write_whole(folder / f"{place:05}.png", lambda temporary: temporary.write_bytes(picture))

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


def _own_file(page: bytes, graph: Graph) -> bytes:
    """A page's PNG file with the same pixels, and with `graph` alone beside them."""
    notes = PngInfo()
    notes.add_text("prompt", json.dumps(graph))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(page)) as picture:
        picture.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()
