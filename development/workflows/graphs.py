"""What a workflow is made of before a canvas draws it."""

from dataclasses import dataclass, field
from typing import Any

from ...workshop.client import Graph

Point = tuple[int, int]


@dataclass(frozen=True)
class Node:
    """A node on the canvas; `at` and `size` in pixels. Inputs that are not given keep their defaults.

    `via` leads wires, by the input they end at, through these points, so that none passes behind a node. Wires of one
    output that begin with the same points are one wire as long as they do.
    """

    type: str
    at: Point
    size: Point
    inputs: dict[str, Any] = field(default_factory=dict)
    model: dict[str, str] | None = None
    """A file that the canvas offers to download: name, url, and the directory below models/."""
    title: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    """What widgets are called on this node, where that is not their own name."""
    via: dict[str, tuple[Point, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A group on the canvas: a title, one sentence, the box around its nodes, and the colour of all that.

    The colour is one of the names in the canvas's own menu.
    """

    title: str
    sentence: str
    box: tuple[int, int, int, int]
    colour: str | None = None


@dataclass(frozen=True)
class App:
    """What App mode shows: widgets as (node, name, height in pixels or None), and the nodes whose pictures come out."""

    inputs: tuple[tuple[str, str, int | None], ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """A workflow: nodes by id, and the stages that explain them: in one note in the box `guide`, or each for itself."""

    name: str
    nodes: dict[str, Node]
    stages: tuple[Stage, ...]
    guide: tuple[int, int, int, int] | None = None
    app: App = App()

    @property
    def api(self) -> Graph:
        """The nodes in the format of the API; what is not given in it the canvas fills in."""
        return {key: {"class_type": node.type, "inputs": node.inputs} for key, node in self.nodes.items()}

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what the stages cover."""
        boxes = [stage.box for stage in self.stages]
        left, top = (min(box[axis] for box in boxes) for axis in (0, 1))
        right, bottom = (max(box[axis] + box[axis + 2] for box in boxes) for axis in (0, 1))
        return left, top, right, bottom
