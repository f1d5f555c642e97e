"""A setting, written down once at its field: default, label on the canvas, help, range.

Widgets (`nodes/widgets.py`), the command line's `--help` and errors take their words from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class About:
    """What a setting's field carries. `minimum`, `maximum` and `step` are the widget's; a text has `options`.

    `advanced`: so rarely changed that canvases that can do so show it only when asked.
    """

    default: Any
    label: str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    options: tuple[str, ...] = ()
    advanced: bool = False


def setting(
    default: Any,
    label: str,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    step: float | None = None,
    options: Sequence[str] = (),
    advanced: bool = False,
) -> Any:
    """The field of a dataclass that is a setting."""
    about = About(default, label, help, minimum, maximum, step, tuple(options), advanced)
    return field(default=default, metadata={"about": about})


def all_about(holder: type) -> dict[str, About]:
    """All settings of a dataclass, by name."""
    return {field.name: field.metadata["about"] for field in fields(holder) if "about" in field.metadata}


def about(holder: type, name: str) -> About:
    """What one setting's field carries. KeyError where that is no setting."""
    return all_about(holder)[name]


def named(holder: type, name: str) -> str:
    """A setting in a message: as the canvas calls it, and, where that differs, as graphs and the command line do."""
    label = about(holder, name).label
    return label if label.split()[0] == name else f"{label} ({name})"
