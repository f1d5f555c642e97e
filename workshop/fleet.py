"""Many stories over many ComfyUI servers, on Ray: who does what next, and what happens when a server is gone.

Ray places an actor for each server, tells which has finished, and notices when a machine is lost. What comes next is
decided here, piece by piece (pieces.py):

- a page whose panels are all there goes first: results come early;
- then a server's own stories, those whose bank lies there, panel by panel;
- then a new story of a character whose LoRA is there, then a character that nobody has trained;
- who has nothing of that to do helps with panels of others, and is given their LoRA and bank.

So with many stories each is drawn by one server, without a file on its way; with few, panels spread.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..comic.speakers import read_places
from . import WorkshopError
from .client import Client
from .painter import DONE, FAILED, GONE, LOST, REFUSED, Job, Loan, Made, Painter
from .pieces import SAVED, Pieces, Whole, cut, saved_anew, training
from .results import DrawnPanel, Results
from .stories import Refused, Story

_LOOK_AGAIN = 5
"""Seconds after which a lost server is looked at again."""

_SLOW = 120
"""Seconds after which the user is told that a server does not come up."""

_LOSSES = 3
"""A story with which so many servers were lost, one after another, is not given to a fourth."""

_GONE_WITH_IT = RayActorError, NodeDiedError, ObjectLostError
"""What Ray says where an actor's process or machine is gone, or what it had made and not handed out yet."""


@dataclass(eq=False)
class _Server:
    """A server as the driver sees it. `task`: what it does; `lost_since`: when it was last seen to fail, or None.

    `holds`: photos, LoRAs and banks that lie there, by name; `refuses`: stories that it cannot draw, by digest.
    """

    name: str
    actor: Any
    task: "_Task | None" = None
    started: float = 0
    lost_since: float | None = None
    look_at: float = 0
    told: bool = False
    holds: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    loans: set[str] = field(default_factory=set)


@dataclass(eq=False)
class _Work:
    """A story on its way. Once it is `open`: `pieces`, None where one server draws it whole; `todo`: places of panels
    that nobody draws yet; `panels`: those that are drawn; `bank`: its name, once it is written; `refusal`: why a server
    cannot draw it.
    """

    story: Story
    open: bool = False
    pieces: Pieces | None = None
    panels: dict[int, DrawnPanel] = field(default_factory=dict)
    todo: list[int] = field(default_factory=list)
    bank: str = ""
    refusal: str = ""
    begun: float = 0
    at_work: int = 0
    losses: Counter[tuple[str, int]] = field(default_factory=Counter)
    servers: list[str] = field(default_factory=list)

    def wants_bank(self, place: int) -> bool:
        """Whether a panel has to wait for the bank."""
        return not self.bank and self.pieces.panels[place].reads_bank


@dataclass(frozen=True)
class _Task:
    """What a server does for a story: "train", "bank", "panel" with its `place` and `bank`, "page", or "whole"."""

    kind: str
    work: _Work
    place: int = 0
    bank: str = ""


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
    """All of them have one folder of models: what one has made, the others find."""


class Fleet:
    """Draws stories on `servers`; tells `say` what happens, and `count` (pages, panels) what is done."""

    def __init__(
        self,
        servers: Servers,
        results: Results,
        say: Callable[[str], None],
        count: Callable[[int, int], None] = lambda pages, panels: None,
    ) -> None:
        self._setting = servers
        self._results = results
        self._say = say
        self._count = count
        self._training: set[str] = set()
        self._turn = itertools.count()
        self._servers = [self._start(name) for name in self._names()]
        self._calls: dict[Any, _Server] = {}
        self._leaving: list[Any] = []
        self._works: list[_Work] = []
        self._bad = 0

    def draw(self, stories: Sequence[Story | Refused]) -> int:
        """Draw all that are not drawn yet; return how many cannot be.

        Raises WorkshopError where no server is left for `patience` seconds, and OSError where a page cannot be saved;
        called again, it goes on.
        """
        before: list[str] = []
        for story in stories:
            if isinstance(story, Refused):
                self._note_failed(story.line, story.name, story.reason)
            elif self._results.has(story):
                self._say(f"{story.name}: drawn before")
                before.append(story.digest)
                self._count(1, 0)
            else:
                self._works.append(_Work(story))
                if story.doubt:
                    self._say(f"{story.name}: {story.doubt}")
        for server in self._servers:
            self._look_at(server)
            # A call that was killed may have left what the last stories needed.
            self._leaving += [server.actor.forget.remote(*before)] if before else []
        while self._works:
            for server in self._idle():
                if task := self._next(server):
                    self._begin(server, task)
            self._look_after_lost()
            for server, outcome in self._finished():
                self._take(server, *outcome)
            self._look_who_is_left()
        return self._bad

    def stop(self) -> None:
        """Stop the servers that we have started, and leave nothing of unfinished stories on the others."""
        for server in self._servers:
            self._leaving += [server.actor.forget.remote(story) for story in server.loans]
        if self._leaving:
            ray.wait(self._leaving, num_returns=len(self._leaving), timeout=10)
        for server in self._servers:
            try:
                ray.get(server.actor.stop.remote(), timeout=20)
            except RayError:  # it is gone, or hangs
                ray.kill(server.actor)

    # What there is to do.

    def _next(self, server: _Server) -> _Task | None:
        """What a server is to do now; None where there is nothing for it."""
        works = [work for work in self._works if work.story.digest not in server.refuses]
        begun = [work for work in works if work.open and work.pieces]
        for work in begun:
            if not work.todo and not work.at_work:
                return _Task("page", work)
        for work in begun:
            if work.bank in server.holds and work.todo:
                return self._panel(work, work.todo[0])
        ready = [work for work in works if self._results.knows_lora(work.story.lora)]
        for near in (True, False):
            for work in ready:
                if not work.at_work and not work.bank and (work.story.lora in server.holds) is near:
                    self._open(work)
                    if work.pieces is None:
                        return _Task("whole", work)
                    if work.todo:
                        wants = any(work.wants_bank(place) for place in work.todo)
                        return _Task("bank", work) if wants else self._panel(work, work.todo[0])
                    return _Task("page", work)
            for work in works:
                if near and work.story.lora not in self._training and not self._results.knows_lora(work.story.lora):
                    return _Task("train", work)
        for work in begun:
            for place in work.todo:
                if not work.wants_bank(place):
                    return self._panel(work, place)
        return None

    def _panel(self, work: _Work, place: int) -> _Task:
        return _Task("panel", work, place, work.bank if work.pieces.panels[place].reads_bank else "")

    def _open(self, work: _Work) -> None:
        """Cut a story into its pieces; those that an earlier call has made are there."""
        if work.open:
            return
        work.open = True
        try:
            work.pieces = cut(work.story.graph, work.story.digest)
        except Whole as why:
            self._say(f"{work.story.name}: drawn by one server, as {why}")
            return
        kept = self._results.panels(work.story)
        work.panels = {
            place: panel
            for place, panel in kept.items()
            if place in work.pieces.panels and (panel.places or not work.pieces.tells)
        }
        work.todo = [place for place in work.pieces.panels if place not in work.panels]

    def _begin(self, server: _Server, task: _Task) -> None:
        work, story = task.work, task.work.story
        work.begun = work.begun or time.monotonic()
        work.at_work += 1
        pictures: dict[tuple[str, str], bytes] = {}
        loans: list[Loan] = []
        if task.kind != "page":
            if story.photos.name not in server.holds:
                pictures = {(story.photos.name, file.name): file.read_bytes() for file in story.photos.files}
            if task.kind != "train" and story.lora not in server.holds and not self._setting.shared_models:
                loans.append(Loan("loras", *self._results.lora(story.lora)))
        if task.kind == "train":
            self._training.add(story.lora)
            job = Job(training(story.graph).graph, SAVED, pictures, wants_lora=True)
        elif task.kind == "bank":
            job = Job(work.pieces.bank.graph, SAVED, pictures, tuple(loans))
        elif task.kind == "panel":
            work.todo.remove(task.place)
            piece = work.pieces.panels[task.place]
            if task.bank and task.bank not in server.holds and not self._setting.shared_models:
                giver = next(other for other in self._servers if task.bank in other.holds)
                loans.append(Loan("identity_banks", task.bank, giver=giver.actor))
            graph = piece.with_bank(task.bank).graph
            job = Job(graph, SAVED, pictures, tuple(loans), tells=work.pieces.tells)
        elif task.kind == "page":
            folder = work.pieces.folder
            pictures = {(folder, f"{place:05}.png"): panel.picture for place, panel in work.panels.items()}
            graph = work.pieces.page_with({place: panel.places for place, panel in work.panels.items()})
            job = Job(graph, work.pieces.saver, pictures)
        else:
            job = Job(story.graph, story.saver, pictures, tuple(loans))
        server.task, server.started = task, time.monotonic()
        server.loans.add(story.digest)
        job = replace(job, graph=saved_anew(job.graph, job.node, story.digest))
        self._calls[server.actor.work.remote(job)] = server

    # What came of it.

    def _take(self, server: _Server, kind: str, value: Any) -> None:
        task, server.task = server.task, None
        if task is None:  # it was only looked at
            self._seen(server, kind, str(value))
            return
        work = task.work
        work.at_work -= 1
        if task.kind == "train":
            self._training.discard(work.story.lora)
        if work not in self._works:  # it has failed meanwhile
            if kind == LOST:
                self._lose(server, str(value))
            else:
                self._forget(work)
            return
        if kind == DONE:
            self._made(server, task, value)
            return
        if task.kind == "panel":
            work.todo.insert(0, task.place)
        if kind == FAILED:
            self._fail(work, str(value))
        elif kind == REFUSED:
            server.refuses.add(work.story.digest)
            work.refusal = f"{server.name} cannot draw it: {value}"
            self._say(f"{work.story.name}: {work.refusal}")
        else:
            work.losses[task.kind, task.place] += 1
            if kind == GONE:
                self._drop_bank(work)
            else:
                self._lose(server, str(value))
            if work.losses[task.kind, task.place] >= _LOSSES:
                self._fail(work, f"{_LOSSES} servers were lost, one after another, while they drew it. {value}")

    def _made(self, server: _Server, task: _Task, made: Made) -> None:
        work, story = task.work, task.work.story
        server.holds |= {story.photos.name, story.lora} if task.kind != "page" else set()
        if server.name not in work.servers:
            work.servers.append(server.name)
        if task.kind == "train":
            self._results.keep_lora(story.lora, *made.lora)
            self._say(f"{story.lora}: trained by {server.name} in {time.monotonic() - server.started:.0f} s")
        elif task.kind == "bank":
            work.bank = made.outputs["storybooth_bank"][0].replace("\\", "/")
            server.holds.add(work.bank)
        elif task.kind == "panel":
            if task.bank:
                work.bank = task.bank  # should the one who wrote it be lost: here it is
                server.holds.add(task.bank)
            try:
                read_places(made.told or "[{}]", 1)
            except ValueError as error:
                self._fail(work, f"{server.name}: {error}")
                return
            panel = work.panels[task.place] = DrawnPanel(made.files[0], made.told)
            self._results.keep_panel(story, task.place, panel)
            self._count(0, 1)
        else:
            seconds = time.monotonic() - work.begun
            try:
                self._results.drawn(story, made.files, work.servers, seconds)
            except ValueError as error:
                self._fail(work, str(error))
                return
            self._works.remove(work)
            self._count(1, 0)
            self._say(f"{story.name}: drawn by {', '.join(work.servers)} in {seconds:.0f} s")
            self._forget(work)

    def _forget(self, work: _Work) -> None:
        for server in self._servers:
            server.holds.discard(work.bank)
            if work.story.digest in server.loans:
                server.loans.remove(work.story.digest)
                self._leaving.append(server.actor.forget.remote(work.story.digest))
        self._leaving = self._leaving[-100:]

    def _fail(self, work: _Work, reason: str) -> None:
        self._works.remove(work)
        self._note_failed(work.story.line, work.story.name, reason)
        self._forget(work)

    def _note_failed(self, line: int, name: str, reason: str) -> None:
        self._bad += 1
        self._results.failed(line, name, reason)
        self._count(1, 0)
        self._say(f"{name} (line {line}): {reason}")

    def _drop_bank(self, work: _Work) -> None:
        """Let a bank be written again that is on no server any more."""
        for server in self._servers:
            server.holds.discard(work.bank)
        work.bank = ""

    # Servers that come and go.

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
        nodes = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])
        # Not soft=True: what needs no processor of its own, Ray would place anywhere, all of them on one machine.
        # Should that machine go meanwhile, the call fails, and the next turn is another's.
        turn = NodeAffinitySchedulingStrategy(nodes[next(self._turn) % len(nodes)], soft=False)
        # It gives files to others while it draws: more calls than one at a time.
        remote = ray.remote(
            num_cpus=0, num_gpus=cards, max_concurrency=8, scheduling_strategy="SPREAD" if cards else turn
        )(Painter)
        arguments = ("" if own else name, self._setting.comfyui, self._setting.python, self._setting.base)
        return _Server(name, remote.remote(*arguments, self._setting.patience))

    def _idle(self) -> list[_Server]:
        busy = {id(server) for server in self._calls.values()}
        return [server for server in self._servers if server.lost_since is None and id(server) not in busy]

    def _look_at(self, server: _Server) -> None:
        server.started = time.monotonic()
        self._calls[server.actor.ready.remote()] = server

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
            except _GONE_WITH_IT as error:
                outcome = LOST, f"its Ray worker is gone ({str(error).strip().splitlines()[-1]})"
                server.actor = self._start(server.name).actor
            except RayError as error:  # such as a server that does not start
                outcome = LOST, str(error).strip().splitlines()[-1]
                server.actor = self._start(server.name).actor
            yield server, outcome

    def _lose(self, server: _Server, reason: str) -> None:
        if server.lost_since is None:
            server.lost_since = time.monotonic()
            others = any(other.lost_since is None for other in self._servers if other is not server)
            left = "others go on with its work" if others else f"waiting {self._setting.patience:.0f} s for it"
            self._say(f"{server.name}: lost; {left}. {reason}")
        server.look_at = time.monotonic() + _LOOK_AGAIN
        lost, server.holds = server.holds, set()
        server.loans.clear()
        for work in self._works:
            if work.bank in lost and not any(work.bank in other.holds for other in self._servers):
                work.bank = ""  # to be written again

    def _look_after_lost(self) -> None:
        busy = {id(server) for server in self._calls.values()}
        for server in self._calls.values():
            if server.task is None and not server.told and time.monotonic() - server.started > _SLOW:
                server.told = True
                self._say(f"{server.name}: not up yet. Others do its work; is a card of the Ray cluster free for it?")
        for server in self._servers:
            if server.lost_since is not None and id(server) not in busy and time.monotonic() > server.look_at:
                self._look_at(server)

    def _seen(self, server: _Server, kind: str, told: str) -> None:
        if kind == DONE:
            if server.lost_since is not None:
                self._say(f"{server.name}: back")
            server.lost_since = None
        elif kind == FAILED:  # it answers, and is none of ours
            self._say(told)
            self._servers.remove(server)
        else:
            self._lose(server, told)

    def _look_who_is_left(self) -> None:
        """Let stories fail that nobody takes. Raises WorkshopError where no server is left."""
        now = time.monotonic()
        left = [
            server
            for server in self._servers
            if server.lost_since is None or now - server.lost_since <= self._setting.patience
        ]
        if self._works and not left:
            raise WorkshopError(
                f"No server is left, and {len(self._works)} stories wait. Start one and run this again: it goes on."
            )
        for work in [work for work in self._works if work.refusal and not work.at_work]:
            if all(work.story.digest in server.refuses for server in left):
                self._fail(
                    work,
                    f"no server draws it. {work.refusal.rstrip('.')}. Change the story, or name a server that can.",
                )
