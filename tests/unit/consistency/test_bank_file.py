import json
import math
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

from storybooth.consistency.bank import Geometry, tokens_of
from storybooth.consistency.bank_file import digest, load, save
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Layer, Schedule
from storybooth.consistency.writer import BankWriter

from .making import GEOMETRY, SIGMAS, recipe, write


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


def test_files_have_the_sizes_of_the_report(tmp_path):
    """SDXL's layers at the report's 50 steps, in a picture of 64 x 64: a 256th of its 22,020,096,000 bytes."""
    layers = {Layer(block, index): 1280 for block in range(3) for index in range(10)}
    layers |= {Layer(block, index): 640 for block in range(3, 6) for index in range(2)}
    geometry = Geometry(layers, tokens_of(8, 8))
    sigmas = [float(50 - step) for step in range(50)]

    def size(storage, dtype):
        made_with = recipe(2, Schedule(), width=64, height=64, steps=50, storage=storage, dtype=dtype)
        writer = BankWriter(made_with, geometry)
        writer.start(sigmas, seed=None)
        for sigma in sigmas:
            writer.begin(sigma)
            for layer, channels in layers.items():
                states = torch.ones(4, geometry.tokens[layer.level], channels)
                writer.attend(layer, states, states, [UNCOND, COND])
        path = tmp_path / f"{storage}-{dtype}.safetensors"
        save(writer.finish(torch.zeros(2, 4, 8, 8)), path)
        return path.stat().st_size

    full = size("full", "fp16")
    assert full == pytest.approx(22_020_096_000 / 256, rel=0.01), "the header comes on top"
    assert size("compact", "fp16") / full == pytest.approx(0.375, abs=0.01)
    assert size("compact", "fp8") / full == pytest.approx(0.1875, abs=0.01)


def test_previews_travel_with_a_bank(tmp_path):
    writer = BankWriter(recipe(2, steps=1), GEOMETRY)
    writer.start([1.0], seed=None)
    writer.begin(1.0)
    pictures = torch.randint(256, (2, 12, 16, 3), dtype=torch.uint8)
    save(writer.finish(torch.zeros(2, 4, 12, 16), pictures), tmp_path / "b.safetensors")
    assert torch.equal(load(tmp_path / "b.safetensors").previews, pictures)


def test_an_open_bank_is_the_file_itself_and_no_copy(saved):
    """A change in the file shows in the features: they are views of its map. (Nobody changes a bank; see `save`.)"""
    _, path = saved
    loaded = load(path)
    slot = next(iter(loaded.features))
    before = loaded.features[slot].clone()
    with path.open("r+b") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        file.write(bytes(path.stat().st_size - file.tell()))
    assert before.any()
    assert not any(feature.any() for feature in loaded.features.values())


def test_nothing_else_is_left_in_the_folder(saved):
    assert [path.name for path in saved[1].parent.iterdir()] == ["bank.safetensors"]


def test_a_save_that_fails_leaves_nothing_and_what_is_there_stays(saved, full_disk):
    bank, path = saved
    before = path.read_bytes()
    with full_disk(len(before) // 2), pytest.raises(OSError, match=r"other\.safetensors cannot be written .*too large"):
        save(bank, path.with_name("other.safetensors"))
    with pytest.raises(FileExistsError, match=r"bank\.safetensors was made by another program"):
        save(write(recipe(3)), path)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def rewritten(path, tensors=None, **metadata):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        old = file.metadata()
    save_file(tensors or load_file(path), path, {**old, **metadata})


def reheaded(path, change):
    """Change the header of a safetensors file as the library would not."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + data[8 + length :])


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
        for changes in (
            *({"steps": 10**9}, {"steps": "5"}, {"steps": True}, {"dtype": "fp64"}, {"storage": "x"}),
            *({"prompts": ["a"]}, {"prompts": [1, 2]}, {"seeds": ["a", 7]}, {"seed": 5.0}),
            *({"width": "128"}, {"height": None}, {"width": 64}, {"width": 0, "height": 0}, {"cfg": "5"}),
            *({"sampler_name": ["x"]}, {"lora": 5}, {"cfg": 10**400}, {"height": 8 * 10**400}, {"width": 2**15}),
        ):
            yield lambda changes=changes: rewritten(path, recipe=recipe_with(bank, **changes))
        yield lambda: rewritten(
            path, recipe=recipe_with(bank, schedule={**vars(bank.recipe.schedule), "start_step": 0.5})
        )
        yield lambda: path.write_bytes((2**25).to_bytes(8, "little") + b"{" + b" " * (2**25 - 2) + b"}")
        yield lambda: rewritten(path, format="x" * 1_000_000)
        yield lambda: rewritten(path, recipe=recipe_with(bank, schedule={"strength_32": 0.1}))
        yield lambda: rewritten(path, recipe=recipe_with(bank, schedule={"strength_32": 9}))
        yield lambda: rewritten(path, sigmas="[1.0, -1.0, 1.0, 1.0, 1.0]")
        yield lambda: rewritten(path, sigmas="[NaN, 1.0, 1.0, 1.0, 1.0]")
        yield lambda: rewritten(path, sigmas="[1.0, 3.0, 5.0, 7.0, 9.0]")
        yield lambda: rewritten(path, tokens="{}")
        yield lambda: rewritten(path, {**tensors, "surprise": torch.zeros(1)})
        yield lambda: rewritten(path, {**tensors, name: tensors[name][:, :-1].clone()})
        yield lambda: rewritten(path, {**tensors, name: tensors[name].half()})
        yield lambda: rewritten(path, {key: value for key, value in tensors.items() if key != name})
        yield lambda: rewritten(path, {key: value for key, value in tensors.items() if key != "latents"})
        yield lambda: rewritten(path, {**tensors, "latents": tensors["latents"] * torch.nan})
        yield lambda: rewritten(path, {**tensors, "latents": tensors["latents"].to(torch.int64)})
        yield lambda: rewritten(path, {**tensors, "latents": torch.zeros(2, 4, 3, 3)})
        yield lambda: rewritten(path, {**tensors, "latents": torch.zeros(2, 9, 12, 16)})
        for shape in ([2, 12, 16], [2, 12, 16, 4], [2, 16, 12, 3], [3, 12, 16, 3]):
            yield lambda shape=shape: rewritten(path, {**tensors, "previews": torch.zeros(shape, dtype=torch.uint8)})
        yield lambda: rewritten(path, {**tensors, "previews": torch.zeros(2, 12, 16, 3)})
        # What safetensors would never write.
        yield lambda: reheaded(
            path, lambda entries: entries[name].update(data_offsets=entries["latents"]["data_offsets"])
        )
        yield lambda: reheaded(path, lambda entries: entries[name]["data_offsets"].reverse())
        yield lambda: reheaded(path, lambda entries: entries[name].update(shape=[2, 2**62, 2**62]))
        yield lambda: reheaded(path, lambda entries: entries[name].update(dtype="F16"))
        yield lambda: reheaded(path, lambda entries: entries.update(extra=entries[name]))
        yield lambda: path.unlink()

    for case in cases():
        path.write_bytes(good)
        case()
        with pytest.raises(ValueError, match=r"^name: bank\.safetensors is not an identity bank.{,300}$"):
            load(path)
    path.write_bytes(good)
    load(path)


@pytest.mark.parametrize("missing", ["uncond", "3.1"])
def test_features_that_are_missing_are_named_when_they_are_asked_for(saved, missing):
    bank, path = saved
    schedule = bank.recipe.schedule
    rewritten(path, {name: tensor for name, tensor in load_file(path).items() if f".{missing}" not in name})
    reader = BankReader(load(path), schedule)
    with pytest.raises(ValueError, match=r"^bank: it (was written at cfg|is incomplete: .* layer 3\.1 .* at step)"):
        for sigma in SIGMAS:
            reader.begin(sigma)
            for layer, channels in GEOMETRY.layers.items():
                reader.attend(layer, *[torch.zeros(2, 4, channels)] * 2, [UNCOND, COND])


def test_a_bank_of_many_identity_images_comes_back(tmp_path):
    bank = write(recipe(65))
    save(bank, tmp_path / "b.safetensors")
    assert load(tmp_path / "b.safetensors").images == 65


def test_saving_can_be_ended_between_two_tensors_and_leaves_nothing(tmp_path):
    class Cancelled(Exception):
        pass

    def two(names):
        for number, name in enumerate(names):
            if number == 2:
                raise Cancelled
            yield name

    path = tmp_path / "bank.safetensors"
    with pytest.raises(Cancelled):
        save(write(recipe(2)), path, two)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dtype", "broken"),
    [(dtype, sign * math.nan) for dtype in ("fp16", "fp8", "fp32") for sign in (1, -1)]
    + [("fp16", math.inf), ("fp32", -math.inf)],
)
def test_a_feature_that_is_not_finite_is_found(tmp_path, dtype, broken):
    bank = write(recipe(2, dtype=dtype))
    save(bank, tmp_path / "whole.safetensors")
    assert load(tmp_path / "whole.safetensors").images == 2
    feature = next(iter(bank.features.values()))
    feature.view(-1)[5] = broken
    save(bank, tmp_path / "broken.safetensors")
    with pytest.raises(ValueError, match=r"broken\.safetensors is not .* that can be read .*not finite \(NaN\)"):
        load(tmp_path / "broken.safetensors")


def test_opening_can_be_ended_between_two_features(tmp_path):
    save(write(recipe(2)), tmp_path / "bank.safetensors")
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "bank.safetensors", each=interrupted)


def interrupted(items):
    yield next(iter(items))
    raise KeyboardInterrupt


def test_a_banks_digest_is_that_of_its_file(tmp_path):
    bank = write(recipe(2))
    save(bank, tmp_path / "bank.safetensors")
    assert digest(bank) == sha256((tmp_path / "bank.safetensors").read_bytes()).hexdigest()
    assert digest(write(recipe(2, seeds=(None, 8)))) != digest(bank)
