import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from storybooth.consistency.bank_file import load, save
from storybooth.consistency.schedule import COND, UNCOND

from .making import recipe, write


@pytest.fixture
def saved(tmp_path):
    bank = write(recipe(2, seeds=(None, 7)))
    save(bank, tmp_path / "bank.safetensors")
    return bank, tmp_path / "bank.safetensors"


@pytest.mark.parametrize("storage", ["compact", "full"])
@pytest.mark.parametrize("dtype", ["fp16", "fp8", "fp32"])
@pytest.mark.parametrize("halves", [(UNCOND, COND), (COND,)])
def test_a_bank_comes_back_as_it_was(tmp_path, storage, dtype, halves):
    bank = write(recipe(3, storage=storage, dtype=dtype), halves)
    save(bank, tmp_path / "b.safetensors")
    loaded = load(tmp_path / "b.safetensors")
    assert (loaded.recipe, loaded.sigmas, loaded.tokens) == (bank.recipe, bank.sigmas, bank.tokens)
    assert torch.equal(loaded.latents, bank.latents)
    assert loaded.features.keys() == bank.features.keys()
    assert all(torch.equal(loaded.features[slot].float(), bank.features[slot].float()) for slot in bank.features)


def test_nothing_else_is_left_in_the_folder(saved):
    assert [path.name for path in saved[1].parent.iterdir()] == ["bank.safetensors"]


def test_a_failed_save_leaves_the_good_file(saved, monkeypatch):
    bank, path = saved
    before = path.read_bytes()

    def full_disk(tensors, filename, metadata):
        filename.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storybooth.consistency.bank_file.save_file", full_disk)
    with pytest.raises(OSError, match=r"bank\.safetensors cannot be written .*No space"):
        save(bank, path)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def rewritten(path, tensors=None, **metadata):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        old = file.metadata()
    save_file(tensors or load_file(path), path, {**old, **metadata})


def recipe_with(bank, **changes):
    return json.dumps({**bank.recipe.to_dict(), **changes})


def test_damaged_foreign_and_hostile_files_are_refused(saved):
    bank, path = saved
    good = path.read_bytes()
    tensors = load_file(path)
    name = next(name for name in tensors if name != "latents")

    def cases():
        yield lambda: path.write_bytes(good[:-10])
        yield lambda: path.write_bytes(b"")
        yield lambda: path.write_bytes(b"PK\x03\x04 a pickle, perhaps")
        yield lambda: path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
        yield lambda: save_file({"lora_unet.weight": torch.zeros(2)}, path)
        yield lambda: rewritten(path, format="storybooth identity bank 9")
        yield lambda: rewritten(path, recipe="{}")
        yield lambda: rewritten(path, recipe="[" * 10_000)
        yield lambda: rewritten(path, recipe="null")
        for changes in ({"steps": 10**9}, {"steps": "5"}, {"dtype": "fp64"}, {"storage": "x"}, {"prompts": ["a"]}):
            yield lambda changes=changes: rewritten(path, recipe=recipe_with(bank, **changes))
        yield lambda: rewritten(path, recipe=recipe_with(bank, schedule={"strength_32": 0.1}))
        yield lambda: rewritten(path, recipe=recipe_with(bank, schedule={"strength_32": 9}))
        yield lambda: rewritten(path, sigmas="[1.0, -1.0, 1.0, 1.0, 1.0]")
        yield lambda: rewritten(path, sigmas="[NaN, 1.0, 1.0, 1.0, 1.0]")
        yield lambda: rewritten(path, tokens="{}")
        yield lambda: rewritten(path, {**tensors, "surprise": torch.zeros(1)})
        yield lambda: rewritten(path, {**tensors, name: tensors[name][:, :-1].clone()})
        yield lambda: rewritten(path, {**tensors, name: tensors[name].half()})
        yield lambda: rewritten(path, {key: value for key, value in tensors.items() if key != name})
        yield lambda: rewritten(path, {key: value for key, value in tensors.items() if key != "latents"})

    for case in cases():
        path.write_bytes(good)
        case()
        with pytest.raises(ValueError, match=r"^name: bank\.safetensors is not an identity bank"):
            load(path)
    path.write_bytes(good)
    load(path)
