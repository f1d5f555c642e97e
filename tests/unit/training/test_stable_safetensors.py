"""Files whose bytes follow from their content alone."""

import json

import pytest
import safetensors
import safetensors.torch
import torch

from storybooth.training.stable_safetensors import save_tensors, to_bytes

TENSORS = {"b": torch.arange(5.0), "a": torch.ones(2, 3, dtype=torch.float16)}
METADATA = {f"key {n}": f"눕죽이 {n}" for n in (3, 1, 2, 5, 4)}


def test_safetensors_reads_back_what_was_written(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS, METADATA)
    read = safetensors.torch.load_file(path)
    assert read.keys() == TENSORS.keys() and all(torch.equal(read[name], TENSORS[name]) for name in read)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == METADATA


def test_the_same_content_gives_the_same_bytes():
    data = to_bytes(TENSORS, METADATA)
    assert data == to_bytes(dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
    size = int.from_bytes(data[:8], "little")
    assert list(json.loads(data[8 : 8 + size])["__metadata__"]) == sorted(METADATA)
    assert (8 + size) % 8 == 0


def test_a_file_that_does_not_fit_leaves_the_earlier_one(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS, METADATA)
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(OSError, match=r"x.safetensors cannot be written .*Free some space"):
            save_tensors(path, {"large": torch.zeros(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
