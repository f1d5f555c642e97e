"""A bank's features on their way to the device that computes, one layer ahead of their use.

A bank lies in system memory. On CUDA a stream of its own copies features beside the computation, into a few places on
the device that are used again and again. The two streams wait for each other by events, the host for neither:

- a copy into a place waits until what was there before has been read,
- a read waits until the copy has arrived.

Copies are asynchronous only out of pinned memory. What is not pinned, as a memory-mapped file, goes through a pinned
buffer, which torch keeps from other use until the copy is done.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from .bank import Slot
from .schedule import Layer

Call = tuple[Layer, tuple[int, ...]]
"""A layer and the halves (COND or UNCOND) of the chunks that it is called with."""


class CallOrder:
    """Tells which calls of an evaluation come next: those that came next in the evaluations before.

    Layers run in the order of the network, but cond and uncond may come in one call or in two, and that may change
    during a run. A wrong guess costs time, never more.
    """

    def __init__(self) -> None:
        self._following: dict[Call | None, Call] = {}
        self._last: Call | None = None

    def begin(self) -> None:
        """An evaluation begins."""
        self._last = None

    def note(self, call: Call) -> None:
        """`call` is the present one. Coming again at once, for keys and for values, it counts as the same."""
        if call != self._last:
            self._following[self._last] = call
            self._last = call

    def upcoming(self) -> Iterator[Call]:
        """The calls after the present one, the nearest first, each once."""
        seen = {self._last}
        call = self._following.get(self._last)
        while call is not None and call not in seen:
            yield call
            seen.add(call)
            call = self._following.get(call)


@dataclass
class _Place:
    """Device memory that one feature at a time is copied into."""

    memory: torch.Tensor
    feature: torch.Tensor | None = None
    arrived: torch.cuda.Event | None = None
    read: torch.cuda.Event | None = None


class CudaLanes:
    """CUDA's two streams, as far as they are needed here: the one that computes, and one beside it for copies."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.side = torch.cuda.Stream(device)

    @property
    def computing(self) -> torch.cuda.Stream:
        """The present stream."""
        return torch.cuda.current_stream(self.device)

    def copying(self) -> AbstractContextManager:
        """Within this, copies go to the side stream."""
        return torch.cuda.stream(self.side)

    def pinned(self, row: torch.Tensor) -> torch.Tensor:
        """`row`, or a copy of it, in memory out of which copies are asynchronous."""
        return row if row.is_pinned() else row.pin_memory()

    def keep(self, memory: torch.Tensor) -> None:
        """Let `memory` go to nobody else before the copies are done that the side stream has by then."""
        memory.record_stream(self.side)


class DeviceFeatures:
    """Features on their way to `device`, found by their slots."""

    def __init__(
        self, device: torch.device, place_bytes: int, places: int | None, lanes: CudaLanes | None = None
    ) -> None:
        """`places` hold a feature of up to `place_bytes` each; with None there is one for every feature, and it stays.

        Of four places, two are read while the two for the next layer are filled: its cond and its uncond half.
        """
        self.device = device
        self.stays = places is None
        self._place_bytes = place_bytes
        self._count = places
        self._places: OrderedDict[Slot, _Place] = OrderedDict()  # the one that was used longest ago comes first
        self._lanes = lanes or (CudaLanes(device) if device.type == "cuda" else None)

    @property
    def size(self) -> int:
        """Bytes on the device."""
        return sum(place.memory.nbytes for place in self._places.values())

    def send(self, slot: Slot, source: Callable[[], torch.Tensor]) -> None:
        """Begin to copy the feature that `source` returns, (M, k, C) in system memory, unless it is there already."""
        if slot in self._places:
            return
        feature = source()
        place = self._vacant(feature.nbytes)
        place.feature = place.memory[: feature.nbytes].view(feature.dtype).view(feature.shape)
        lanes = self._lanes
        with lanes.copying() if lanes else nullcontext():
            if lanes:
                lanes.side.wait_event(place.read)
            # Image by image: what `source` cut from longer rows is not contiguous, and torch would copy it twice.
            for target, row in zip(place.feature, feature, strict=True):
                target.copy_(lanes.pinned(row) if lanes else row, non_blocking=lanes is not None)
            if lanes:
                place.arrived = lanes.side.record_event()
        self._places[slot] = place

    def take(self, slot: Slot, source: Callable[[], torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
        """The feature, on the device, in `dtype`; only computations of the present stream may use it."""
        self.send(slot, source)
        place = self._places[slot]
        self._places.move_to_end(slot)
        if self._lanes:
            self._lanes.computing.wait_event(place.arrived)
        feature = place.feature.to(dtype, copy=not self.stays)
        if self._lanes:
            place.read = self._lanes.computing.record_event()
        return feature

    def _vacant(self, size: int) -> _Place:
        """A place for `size` bytes. The copy must wait for its event `read`."""
        if not self.stays and len(self._places) >= self._count:
            return self._places.popitem(last=False)[1]
        memory = torch.empty(size if self.stays else self._place_bytes, dtype=torch.uint8, device=self.device)
        place = _Place(memory)
        if self._lanes:
            # The memory may be in use still by what had it before, and be given on while a copy into it is under way.
            place.read = self._lanes.computing.record_event()
            self._lanes.keep(memory)
        return place
