"""Copies and reads of a bank's features on two streams, checked for races without a card.

Streams and events are stand-ins that keep vector clocks; memory is real. An access that no chain of waits puts behind
the one before it on the other stream is a race, whether or not it would have gone wrong this time.
"""

import contextlib
import random

import pytest
import torch

from storybooth.consistency.reader import PLACES
from storybooth.consistency.stream import DeviceFeatures

Clock = dict[int, int]


class Stream:
    """Work in order, each piece with a time; `clock` is what of all streams comes before the next piece."""

    def __init__(self, number: int, waits: bool = True) -> None:
        self.number = number
        self.clock: Clock = {number: 0}
        self._waits = waits

    def tick(self) -> tuple[int, int]:
        self.clock[self.number] += 1
        return self.number, self.clock[self.number]

    def record_event(self) -> Clock:
        self.tick()
        return dict(self.clock)

    def wait_event(self, event: Clock) -> None:
        if self._waits:
            for number, time in event.items():
                self.clock[number] = max(self.clock.get(number, 0), time)

    def comes_after(self, access: tuple[int, int]) -> bool:
        number, time = access
        return self.clock.get(number, 0) >= time


class Lanes:
    """A computing and a copying stream, and all accesses to the memory of places."""

    def __init__(self, reads_wait: bool, copies_wait: bool) -> None:
        self.computing, self.side = Stream(0, reads_wait), Stream(1, copies_wait)
        self.races = 0
        self.kept: set[int] = set()
        self._written: dict[int, tuple[int, int]] = {}
        self._read: dict[int, list[tuple[int, int]]] = {}
        self._at_work = self.computing
        self._draw = random.Random(2)

    @contextlib.contextmanager
    def copying(self):
        self._at_work = self.side
        yield
        self._at_work = self.computing

    def pinned(self, row: torch.Tensor) -> torch.Tensor:
        return row if self._draw.random() < 0.5 else row.clone()

    def keep(self, memory: torch.Tensor) -> None:
        self.kept.add(memory.data_ptr())

    def write(self, memory: int) -> None:
        before = self._read.pop(memory, [])
        if memory in self._written:
            before.append(self._written[memory])
        self.races += sum(not self._at_work.comes_after(access) for access in before)
        self._written[memory] = self._at_work.tick()

    def read(self, memory: int) -> None:
        if memory in self._written:
            self.races += not self._at_work.comes_after(self._written[memory])
            self._read.setdefault(memory, []).append(self._at_work.tick())


def races(monkeypatch, places, reads_wait=True, copies_wait=True, uses=2000) -> int:
    """Races of random sends and takes; what was taken must be what was stored."""
    lanes, draw = Lanes(reads_wait, copies_wait), random.Random(1)
    copy, to = torch.Tensor.copy_, torch.Tensor.to

    def watched_copy(target, source, non_blocking=False):
        lanes.write(target.untyped_storage().data_ptr())
        return copy(target, source)

    def watched_to(tensor, *arguments, **options):
        lanes.read(tensor.untyped_storage().data_ptr())
        return to(tensor, *arguments, **options)

    stored = {i: torch.randn(2, draw.randint(1, 9), 8)[:, : draw.randint(1, 9)].half() for i in range(12)}
    features = DeviceFeatures(torch.device("cpu"), max(f.nbytes for f in stored.values()), places, lanes)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "copy_", watched_copy)
        patch.setattr(torch.Tensor, "to", watched_to)
        for _ in range(uses):
            i = draw.choice(list(stored))
            if draw.random() < 0.5:
                features.send(i, lambda i=i: stored[i])
            else:
                assert torch.equal(features.take(i, lambda i=i: stored[i], torch.float16), stored[i])
    assert len(lanes.kept) == (places or len(stored))
    return lanes.races


@pytest.mark.parametrize("places", [1, 2, PLACES, None])
def test_no_copy_and_no_read_races(monkeypatch, places):
    assert races(monkeypatch, places) == 0


@pytest.mark.parametrize("places", [1, 2, PLACES, None])
def test_reads_that_do_not_wait_for_their_copy_race(monkeypatch, places):
    assert races(monkeypatch, places, reads_wait=False) > 0


@pytest.mark.parametrize("places", [1, 2, PLACES])
def test_copies_that_do_not_wait_for_reads_race(monkeypatch, places):
    assert races(monkeypatch, places, copies_wait=False) > 0
