"""Which half of classifier-free guidance a prompt stands for, told by the guider's own lists of conditionings.

`cond_or_uncond` numbers the lists that one call evaluates. CFGGuider counts positive, negative; DualCFGGuider negative,
middle, positive; PerpNegGuider positive, negative, empty; the extra calls of SAG and Perp-Neg have one list only. The
number alone tells nothing.
"""

from typing import Any

from ...consistency.schedule import COND, UNCOND

Conds = list[dict[str, Any]]
"""Conditionings as they are while ComfyUI samples, each with a `uuid` of its own."""


def halves_of_prompts(conds: dict[str, Conds]) -> dict[Any, int]:
    """COND or UNCOND for every prompt of a guider, by its uuid. What ComfyUI calls a negative prompt is UNCOND."""
    return {
        entry["uuid"]: UNCOND if entry.get("prompt_type", name) == "negative" else COND
        for name, entries in conds.items()
        for entry in entries
    }


def halves_of_call(lists: list[Conds | None], prompts: dict[Any, int]) -> list[int]:
    """COND or UNCOND for the lists of conditionings of one call.

    A list's own conditionings come first in it; copies for the areas of other lists lie behind them.
    """

    def half(index: int, entries: Conds | None) -> int:
        # A prompt that the guider does not know and that comes alone is the empty one of Perp-Neg.
        unknown = UNCOND if index or len(lists) == 1 else COND
        return prompts.get(entries[0].get("uuid"), unknown) if entries else unknown

    return [half(index, entries) for index, entries in enumerate(lists)]
