"""What a picture of the world shows: painted by `world`, told by `captions`."""

from dataclasses import dataclass

from .places import DAY
from .subjects import Subject


@dataclass(frozen=True)
class Scene:
    """What a picture shows, complete but for the details that its random numbers decide."""

    place: str
    time: str = DAY
    backdrop: str | None = None
    """The colour of a plain background."""
    subject: Subject | None = None
    colour: str | None = None
    action: str = ""
    reading: bool = False
    """Whether it holds a newspaper."""
    sunglasses: bool = False
    many: bool = False
    """Whether there are two of it."""
    giant: bool = False
