"""Keys that are equal only where ComfyUI would draw the same picture.

Weights, prompts and settings count by content. Patches of other nodes are code and have no content to compare: they
count by identity, so that a doubt means drawing again, never a wrong picture. StoryBooth's own patches, which are
methods, belong to something that tells in `shaped_by` what shaped them.
"""

import weakref
from collections.abc import Hashable, Iterable
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ..fingerprint import fingerprint
from .sockets import Conditioning

# Everything beside weights and LoRAs through which a node can change what a MODEL draws.
_PATCHES = (
    "model_options",
    "object_patches",
    "weight_wrapper_patches",
    "wrappers",
    "callbacks",
    "injections",
    "attachments",
    "additional_models",
    "hook_patches",
    "forced_hooks",
)


BYPASS = "storybooth_bypass"
"""The transformer option by which a MODEL leaves every bank alone."""


class ShapedBy(tuple):
    """What a patch tells about itself in `shaped_by`: two with equal contents make the same pictures."""

    __slots__ = ()


def patches_key(model: ModelPatcher) -> Hashable:
    """The key of all that is patched into a MODEL beside LoRAs. Where it leaves banks alone they do not count."""
    parts = _leaves([getattr(model, name, None) for name in _PATCHES])
    if model.model_options["transformer_options"].get(BYPASS):
        parts = (part for part in parts if not isinstance(part, ShapedBy))
    return tuple(parts)


def conditioning_key(conditioning: Conditioning) -> Hashable:
    """The key of an encoded prompt, with all that travels beside it."""
    return tuple(_leaves(conditioning))


class _Same:
    """Equal to another only while both hold the very same object, which is not kept alive for that."""

    def __init__(self, held: Any) -> None:
        self._hash = id(held)
        try:
            self._held = weakref.ref(held)
        except TypeError:
            self._held = lambda: held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and (held := self._held()) is not None and held is other._held()

    def __hash__(self) -> int:
        return self._hash


def _leaves(value: Any) -> Iterable[Hashable]:
    """The parts of nested dicts, lists, tuples and tensors, keys included."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _leaves(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, torch.Tensor):
        yield fingerprint([value], samples=None)
    elif value is None or isinstance(value, str | int | float):
        yield value
    else:
        yield getattr(getattr(value, "__self__", value), "shaped_by", None) or _Same(value)
