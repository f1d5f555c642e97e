"""Many stories over many ComfyUI servers, on Ray: who does what next, and what happens when a server is gone.

Crew knows the servers. What comes next is decided here, piece by piece (pieces.py):

- a page whose panels are all there goes first: results come early;
- then a server's own stories, those whose bank lies there, panel by panel;
- then a new story of a character whose LoRA is there, then a character that nobody has trained;
- who has nothing of that to do helps with panels of others, and is given their LoRA and bank.

So with many stories each is drawn by one server, without a file on its way; with few, panels spread.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..comic.speakers import read_places
from . import WorkshopError
from .crew import Crew, Server, Servers
from .painter import DONE, FAILED, GONE, LOST, REFUSED, Job, Loan, Made
from .pieces import SAVED, Pieces, Whole, cut, saved_anew, training
from .results import DrawnPanel, Results
from .stories import Refused, Story

_LOSSES = 3
"""A story with which so many servers were lost, one after another, is not given to a fourth."""


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
        self._crew = Crew(servers, say)
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
        for server in self._crew.servers:
            self._crew.look_at(server)
        # A call that was killed may have left what the last stories needed.
        self._crew.forget(self._crew.servers, *before)
        while self._works:
            for server in self._crew.idle:
                if task := self._next(server):
                    self._begin(server, task)
            self._crew.look_after_lost()
            for server, outcome in self._crew.finished():
                self._take(server, *outcome)
            self._look_who_is_left()
        return self._bad

    def stop(self) -> None:
        """Stop the servers that we have started, and leave nothing of unfinished stories on the others."""
        self._crew.stop()

    # What there is to do.

    def _next(self, server: Server) -> _Task | None:
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

    def _begin(self, server: Server, task: _Task) -> None:
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
                giver = next(other for other in self._crew.servers if task.bank in other.holds)
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
        server.loans.add(story.digest)
        self._crew.begin(server, task, replace(job, graph=saved_anew(job.graph, job.node, story.digest)))

    # What came of it.

    def _take(self, server: Server, kind: str, value: Any) -> None:
        task, server.task = server.task, None
        if task is None:  # it was only looked at
            self._without(self._crew.seen(server, kind, str(value)))
            return
        work = task.work
        work.at_work -= 1
        if task.kind == "train":
            self._training.discard(work.story.lora)
        if work not in self._works:  # it has failed meanwhile
            if kind == LOST:
                self._without(self._crew.lose(server, str(value)))
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
                self._without(self._crew.lose(server, str(value)))
            if work.losses[task.kind, task.place] >= _LOSSES:
                self._fail(work, f"{_LOSSES} servers were lost, one after another, while they drew it. {value}")

    def _made(self, server: Server, task: _Task, made: Made) -> None:
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
        lenders = [server for server in self._crew.servers if work.story.digest in server.loans]
        for server in self._crew.servers:
            server.holds.discard(work.bank)
        for server in lenders:
            server.loans.remove(work.story.digest)
        self._crew.forget(lenders, work.story.digest)

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
        for server in self._crew.servers:
            server.holds.discard(work.bank)
        work.bank = ""

    def _without(self, lost: set[str]) -> None:
        """Let banks be written again that were lost with a server and are on no other."""
        for work in self._works:
            if work.bank in lost and not any(work.bank in server.holds for server in self._crew.servers):
                work.bank = ""

    def _look_who_is_left(self) -> None:
        """Let stories fail that nobody takes. Raises WorkshopError where no server is left."""
        left = self._crew.left
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
