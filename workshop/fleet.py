"""Many stories over many ComfyUI servers, on Ray: who draws what next, and what happens when a server is gone.

Ray places an actor for each server, tells which has finished, and notices when a machine is lost. Which story comes
next is decided here: a character's stories go to the server that has trained it, so that it is trained once; a server
without work takes a character that nobody has. Stories do not know of each other: a page is the same whoever draws it.
"""

import hashlib
import io
import json
import os
import runpy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from ray.exceptions import RayActorError, RayError

from ..files import write_whole
from . import ROOT, WorkshopError
from .client import Client, Graph
from .painter import DRAWN, FAILED, LOST, Painter
from .stories import Refused, Story

_LOOK_AGAIN = 5
"""Seconds after which a lost server is looked at again."""


@dataclass
class _Server:
    """A server as the driver sees it. `story`: what it draws; `lost_since`: when it was last seen to fail, or None."""

    name: str
    actor: Any
    story: Story | None = None
    started: float = 0
    lost_since: float | None = None
    look_at: float = 0


@dataclass(frozen=True)
class Servers:
    """Which servers draw: those of `urls`, else `started` of our own, or one for each card of the cluster (0)."""

    urls: Sequence[str] = ()
    started: int = 0
    comfyui: str = ""
    python: str = ""
    base: str = ""
    patience: float = 600
    shared_models: bool = False
    """All of them have one folder of LoRAs: what one has trained, the others find."""


class Results:
    """`results.jsonl` in the folder of the pages: a line for each story that was drawn, or that cannot be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "results.jsonl"
        self._drawn: dict[str, dict[str, Any]] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:  # killed while it wrote
                    continue
                if "page" in entry:
                    self._drawn[entry["story"]] = entry

    def has(self, story: Story) -> bool:
        """Whether the page of this very story lies there, as it was drawn."""
        entry = self._drawn.get(story.digest)
        page = self._folder / f"{story.name}.png"
        return bool(
            entry
            and entry["page"] == page.relative_to(self._folder).as_posix()
            and page.is_file()
            and hashlib.sha256(page.read_bytes()).hexdigest() == entry["sha256"]
        )

    def drawn(self, story: Story, page: bytes, server: str, seconds: float) -> None:
        """Save a page, whole or not at all, then note it. Raises OSError.

        The picture carries its graph, as Save Image's do, but not what a server adds to it, such as the times of its
        files: so the same story gives the same bytes, whoever draws it.
        """
        path = self._folder / f"{story.name}.png"
        page = _own_file(page, story.graph)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: temporary.write_bytes(page))
        self._note(
            line=story.line,
            name=story.name,
            page=path.relative_to(self._folder).as_posix(),
            sha256=hashlib.sha256(page).hexdigest(),
            server=server,
            seconds=round(seconds, 1),
            story=story.digest,
        )

    def failed(self, line: int, name: str, reason: str) -> None:
        """Note a story that cannot be drawn. Raises OSError."""
        self._note(line=line, name=name, error=reason)

    def _note(self, **entry: Any) -> None:
        broken = self._file.exists() and not self._file.read_bytes().endswith(b"\n")
        with self._file.open("a", encoding="utf-8") as file:
            file.write(("\n" if broken else "") + json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _own_file(page: bytes, graph: Graph) -> bytes:
    """A page's PNG file with the same pixels, and with `graph` alone beside them."""
    notes = PngInfo()
    notes.add_text("prompt", json.dumps(graph))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(page)) as picture:
        picture.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def connect(address: str | None) -> None:
    """Join the Ray cluster at `address`, or start one on this machine. WorkshopError where there is none."""
    load = str(ROOT / "workshop" / "load_pack.py")
    # Without it, a worker could not import what its actor is made of.
    environment = {"worker_process_setup_hook": lambda: runpy.run_path(load) and None}
    try:
        ray.init(
            address,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=environment,
        )
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        raise WorkshopError(f"--ray: no Ray cluster answers at {address} ({error}).") from error


class Fleet:
    """Draws stories on `servers`, and tells `say` what happens."""

    def __init__(self, servers: Servers, results: Results, say: Callable[[str], None]) -> None:
        self._setting = servers
        self._results = results
        self._say = say
        self._homes: dict[str, _Server] = {}  # of characters, by their LoRA's name
        self._trained: set[str] = set()
        self._servers = [self._start(name) for name in self._names()]
        self._calls: dict[Any, _Server] = {}

    def draw(self, stories: Sequence[Story | Refused]) -> int:
        """Draw all that are not drawn yet; return how many cannot be.

        Raises WorkshopError where no server is left for `patience` seconds, and OSError where a page cannot be saved;
        called again, it goes on.
        """
        waiting: list[Story] = []
        bad = 0
        for story in stories:
            if isinstance(story, Refused):
                bad += 1
                self._fail(story.line, story.name, story.reason)
            elif self._results.has(story):
                self._say(f"{story.name}: drawn before")
            else:
                waiting.append(story)
                if story.doubt:
                    self._say(f"{story.name}: {story.doubt}")
        for server in self._servers:
            self._look_at(server)
        total, done = len(waiting), 0
        while waiting or any(server.story for server in self._servers):
            for server in self._idle():
                if story := self._next(server, waiting):
                    waiting.remove(story)
                    self._begin(server, story)
            self._look_after_lost()
            for server, outcome in self._finished():
                story, server.story = server.story, None
                kind, value = outcome
                if story is None:  # it was only looked at
                    self._seen(server, kind, str(value))
                elif kind == DRAWN:
                    done += 1
                    seconds = time.monotonic() - server.started
                    self._trained.add(story.lora)
                    self._results.drawn(story, value, server.name, seconds)
                    self._say(f"{story.name}: drawn by {server.name} in {seconds:.0f} s ({done} of {total})")
                elif kind == FAILED:
                    done += 1
                    bad += 1
                    self._fail(story.line, story.name, str(value))
                else:
                    waiting.insert(0, story)
                    self._lose(server, str(value))
            self._require_servers(waiting)
        return bad

    def stop(self) -> None:
        """Stop the servers that we have started."""
        for server in self._servers:
            try:
                ray.get(server.actor.stop.remote(), timeout=20)
            except RayError:  # it is gone, or hangs
                ray.kill(server.actor)

    def _names(self) -> list[str]:
        if self._setting.urls:
            for url in self._setting.urls:
                with Client(url):  # ValueError for what is no address
                    pass
            return list(dict.fromkeys(self._setting.urls))
        cards = int(ray.cluster_resources().get("GPU", 0))
        return [f"server {number}" for number in range(1, (self._setting.started or cards or 1) + 1)]

    def _start(self, name: str) -> _Server:
        own = name not in self._setting.urls
        cards = int(own and not self._setting.started and "GPU" in ray.cluster_resources())
        remote = ray.remote(num_cpus=0, num_gpus=cards)(Painter)
        arguments = ("" if own else name, self._setting.comfyui, self._setting.python, self._setting.base)
        spread = {"scheduling_strategy": "SPREAD"} if own else {}
        return _Server(name, remote.options(**spread).remote(*arguments, self._setting.patience))

    def _idle(self) -> list[_Server]:
        busy = {id(server) for server in self._calls.values()}
        return [server for server in self._servers if server.lost_since is None and id(server) not in busy]

    def _next(self, server: _Server, waiting: list[Story]) -> Story | None:
        """What a server is to draw: a character that it has trained, one that nobody has, or one that it finds."""
        homes = [self._homes.get(story.lora) for story in waiting]
        for story, home in zip(waiting, homes, strict=True):
            if home is server:
                return story
        for story, home in zip(waiting, homes, strict=True):
            if home is None or (self._setting.shared_models and story.lora in self._trained):
                return story
        return None

    def _begin(self, server: _Server, story: Story) -> None:
        self._homes.setdefault(story.lora, server)
        server.story, server.started = story, time.monotonic()
        photos = [(file.name, file.read_bytes()) for file in story.photos.files]
        self._call(server, server.actor.draw.remote(photos, story.photos.name, story.graph, story.saver))

    def _look_at(self, server: _Server) -> None:
        self._call(server, server.actor.ready.remote())

    def _call(self, server: _Server, reference: Any) -> None:
        self._calls[reference] = server

    def _finished(self) -> Iterator[tuple[_Server, Any]]:
        """Yield who has finished, and what came of it. Waits a second at most."""
        if not self._calls:
            time.sleep(0.2)
            return
        ready, _ = ray.wait(list(self._calls), timeout=1)
        for reference in ready:
            server = self._calls.pop(reference)
            try:
                outcome = ray.get(reference)
            except RayActorError as error:  # its process or its machine is gone
                outcome = LOST, f"its Ray worker is gone ({str(error).strip().splitlines()[-1]})"
                server.actor = self._start(server.name).actor
            except RayError as error:  # such as a server that does not start
                outcome = LOST, str(error).strip().splitlines()[-1]
                server.actor = self._start(server.name).actor
            yield server, outcome

    def _lose(self, server: _Server, reason: str) -> None:
        if server.lost_since is None:
            server.lost_since = time.monotonic()
            self._say(f"{server.name}: lost; its story goes to another. {reason}")
        server.look_at = time.monotonic() + _LOOK_AGAIN
        # Others may take its characters: they train them again, where they do not find the LoRA.
        self._homes = {lora: home for lora, home in self._homes.items() if home is not server}

    def _look_after_lost(self) -> None:
        busy = {id(server) for server in self._calls.values()}
        for server in self._servers:
            if server.lost_since is not None and id(server) not in busy and time.monotonic() > server.look_at:
                self._look_at(server)

    def _seen(self, server: _Server, kind: str, told: str) -> None:
        if kind == DRAWN:
            if server.lost_since is not None:
                self._say(f"{server.name}: back")
            server.lost_since = None
        elif kind == FAILED:  # it answers, and is none of ours
            self._say(told)
            self._servers.remove(server)
        else:
            self._lose(server, told)

    def _require_servers(self, waiting: list[Story]) -> None:
        lost = [server.lost_since for server in self._servers]
        if waiting and all(since is not None and time.monotonic() - since > self._setting.patience for since in lost):
            raise WorkshopError(
                f"No server is left, and {len(waiting)} stories wait. Start one and run this again: it goes on."
            )

    def _fail(self, line: int, name: str, reason: str) -> None:
        self._results.failed(line, name, reason)
        self._say(f"{name} (line {line}): {reason}")
