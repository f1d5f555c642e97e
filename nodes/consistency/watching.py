"""The attention calls of one evaluation, seen from inside: maps of the subject, and tokens that not every query reads.

ComfyUI hands queries, keys and values of every attention to an `optimized_attention_override`. Patches before it say
what comes next: cross-attention to be looked at, or a context of which only some queries read the end. These are then
two plain attentions instead of one, in whatever way ComfyUI computes them; an override of another node does each.
"""

from collections.abc import Callable, Hashable
from itertools import product
from typing import Any

import torch

SHARED = "storybooth_attention"
"""The transformer option that holds it: phases that are patched into one MODEL share one."""

OVERRIDE = "optimized_attention_override"

Look = Callable[[torch.Tensor, torch.Tensor, int], None]

_Part = tuple[int, int, torch.Tensor, int]


class WatchedAttention:
    """ComfyUI's `optimized_attention_override` during one evaluation."""

    def __init__(self, other: Callable[..., torch.Tensor] | None) -> None:
        """`other` is the override that was there before."""
        self._other = other
        self._held: list[Any] = []
        self._looks: list[Look] = []
        self._parts: list[_Part] = []
        self._groups: dict[Hashable, list[_Group]] = {}

    def look(self, look: Look) -> None:
        """The attention that comes next is cross-attention: `look(q, k, heads)` is to see it."""
        self._looks.append(look)

    def self_attention_comes(self) -> None:
        """Forget what was announced for a cross-attention that never came, as another node replaced it."""
        self._looks = []

    def cross_attention_comes(self) -> None:
        """Forget what was announced for a self-attention that never came."""
        self._parts = []

    def part(self, start: int, stop: int, readers: torch.Tensor, chunks: int) -> None:
        """In the attention that comes next only the queries `readers` (B, N) read the keys from `start` to `stop`.

        Its rows are `chunks` times these B.
        """
        self._parts.append((start, stop, readers, chunks))

    @torch.compiler.disable
    def __call__(
        self, func: Callable[..., torch.Tensor], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int,
        *args: Any, **kwargs: Any,
    ) -> torch.Tensor:  # fmt: skip
        """Called by ComfyUI in place of its attention `func`: q (B, N, C), k and v (B, L, C) -> (B, N, C)."""

        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            if self._other:
                return self._other(func, q, k, v, heads, *args, **kwargs)
            return func(q, k, v, heads, *args, **kwargs)

        looks, parts = self._looks, self._parts
        self._looks, self._parts = [], []
        for look in looks:
            look(q, k, heads)
        if not parts:
            return attend(q, k, v)
        out = torch.empty_like(q)
        for group in self._grouped(parts, q.device):
            chosen = group.of(q)
            keys, values = (_without(states, group.left_out) for states in (k, v))
            group.put(attend(chosen, keys, values), out)
        return out

    def _grouped(self, parts: "list[_Part]", device: torch.device) -> "list[_Group]":
        """The queries in groups that read the same keys; the same for all layers of a level."""
        key = tuple((start, stop, id(readers), chunks) for start, stop, readers, chunks in parts)
        if key not in self._groups:
            self._held.append(parts)  # so that no id is given to other readers
            groups = []
            for reads in product((False, True), repeat=len(parts)):
                chosen = [readers == read for (_, _, readers, _), read in zip(parts, reads, strict=True)]
                queries = torch.stack(chosen).all(0).repeat(parts[0][3], 1)
                if queries.any():
                    left_out = [part[:2] for part, read in zip(parts, reads, strict=True) if not read]
                    groups.append(_Group(queries, left_out, device))
            self._groups[key] = groups
        return self._groups[key]


class _Group:
    """Queries that read the same keys, row by row. Rows that have fewer are filled up with their first token."""

    def __init__(self, queries: torch.Tensor, left_out: list[tuple[int, int]], device: torch.device) -> None:
        """`queries` (B, N) says which; `left_out` are the keys that they do not read."""
        self.left_out = left_out
        most = int(queries.sum(1).max())
        # Those that are wanted first, in their order.
        index = queries.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        self._index = index.to(device)
        rows, columns = queries.gather(1, index).nonzero(as_tuple=True)
        self._rows, self._columns, self._tokens = (
            part.to(device) for part in (rows, columns, index[rows, columns])
        )  # fmt: skip

    def of(self, q: torch.Tensor) -> torch.Tensor:
        """q (B, N, C) -> (B, most, C)."""
        return q.gather(1, self._index[..., None].expand(-1, -1, q.shape[-1]))

    def put(self, attended: torch.Tensor, out: torch.Tensor) -> None:
        """Put (B, most, C) where it belongs in `out` (B, N, C)."""
        out[self._rows, self._tokens] = attended[self._rows, self._columns].to(out.dtype)


def _without(states: torch.Tensor, left_out: list[tuple[int, int]]) -> torch.Tensor:
    """(B, L, C) without the tokens of these places, which do not overlap and come in order."""
    if not left_out:
        return states
    bounds = [0, *(end for place in left_out for end in place), states.shape[1]]
    kept = [states[:, start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True) if start < stop]
    return kept[0] if len(kept) == 1 else torch.cat(kept, dim=1)


def watched(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """What ComfyUI's `predict_noise` takes beside latents and noise level, with a `WatchedAttention` in its options.

    The phases of one evaluation share it: the first that asks puts it there.
    """
    options = args[0] if args else kwargs["model_options"]
    transformer = options["transformer_options"]
    if not isinstance(transformer.get(OVERRIDE), WatchedAttention):
        attention = WatchedAttention(transformer.get(OVERRIDE))
        options = {**options, "transformer_options": {**transformer, OVERRIDE: attention, SHARED: attention}}
    return ((options, *args[1:]), kwargs) if args else (args, {**kwargs, "model_options": options})
