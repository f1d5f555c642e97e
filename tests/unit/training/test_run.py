"""Runs and their files: what is saved when, what is found again, what is never overwritten."""

import json
from dataclasses import asdict, replace

import pytest
import safetensors
import safetensors.torch
import torch

from storybooth.fingerprint import fingerprint
from storybooth.tests.unit.training.conftest import CONFIG, CPU
from storybooth.training.run import find_finished, train_lora
from storybooth.training.settings import Settings
from storybooth.training.unet import build_unet

SETTINGS = Settings(steps=5, gradient_accumulation=1, resolution=64)
RECIPE = {**asdict(SETTINGS), "model": "m", "images": "i"}


class CancelError(BaseException):
    """As ComfyUI 0.30.0's InterruptProcessingException, this is not an Exception."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "loras" / "toy.safetensors"


@pytest.fixture
def start(weights, examples, path):
    """Start a run; `cancel_at` raises after that step."""

    def run(cancel_at=None, recipe=RECIPE, every=2, on_step=None):
        def step(number, loss):
            if on_step:
                on_step(number)
            if number == cancel_at:
                raise CancelError

        settings = replace(SETTINGS, seed=recipe["seed"])
        return train_lora(build_unet(CONFIG, weights.__getitem__), examples, settings, recipe, path, every, CPU, step)

    return run


def files(path):
    return sorted(file.name for file in path.parent.iterdir())


def metadata(path):
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()


def steps_of(names):
    return [int(name.split(".step")[1].split(".")[0]) for name in names]


def test_a_finished_run_is_one_file_and_is_found_again(start, path):
    assert find_finished(path, RECIPE) is None
    trained = start()
    assert files(path) == ["toy.safetensors"]
    found = find_finished(path, RECIPE)
    assert found.tensors.keys() == trained.tensors.keys()
    assert all(torch.equal(found.tensors[name], trained.tensors[name]) for name in found.tensors)
    assert found.losses == trained.losses and len(found.losses) == 5


def test_the_file_tells_other_programs_what_it_is(start, path):
    start()
    told = metadata(path)
    assert told["ss_network_module"] == "networks.lora"
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("4", "4.0")
    assert told["ss_base_model_version"] == "sdxl_base_v1-0"
    assert told["ss_output_name"] == "toy"
    assert told["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert json.loads(told["storybooth_recipe"]) == RECIPE


def test_checkpoints_are_loras_and_only_the_latest_stays(start, path):
    seen = []
    start(on_step=lambda number: seen.append(steps_of(files(path)) if number < 5 else None))
    assert seen[:4] == [[], [2], [2], [4]]


def test_cancel_saves_what_was_learned_and_goes_on(start, path):
    with pytest.raises(CancelError):
        start(cancel_at=3)
    (name,) = files(path)
    assert steps_of([name]) == [3]
    partial = safetensors.torch.load_file(path.with_name(name))
    assert any(tensor.count_nonzero() for key, tensor in partial.items() if "lora_up" in key)
    assert json.loads(metadata(path.with_name(name))["storybooth_step"]) == 3
    assert find_finished(path, RECIPE) is None


def test_a_cancelled_run_can_be_queued_again_and_cleans_up(start, path):
    with pytest.raises(CancelError):
        start(cancel_at=3)
    seen = []
    start(on_step=lambda number: seen.append(steps_of(files(path)) if number < 5 else None))
    assert seen[:4] == [[3], [2, 3], [2, 3], [4]]
    assert files(path) == ["toy.safetensors"]


def test_other_runs_keep_their_unfinished_files(start, path):
    with pytest.raises(CancelError):
        start(cancel_at=3, recipe=RECIPE | {"seed": 7})
    start()
    assert len(files(path)) == 2


def test_an_existing_file_of_another_run_is_refused_and_says_what_differs(start, path):
    start()
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"lora_name: toy.safetensors exists.*other images, seed|seed, images"):
        find_finished(path, RECIPE | {"seed": 7, "images": "j"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no safetensors", safetensors.torch.save({"x": torch.zeros(1)})])
def test_a_foreign_file_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="not made by this node"):
        find_finished(path, RECIPE)


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(start, path, examples):
    def poison(number):
        if number == 3:
            for example in examples:
                example.text.fill_(float("nan"))

    with pytest.raises(FloatingPointError):
        start(on_step=poison)
    (name,) = files(path)
    tensors = safetensors.torch.load_file(path.with_name(name))
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_an_unwritable_folder_is_found_before_training(start, path):
    path.parent.write_text("a file, no folder")
    with pytest.raises(OSError, match="cannot be made"):
        start(on_step=lambda number: pytest.fail("trained"))


def test_checkpoint_every_must_be_positive(start):
    with pytest.raises(ValueError, match="checkpoint_every: got 0"):
        start(every=0)


class Adapter:
    """Holds a LoRA's tensors as ComfyUI's adapters do."""

    def __init__(self, *weights):
        self.weights = weights


def test_fingerprints_follow_content_not_identity():
    values = [("key", torch.arange(10.0), None), 1.0, [Adapter(torch.ones(3), 4.0)], len]
    same = [("key", torch.arange(10.0), None), 1.0, [Adapter(torch.ones(3), 4.0)], min]
    assert fingerprint(values) == fingerprint(same)
    for index, other in enumerate(
        [("key", torch.arange(10.0) + 1, None), 2.0, [Adapter(torch.ones(3), 5.0)], "a string"]
    ):
        assert fingerprint([*values[:index], other, *values[index + 1 :]]) != fingerprint(values)
    assert fingerprint([torch.zeros(2, 3)]) != fingerprint([torch.zeros(3, 2)])
    assert fingerprint([["a"], "b"]) != fingerprint([["a", "b"]])
    assert fingerprint([torch.ones(5).half()]) == fingerprint([torch.ones(5)])


def test_all_values_count_where_all_are_asked_for():
    image = torch.zeros(100_000)
    fingerprints = {fingerprint([image], samples=None)}
    for index in (1, 500, 99_999):
        changed = image.clone()
        changed[index] = 1
        fingerprints.add(fingerprint([changed], samples=None))
    assert len(fingerprints) == 4
