"""What Identity Bank Writer says before it writes: how large the bank will be, and what it will not hold."""

import logging

from ...consistency.bank import Recipe
from ..cache import HEADROOM, make_room, spare_memory
from ..canvas import show_text


def warn_of_empty(why: str, node_id: str) -> None:
    """Say that a bank will hold nothing, and why."""
    text = f"This bank will be empty, and pictures as without it: {why}."
    show_text(text, node_id)
    logging.warning("StoryBooth: Identity Bank Writer (node %s): %s", node_id, text)


def announce(recipe: Recipe, size: int, unknown: str, node_id: str) -> None:
    """Tell the bank's size in bytes before it is written, and what is `unknown`. MemoryError where it cannot fit."""
    most = "at most " if recipe.keep != "random" and recipe.storage == "compact" else ""
    text = f"{len(recipe.prompts)} identity images, bank of {most}{readable(size)}"
    if unknown:
        text += f". {unknown}"
    if len(recipe.prompts) == 1:
        text += ". With one [id] line the identity image has no other to agree with; two or more work better"
    show_text(text, node_id)
    logging.info("StoryBooth: %s.", text)
    if not make_room(size):
        free = readable(max(0, spare_memory()))
        raise MemoryError(
            f"storage: this bank would take {readable(size)} of system memory, and {free} are free, beside "
            f"{readable(HEADROOM)} for everything else. "
            f"Use {'storage compact, ' if recipe.storage == 'full' else ''}bank_dtype fp8, a smaller strength_32 and "
            "strength_64, a smaller width and height, or fewer [id] lines."
        )


def readable(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
