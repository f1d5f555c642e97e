"""What the queued graph says beyond a node's own sockets: for checks that must not wait for training and drawing."""

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

WIRES = (list, tuple)  # [node id, output]; everything else is a widget's value


def source_of(hidden: io.Hidden, socket: str, node_type: str) -> Mapping[str, Any] | None:
    """The inputs of the node that `socket` of the running node is wired to, if it is of `node_type`; else None.

    `hidden` holds the prompt and the running node's unique_id. Inputs are widget values and wires. None, too, where
    the graph is not known, as in a node that another node made while it ran.
    """
    node = id_of_source(hidden, socket, node_type)
    return None if node is None else hidden.prompt[node]["inputs"]


def id_of_source(hidden: io.Hidden, socket: str, node_type: str) -> str | None:
    """The id of the node that `source_of` finds; None where it finds none."""
    prompt = hidden.prompt if isinstance(hidden.prompt, Mapping) else {}
    wire = prompt.get(hidden.unique_id, {}).get("inputs", {}).get(socket)
    source = prompt.get(wire[0], {}) if isinstance(wire, WIRES) and wire else {}
    return wire[0] if source.get("class_type") == node_type else None


def chain_of(hidden: io.Hidden, socket: str, node_type: str, names: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """The values of these widgets of the nodes of `node_type` that are chained into `socket` by the same socket of
    theirs, the first of the chain first. None where one of them is another node, or gets a value through a wire."""
    prompt = hidden.prompt if isinstance(hidden.prompt, Mapping) else {}
    found: list[dict[str, Any]] = []
    node = prompt.get(hidden.unique_id, {})
    while (wire := node.get("inputs", {}).get(socket)) is not None:
        node = prompt.get(wire[0], {}) if isinstance(wire, WIRES) and wire else {}
        values = widgets_of(node.get("inputs"), names)
        if node.get("class_type") != node_type or values is None or len(found) > len(prompt):
            return None
        found.append(values)
    return found[::-1]


def widgets_of(inputs: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The values of these widgets; None where one of them is missing or comes through a wire."""
    values = {name: (inputs or {}).get(name) for name in names}
    return None if any(value is None or isinstance(value, WIRES) for value in values.values()) else values
