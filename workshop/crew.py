"""The servers that draw, as the driver sees them: started on Ray, lost, looked at again, back.

Ray places an actor for each, tells which has finished, and notices when a machine is lost.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .client import Client
from .painter import DONE, FAILED, LOST, Job, Painter

_LOOK_AGAIN = 5
"""Seconds after which a lost server is looked at again."""

_SLOW = 120
"""Seconds after which the user is told that a server does not come up."""

_GONE_WITH_IT = RayActorError, NodeDiedError, ObjectLostError
"""What Ray says where an actor's process or machine is gone, or what it had made and not handed out yet."""


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


@dataclass(eq=False)
class Server:
    """A server. `task`: what it does, None while it is only looked at; `lost_since`: when it was seen to fail, or None.

    `holds`: photos, LoRAs and banks that lie there, by name; `refuses`: stories that it cannot draw, `loans`: those of
    which something may lie there, by digest.
    """

    name: str
    actor: Any
    task: Any = None
    started: float = 0
    lost_since: float | None = None
    look_at: float = 0
    told: bool = False
    holds: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    loans: set[str] = field(default_factory=set)


class Crew:
    """All servers of a `setting`; `say` tells the user who is lost and who is back."""

    def __init__(self, setting: Servers, say: Callable[[str], None]) -> None:
        self._setting = setting
        self._say = say
        self._turn = itertools.count()
        self._calls: dict[Any, Server] = {}
        self._leaving: list[Any] = []
        self.servers = [self._start(name) for name in self._names()]

    @property
    def idle(self) -> list[Server]:
        """Those that are there and have nothing to do."""
        busy = {id(server) for server in self._calls.values()}
        return [server for server in self.servers if server.lost_since is None and id(server) not in busy]

    @property
    def left(self) -> list[Server]:
        """Those that are there, or were lost less than `patience` seconds ago."""
        now = time.monotonic()
        return [
            server
            for server in self.servers
            if server.lost_since is None or now - server.lost_since <= self._setting.patience
        ]

    def look_at(self, server: Server) -> None:
        """Ask whether a server is there."""
        server.started = time.monotonic()
        self._calls[server.actor.ready.remote()] = server

    def begin(self, server: Server, task: Any, job: Job) -> None:
        """Let a server do a job."""
        server.task, server.started = task, time.monotonic()
        self._calls[server.actor.work.remote(job)] = server

    def forget(self, servers: Iterable[Server], *stories: str) -> None:
        """Remove from these servers what was made for stories of these digests."""
        if stories:
            self._leaving += [server.actor.forget.remote(*stories) for server in servers]
            self._leaving = self._leaving[-100:]

    def finished(self) -> Iterator[tuple[Server, Any]]:
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

    def seen(self, server: Server, kind: str, told: str) -> set[str]:
        """What came of a look at a server; returns what was lost with it, by name."""
        if kind == DONE:
            if server.lost_since is not None:
                self._say(f"{server.name}: back")
            server.lost_since = None
        elif kind == FAILED:  # it answers, and is none of ours
            self._say(told)
            self.servers.remove(server)
        else:
            return self.lose(server, told)
        return set()

    def lose(self, server: Server, reason: str) -> set[str]:
        """Count a server as lost; returns what lay there, by name."""
        if server.lost_since is None:
            server.lost_since = time.monotonic()
            others = any(other.lost_since is None for other in self.servers if other is not server)
            left = "others go on with its work" if others else f"waiting {self._setting.patience:.0f} s for it"
            self._say(f"{server.name}: lost; {left}. {reason}")
        server.look_at = time.monotonic() + _LOOK_AGAIN
        lost, server.holds = server.holds, set()
        server.loans.clear()
        return lost

    def look_after_lost(self) -> None:
        """Look at lost servers again; tell of those that do not come up."""
        busy = {id(server) for server in self._calls.values()}
        for server in self._calls.values():
            if server.task is None and not server.told and time.monotonic() - server.started > _SLOW:
                server.told = True
                self._say(f"{server.name}: not up yet. Others do its work; is a card of the Ray cluster free for it?")
        for server in self.servers:
            if server.lost_since is not None and id(server) not in busy and time.monotonic() > server.look_at:
                self.look_at(server)

    def stop(self) -> None:
        """Stop the servers that we have started, and leave nothing of unfinished stories on the others."""
        for server in self.servers:
            self._leaving += [server.actor.forget.remote(story) for story in server.loans]
        if self._leaving:
            ray.wait(self._leaving, num_returns=len(self._leaving), timeout=10)
        for server in self.servers:
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

    def _start(self, name: str) -> Server:
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
        return Server(name, remote.remote(*arguments, self._setting.patience))
