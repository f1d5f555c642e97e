"""Encoded prompts side by side, though CLIP reads long ones in several windows of 77 tokens."""

import math
from collections.abc import Sequence

import torch


def common_tokens(states: Sequence[torch.Tensor]) -> int:
    """The smallest number of tokens that all `states` (rows, tokens, width) can be brought to by repetition."""
    return math.lcm(*(state.shape[1] for state in states))


def join_states(states: Sequence[torch.Tensor]) -> torch.Tensor:
    """All rows of `states` (rows, tokens, width) at their common number of tokens.

    Repeating all tokens alike changes no attention: ComfyUI does the same between cond and uncond.
    """
    common = common_tokens(states)
    return torch.cat([state.repeat(1, common // state.shape[1], 1) for state in states])
