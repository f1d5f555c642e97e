"""Consistent self-attention with dense masks, straight from the report's equations, in float64.

Shares no code with `consistency/` but the draws that say which tokens and layers are kept.
"""

import torch


class SelfAttention(torch.nn.Module):
    """A plain multi-head attention with SDXL's projections: no bias on queries, keys and values."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (torch.nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = torch.nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """x (N, C), context (L, C), mask (N, L) of True where a query may see a key -> (N, C)."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(0, 1)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        return self.to_out((logits.softmax(-1) @ v).transpose(0, 1).flatten(1))


def mask_of(own: int, queries: int, keep: torch.Tensor) -> torch.Tensor:
    """Own tokens are always seen; an identity token is seen by every query or by none."""
    return torch.cat([torch.ones(own, dtype=torch.bool), keep]).expand(queries, -1)


def keep_flags(kept: torch.Tensor, tokens: int) -> torch.Tensor:
    """Indices (M, k) -> flags (M, tokens)."""
    flags = torch.zeros(kept.shape[0], tokens, dtype=torch.bool)
    return flags.scatter(1, kept, True)


def write(attention: SelfAttention, x: torch.Tensor, flags: torch.Tensor) -> torch.Tensor:
    """Identity images (M, N, C) with keep flags (M, N): each sees all of its own tokens, and the kept of the others."""
    rows = []
    for image in range(len(x)):
        others = [other for other in range(len(x)) if other != image]
        context = torch.cat([x[image], *(x[other] for other in others)])
        keep = torch.cat([flags[other] for other in others]) if others else torch.zeros(0, dtype=torch.bool)
        rows.append(attention(x[image], context, mask_of(x.shape[1], x.shape[1], keep)))
    return torch.stack(rows)


def read(attention: SelfAttention, panel: torch.Tensor, identity: torch.Tensor, flags: torch.Tensor) -> torch.Tensor:
    """A panel (N, C) sees all of its own tokens and the kept tokens of all identity images (M, L, C)."""
    context = torch.cat([panel, identity.flatten(0, 1)])
    return attention(panel, context, mask_of(len(panel), len(panel), flags.flatten()))
