"""What a workflow is made of before a canvas draws it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """A node on the canvas; `at` and `size` in pixels. Inputs that are not given keep their defaults."""

    type: str
    at: tuple[int, int]
    size: tuple[int, int]
    inputs: dict[str, Any] = field(default_factory=dict)
    model: dict[str, str] | None = None
    """A file that the canvas offers to download: name, url, and the directory below models/."""


@dataclass(frozen=True)
class Stage:
    """A group on the canvas: a title, one sentence, and the box around its nodes."""

    title: str
    sentence: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Story:
    """A workflow: nodes by id, and the stages that explain them."""

    name: str
    nodes: dict[str, Node]
    stages: tuple[Stage, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what the stages cover."""
        width, height = (max(stage.box[axis] + stage.box[axis + 2] for stage in self.stages) for axis in (0, 1))
        return width, height
