"""safetensors files whose bytes follow from their content alone."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from ..files import write_whole


def save_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], new: bool = False
) -> None:
    """Write tensors and metadata to `path`, whole or not at all.

    Raises OSError naming the file if it cannot be written; what was there before stays. With `new` that is in any case
    so: FileExistsError where there is a file.
    """
    data = to_bytes(tensors, metadata)
    write_whole(path, lambda temporary: temporary.write_bytes(data), new)


def to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with its metadata in the order of its names; safetensors itself writes it in a random one."""
    data = safetensors.torch.save(dict(tensors), dict(metadata))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]
