"""The script grammar: one panel a line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """One line of the script. `line` counts from 1, `prompt` has subject and style filled in."""

    line: int
    prompt: str
    caption: str = ""
    identity: bool = False
    hidden: bool = False
    plain: bool = False
    seed: int | None = None
