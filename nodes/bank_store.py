"""Banks that were written in this server, found again by what shaped them.

ComfyUI forgets a node's result as soon as another workflow runs; a bank takes minutes to write. The store keeps the
latest bank, and earlier ones while all together stay within a quarter of the system's memory.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import psutil
from comfy.model_patcher import ModelPatcher

from ..consistency.bank import IdentityBank, Recipe
from ..fingerprint import fingerprint
from .sockets import Conditioning


@dataclass(frozen=True)
class BankKey:
    """All that shapes a bank: the recipe, the encoded prompts, and whatever else is patched into the model.

    Patches are code and have no content to compare, so `patches` tells them by identity; it holds them, so that an
    identity is not used again.
    """

    recipe: Recipe
    prompts: str
    patches: tuple["_Identity", ...]


class _Identity:
    """Equal to another only where both hold the very same object."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


class BankStore:
    """Least recently used banks leave first."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._banks: OrderedDict[Hashable, IdentityBank] = OrderedDict()

    def get(self, key: Hashable) -> IdentityBank | None:
        """The bank of this key, which becomes the latest, or None."""
        if key in self._banks:
            self._banks.move_to_end(key)
        return self._banks.get(key)

    def put(self, key: Hashable, bank: IdentityBank) -> None:
        """Keep `bank`, and let go of what the budget no longer holds."""
        self._banks[key] = bank
        while len(self._banks) > 1 and sum(kept.size for kept in self._banks.values()) > self._budget:
            self._banks.popitem(last=False)


WRITTEN = BankStore(budget=psutil.virtual_memory().total // 4)


def key_of(model: ModelPatcher, recipe: Recipe, positive: Conditioning, negative: Conditioning) -> BankKey:
    """The key under which a bank of these inputs is kept."""
    texts = [(states, extras["pooled_output"]) for states, extras in (*positive, *negative)]
    patched = [model.model_options, model.object_patches, model.wrappers]
    return BankKey(recipe, fingerprint(texts, samples=None), tuple(_Identity(leaf) for leaf in _objects(patched)))


def _objects(value: Any) -> Iterable[Any]:
    """The leaves of nested dicts, lists and tuples."""
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _objects(part)
    elif value is not None:
        yield value
