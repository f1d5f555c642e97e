"""What Identity Bank Writer says before it writes: how large the bank will be, and what it will not hold."""

import logging

from ...consistency.bank import Recipe
from ..cache import HEADROOM, make_room, spare_memory
from ..canvas import show_text


class Telling:
    """The lines under a writer's node: each is shown below those before it, of a cast after its character's name."""

    def __init__(self, node_id: str, name: str = "", lines: list[str] | None = None) -> None:
        self.node_id = node_id
        self._name = name
        self._lines = [] if lines is None else lines

    def of(self, name: str) -> "Telling":
        """What goes on with the character of this name."""
        return Telling(self.node_id, name, self._lines)

    def say(self, text: str) -> None:
        """Show one more line."""
        self._lines.append(f"{self._name}: {text}" if self._name else text)
        show_text("\n".join(self._lines), self.node_id)


def warn_of_empty(why: str, telling: Telling) -> None:
    """Say that a bank will hold nothing, and why."""
    text = f"This bank will be empty, and pictures as without it: {why}."
    telling.say(text)
    logging.warning("StoryBooth: Identity Bank Writer (node %s): %s", telling.node_id, text)


def announce(recipe: Recipe, size: int, unknown: str, telling: Telling) -> None:
    """Tell the bank's size in bytes before it is written, and what is `unknown`. MemoryError where it cannot fit."""
    most = "at most " if recipe.keep != "random" and recipe.storage == "compact" else ""
    text = f"{len(recipe.prompts)} identity image{'s' * (len(recipe.prompts) > 1)}, bank of {most}{readable(size)}"
    if unknown:
        text += f". {unknown}"
    if len(recipe.prompts) == 1:
        text += ". With one [id] line the identity image has no other to agree with; two or more work better"
    telling.say(text)
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
