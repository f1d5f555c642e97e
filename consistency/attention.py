"""Consistent self-attention as tensor operations on the input of `attn1`.

    plain        softmax(Q Kᵀ / √d) V                        Q, K, V: projections of the picture's own tokens X
    consistent   softmax(Q [K, K*]ᵀ / √d) [V, V*]            K*, V*: of the kept tokens of the identity images

The method is published with a mask over all identity tokens, from one keep-or-drop draw for each key token. Dropping a
key is the same as leaving it out of keys and values, so kept tokens are gathered and appended to the context; no mask
is built.

A bank stores hidden states, not the keys and values that a layer makes of them. Those would save 3.6 % of a step of
SDXL's 6.8 TFLOP a row (1024x1024, M = 2, half of the tokens kept, every layer consistent; the attention itself adds
6.2 %), but take twice the memory and twice the traffic to the device, 440 MB a step in fp16, and could not share a
layer with other patches: ComfyUI's `attn1_patch` comes before the projections.

Shapes: M identity images, N tokens, k kept tokens an image, C channels.
"""

from collections.abc import Mapping

import torch


def gather_kept(hidden_states: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """(M, N, C) and indices (M, k) -> (M, k, C)."""
    images = torch.arange(len(kept), device=kept.device).unsqueeze(1)
    return hidden_states[images, kept]  # torch.gather knows no fp8


def of_the_others(kept_states: torch.Tensor) -> torch.Tensor:
    """For every identity image, the kept tokens of all the others: (M, k, C) -> (M, (M-1)*k, C)."""
    images = range(kept_states.shape[0])
    return torch.stack([torch.cat([kept_states[other] for other in images if other != image]) for image in images])


def append(context: torch.Tensor, tokens: list[torch.Tensor]) -> torch.Tensor:
    """Append to every row of `context` the tokens of its chunk.

    `context` (chunks*B, N, C) holds equally large chunks one after another; `tokens[i]` belongs to chunk i and is
    (1, n, C), shared by its B rows, or (B, n, C). Returns (chunks*B, N+n, C).
    """
    rows = context.shape[0] // len(tokens)
    added = torch.cat([chunk.expand(rows, -1, -1) for chunk in tokens])
    return torch.cat([context, added], dim=1)


def appended_bytes(
    rows: int, tokens: Mapping[int, int], appended: Mapping[int, int], channels: Mapping[int, int], itemsize: int
) -> int:
    """The most memory that `append` adds to a layer of `rows` rows; all else by the levels in `channels`.

    Appended tokens exist as they came, in the context, as keys and as values; the context is a copy of the input.
    """
    needs = (rows * width * itemsize * (4 * appended[level] + tokens[level]) for level, width in channels.items())
    return max(needs, default=0)
