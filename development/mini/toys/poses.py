"""How toys stand: anatomy's arrays with joints turned, as solids in the world."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from .anatomy import HEAD, JOINTS, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, TAIL, Solids, rotation
from .camera import Toys

ACTIONS = ("", "standing", "walking", "running", "jumping", "waving", "sitting")


class Stack(NamedTuple):
    """Arrays of many toys, one row a toy."""

    arrays: dict[str, torch.Tensor]

    @classmethod
    def of(cls, toys: Sequence[Solids], device: torch.device | str = "cpu") -> "Stack":
        """Gather toys on a device."""
        names = [name for name in vars(toys[0]) if name != "count"]
        return cls({name: torch.from_numpy(np.stack([getattr(t, name) for t in toys])).to(device) for name in names})

    def __getitem__(self, index: torch.Tensor) -> "Stack":
        return Stack({name: array[index] for name, array in self.arrays.items()})


def turns(draw: np.random.Generator, action: str, four_legged: bool) -> np.ndarray:
    """Rotations (JOINTS, 3, 3) of a pose; joint 0 turns the whole toy."""
    result = np.tile(np.eye(3, dtype=np.float32), (JOINTS, 1, 1))
    yaw = draw.normal(0, 22)
    result[0] = rotation(0, yaw, draw.normal(0, 2) - (8 if action == "running" else 0))
    result[HEAD] = rotation(draw.normal(0, 6), draw.normal(0, 10) - 0.4 * yaw, draw.normal(0, 6))
    result[TAIL] = rotation(draw.normal(0, 10), draw.normal(0, 20), 0)
    swing = {"walking": 28, "running": 48}.get(action, 6)
    step = draw.choice([-1, 1]) * swing
    for arm, leg, side in ((LEFT_ARM, LEFT_LEG, -1), (RIGHT_ARM, RIGHT_LEG, 1)):
        result[leg] = rotation(step * side + draw.normal(0, 4), 0, 0)
        if four_legged:
            result[arm] = rotation(-step * side + draw.normal(0, 4), 0, 0)
            continue
        up = draw.normal(0, 12)
        if action == "jumping" or (action == "waving" and side == 1):
            up = draw.uniform(95, 140)
        result[arm] = rotation(-step * side, 0, side * up)
        if action == "sitting":
            result[leg] = rotation(-75, 0, side * 14)
    return result


def posed(toys: Stack, turned: torch.Tensor) -> Toys:
    """Toys (B) in the world, their joints turned by `turned` (B, JOINTS, 3, 3), standing on y = 0."""
    a = toys.arrays
    joint = a["joint"]
    batch = torch.arange(len(joint), device=joint.device)[:, None]
    turn, pivot = turned[batch, joint], a["pivots"][batch, joint]
    own = (joint > 0)[..., None]
    centre = torch.where(own, torch.einsum("bsij,bsj->bsi", turn, a["centre"] - pivot) + pivot, a["centre"])
    frame = torch.where(own[..., None], turn @ a["frame"], a["frame"])
    whole = turned[:, None, 0]
    centre, frame = torch.einsum("bsij,bsj->bsi", whole.expand_as(turn), centre), whole @ frame
    # How far down each solid reaches: of a ball exactly, of the others near enough.
    reach = frame[..., 1, :].square().sum(-1).sqrt()
    there = frame.abs().amax((-1, -2)) > 1e-3
    lowest = torch.where(there, centre[..., 1] - reach, 9.0).amin(1)
    centre = centre - torch.stack([0 * lowest, lowest, 0 * lowest], -1)[:, None]
    extent = frame.square().sum(-2).amax(-1).sqrt()
    return Toys(
        a["kind"], centre, torch.linalg.inv(frame), extent * there, a["taper"], a["colour"], a["pattern"], a["scale"],
        a["gloss"], a["fuzz"],
    )  # fmt: skip
