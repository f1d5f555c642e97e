"""Nodes for tests that give what a user's other nodes may give, and a second folder for LoRAs and banks.

ComfyUI loads this file as a custom node of its own (see conftest.py of the tests); it knows nothing of the pack.
"""

import json
from pathlib import Path

import folder_paths
import torch

MORE = Path(folder_paths.models_dir).parent / "more_models"
for kind in ("loras", "identity_banks"):
    folder_paths.add_model_folder_path(kind, str(MORE / kind))


class ListOf:
    """A list of the values of a JSON text: of any length."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"values": ("STRING", {"default": "[]"})}})
    RETURN_TYPES = ("*",)
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "give"
    CATEGORY = "tests"

    def give(self, values: str) -> tuple[list]:
        """The list."""
        return (json.loads(values),)


class NanImages:
    """Two pictures of 64 x 64, of which the second has one number that is none."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "give"
    CATEGORY = "tests"

    def give(self) -> tuple[torch.Tensor]:
        """The batch."""
        images = torch.full((2, 64, 64, 3), 0.5)
        images[1, 3, 4, 0] = float("nan")
        return (images,)


class Masks:
    """Two masks, all of one number; with `colours` they are no masks."""

    INPUT_TYPES = classmethod(
        lambda cls: {
            "required": {name: ("INT", {}) for name in ("height", "width", "colours")}
            | {"value": ("FLOAT", {"max": 1000.0})}
        }
    )
    RETURN_TYPES = ("MASK",)
    FUNCTION = "give"
    CATEGORY = "tests"

    def give(self, height: int, width: int, colours: int, value: float) -> tuple[torch.Tensor]:
        """The batch."""
        return (torch.full((2, height, width, colours) if colours else (2, height, width), value),)


NODE_CLASS_MAPPINGS = {"TestListOf": ListOf, "TestNanImages": NanImages, "TestMasks": Masks}
