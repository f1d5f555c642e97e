"""Banks and panels that were made in this server and take long to make again, found by what shaped them.

That is told by a key (cache_keys.py).

ComfyUI forgets a node's result as soon as another workflow runs, and a changed line makes it run the whole node again.
"""

import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Generic, TypeVar

import psutil
from aiohttp import web
from server import PromptServer

from ..consistency.bank import IdentityBank
from ..consistency.host_memory import give_back
from .routes import posted

T = TypeVar("T")

_MEMORY = psutil.virtual_memory().total
HEADROOM = max(2 * 2**30, _MEMORY // 10)
"""Bytes of system memory that are left to everything else."""


def available() -> int:
    """Bytes of system memory that nobody uses."""
    return psutil.virtual_memory().available


def spare_memory() -> int:
    """Bytes of system memory that may be taken; below 0 where others need what is kept here."""
    return available() - HEADROOM


class Store(Generic[T]):
    """Keeps the latest entry, and others while all stay within `budget` bytes together; the least used leave first.

    Where system memory is short they leave earlier. ComfyUI's "free memory" comes from another thread.
    """

    def __init__(self, budget: int, spare: Callable[[], int] = spare_memory) -> None:
        self._budget = budget
        self._spare = spare
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Hashable) -> T | None:
        """The entry of this key, which becomes the latest, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, entry: T, size: int) -> None:
        """Keep `entry` of `size` bytes, and let go of what budget and memory no longer hold."""
        with self._lock:
            self._entries[key] = entry, size
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and (self.size > self._budget or self._spare() < 0):
                self._entries.popitem(last=False)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum(size for _, size in self._entries.values())

    def drop(self) -> bool:
        """Let go of the entry that was used least; return whether there was one."""
        with self._lock:
            if self._entries:
                self._entries.popitem(last=False)
                return True
            return False

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._entries.clear()
        give_back()


BANKS: Store[IdentityBank] = Store(_MEMORY // 4)
PANELS: Store[Any] = Store(_MEMORY // 16)
"""Panels as latents by what shaped them, and as pictures by latent and VAE."""


def make_room(size: int, spare: Callable[[], int] = spare_memory) -> bool:
    """Whether `size` bytes may be taken. Banks, then panels, leave for that, where it helps."""
    give_back()
    if spare() + BANKS.size + PANELS.size < size:
        return False
    _let_go(lambda: spare() >= size)
    return spare() >= size


def _let_go(enough: Callable[[], bool]) -> None:
    """Let banks, then panels, leave until that is enough, or nothing is left."""
    while not enough() and (BANKS.drop() or PANELS.drop()):
        give_back()


async def free(request: web.Request, _: web.StreamResponse) -> None:
    """Free what is kept here when ComfyUI is told to free memory, by its button or through its API."""
    if request.method != "POST" or request.path not in ("/free", "/api/free"):
        return
    asked = await posted(request)
    if isinstance(asked, dict) and asked.get("free_memory", False):
        BANKS.clear()
        PANELS.clear()


def releasing_ours(release: Callable[..., int], memory: Callable[[], int] = available) -> Callable[..., int]:
    """ComfyUI's release of system memory, going on with what is kept here where that was not enough.

    `release(target, free_active=False)` lets go of results until `target` bytes are available; it returns how many
    it freed.
    """

    @wraps(release)
    def both(target: int, free_active: bool = False) -> int:
        freed = release(target, free_active=free_active)
        before = BANKS.size + PANELS.size
        _let_go(lambda: memory() >= target)
        return freed + before - BANKS.size - PANELS.size

    return both


if importlib.util.find_spec("comfy.memory_management"):  # older releases never run short on purpose
    from comfy import memory_management

    # There is one callback, and it is ComfyUI's own; so ours goes around it.
    memory_management.extra_ram_release = releasing_ours(memory_management.extra_ram_release)

_app = getattr(getattr(PromptServer, "instance", None), "app", None)
if _app is not None:  # some hosts run graphs without a web server
    _app.on_response_prepare.append(free)
