"""Banks and panels that were made in this server and take long to make again, found by what shaped them.

That is told by a key (cache_keys.py).

ComfyUI forgets a node's result as soon as another workflow runs, and a changed line makes it run the whole node again.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import psutil
import torch

from ..consistency.bank import IdentityBank

T = TypeVar("T")


class Store(Generic[T]):
    """Keeps the latest entry, and others while all stay within `budget` bytes together; the least used leave first."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """The entry of this key, which becomes the latest, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Hashable, entry: T, size: int) -> None:
        """Keep `entry` of `size` bytes, and let go of what the budget no longer holds."""
        self._entries[key] = entry, size
        self._entries.move_to_end(key)
        while len(self._entries) > 1 and sum(size for _, size in self._entries.values()) > self._budget:
            self._entries.popitem(last=False)


_MEMORY = psutil.virtual_memory().total

BANKS: Store[IdentityBank] = Store(_MEMORY // 4)
PANELS: Store[torch.Tensor] = Store(_MEMORY // 16)
"""Panels as latents by what shaped them, and as pictures by latent and VAE."""
