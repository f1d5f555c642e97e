"""Banks on a device that computes: which of them may be there at a time, and when they leave.

ComfyUI knows of weights only. It tells a patched model when it is unloaded, but not when another clone of it is loaded
in its place and then unloaded, and never where it manages weights piece by piece (dynamic VRAM). So every run of ours
first lets all banks go that it does not read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from ..consistency.phase import Phase


class Residents:
    """The phases that hold memory of a device between sampling runs."""

    def __init__(self) -> None:
        self._settled: WeakSet[Phase] = WeakSet()
        self._present: list[Phase] = []
        self._story: WeakSet[Phase] | None = None

    def enter(self, phase: Phase) -> None:
        """A run begins of which `phase` is a part, beside those that have entered it already."""
        self._present.append(phase)
        if self._story is not None:
            self._story.add(phase)

    def leave_to_others(self) -> None:
        """Let go of all that the present run, and the story that it belongs to, have no part in."""
        for phase in list(self._settled):
            if phase not in self._present and phase not in (self._story or ()):
                self._go(phase)

    def settle(self, phase: Phase, room: int) -> None:
        """Tell `phase` of `room` bytes on the device, without those that others of this run will take of them."""
        others = sum(other.to_come for other in self._settled if other is not phase)
        self._settled.add(phase)
        phase.settle(max(0, room - others))

    def end(self, phase: Phase, dynamic: bool) -> None:
        """The run is over for `phase`. On a model that is `dynamic` nothing would tell it later to leave."""
        self._present.remove(phase)
        if dynamic and self._story is None:
            self._go(phase)

    def detached(self, unpatch_all: bool) -> None:
        """A model of ours has left its device, or a clone has taken its place: between two panels it may be back."""
        if unpatch_all or self._story is None:
            for phase in list(self._settled):
                if phase not in self._present:
                    self._go(phase)

    @contextmanager
    def story(self, dynamic: bool) -> Iterator[None]:
        """Several runs that belong together: banks that one of them has read may stay for the next."""
        before, self._story = self._story, WeakSet()
        try:
            yield
        finally:
            mine, self._story = self._story, before
            for phase in list(mine) if dynamic else ():
                self._go(phase)

    def _go(self, phase: Phase) -> None:
        phase.leave()
        self._settled.discard(phase)


RESIDENTS = Residents()
"""Of this server; ComfyUI samples one thing at a time."""
