"""Runs and their files: what is saved when, what goes on from where, what is found again, what is never overwritten."""

import json
import os
import time
from dataclasses import replace

import pytest
import safetensors
import safetensors.torch
import torch

from storybooth.fingerprint import fingerprint
from storybooth.tests.deletions import watched
from storybooth.tests.unit.training.conftest import CONFIG, CPU
from storybooth.training.lora import add_lora
from storybooth.training.precision import DTYPES
from storybooth.training.recipe import name_of
from storybooth.training.run import train_lora
from storybooth.training.run_files import RunFiles
from storybooth.training.settings import Options, Settings
from storybooth.training.trainer import Trainer
from storybooth.training.unet import build_unet

SETTINGS = Settings(steps=5, gradient_accumulation=1, resolution=64, learning_rate=1e-2)


class CancelError(BaseException):
    """As ComfyUI 0.30.0's InterruptProcessingException, this is not an Exception."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "loras" / "toy.safetensors"


@pytest.fixture
def states(tmp_path):
    return tmp_path / "states"


@pytest.fixture
def files(path, states):
    """The files of a run of given settings."""

    def make(settings=SETTINGS, **recipe):
        return RunFiles(path, states, {**settings.recipe(), "model": "m", "images": "i", **recipe})

    return make


@pytest.fixture
def start(weights, examples, files):
    """Start a run, or go on with it; `cancel_at` raises after that step, `stop_at` stops and keeps."""

    def run(settings=SETTINGS, cancel_at=None, stop_at=None, every=2, on_step=lambda number, trouble: None):
        unet = build_unet(CONFIG, lambda name: weights[name].to(DTYPES[settings.precision]))
        add_lora(unet, settings)

        def step(number, loss, trouble):
            on_step(number, trouble)
            if number == cancel_at:
                raise CancelError
            return number == stop_at

        return train_lora(Trainer(unet, examples, settings, CPU), files(settings), every, step)

    return run


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def steps_in(folder):
    return [int(name.split(".step")[1].split(".")[0]) for name in names(folder) if ".step" in name]


def metadata(path):
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()


def test_a_finished_run_is_found_again(start, path, states, files):
    assert files().find_finished() is None
    trained = start()
    assert names(path.parent) == ["toy.safetensors"]
    assert steps_in(states) == [5]
    found = files().find_finished()
    assert found.tensors.keys() == trained.tensors.keys()
    assert all(torch.equal(found.tensors[name], trained.tensors[name]) for name in found.tensors)
    assert found.losses == trained.losses and len(found.losses) == 5


def test_the_file_tells_other_programs_what_it_is(start, path, files):
    start(replace(SETTINGS, options=Options(alpha=2.0)))
    told = metadata(path)
    assert told["ss_network_module"] == "networks.lora"
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("4", "2.0")
    assert told["ss_base_model_version"] == "sdxl_base_v1-0"
    assert told["ss_output_name"] == "toy"
    assert told["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert json.loads(told["storybooth_recipe"])["steps"] == 5


def test_only_the_latest_state_stays_and_it_is_no_file_of_the_loras_folder(start, path, states):
    seen = []
    start(on_step=lambda number, trouble: seen.append((steps_in(states), names(path.parent))))
    assert seen == [([], []), ([2], []), ([2], []), ([4], []), ([5], [])]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("options", [Options(), Options(lr_schedule="cosine", warmup_steps=2, noise_offset=0.1)])
def test_a_stopped_run_goes_on_to_the_very_same_file(start, path, states, options, precision):
    settings = replace(SETTINGS, options=options, precision=precision)
    trained = start(settings)
    whole = path.read_bytes()
    path.unlink()
    for state in states.iterdir():
        state.unlink()

    for cancel_at in (1, 3):
        with pytest.raises(CancelError):
            start(settings, cancel_at=cancel_at)
        assert steps_in(states) == steps_in(path.parent) == [cancel_at]
    seen = []
    again = start(settings, on_step=lambda number, trouble: seen.append(number))
    assert seen == [4, 5]
    assert again.losses == trained.losses
    assert path.read_bytes() == whole
    assert names(path.parent) == ["toy.safetensors"]


def test_cancel_keeps_what_was_learned_as_a_lora(start, path, files):
    with pytest.raises(CancelError):
        start(cancel_at=3)
    (name,) = names(path.parent)
    partial = safetensors.torch.load_file(path.with_name(name))
    assert any(tensor.count_nonzero() for key, tensor in partial.items() if "lora_up" in key)
    assert json.loads(metadata(path.with_name(name))["storybooth_step"]) == 3
    assert files().find_finished() is None


@pytest.mark.parametrize("stop_at", [1, 2, 3, 5])
def test_a_run_that_is_stopped_and_kept_is_one_of_so_many_steps(start, path, states, files, stop_at):
    shorter = replace(SETTINGS, steps=stop_at)
    start(shorter)
    expected = path.read_bytes()
    path.unlink()
    for state in states.iterdir():
        state.unlink()

    trained = start(stop_at=stop_at)
    assert path.read_bytes() == expected
    assert names(path.parent) == ["toy.safetensors"]
    assert steps_in(states) == [stop_at]
    assert files(shorter).find_finished().losses == trained.losses


def test_after_stop_and_keep_the_same_run_goes_on(start, path, files):
    start()
    whole = path.read_bytes()
    path.unlink()
    for state in files().states.iterdir():
        state.unlink()

    start(stop_at=3)
    assert files().find_finished() is None
    seen = []
    start(on_step=lambda number, trouble: seen.append(number))
    assert seen == [4, 5]
    assert path.read_bytes() == whole
    assert names(path.parent) == ["toy.safetensors", "toy.step000003.safetensors"]


def test_cancel_while_the_last_step_is_shown_loses_nothing(start, path, states):
    start()
    whole = path.read_bytes()
    path.unlink()
    for state in states.iterdir():
        state.unlink()
    with pytest.raises(CancelError):
        start(cancel_at=5)
    assert steps_in(states) == steps_in(path.parent) == [5]
    start(on_step=lambda number, trouble: pytest.fail("trained"))
    assert path.read_bytes() == whole and names(path.parent) == ["toy.safetensors"]


def test_more_steps_go_on_where_the_finished_run_ended(start, path, files):
    more = replace(SETTINGS, steps=8)
    start()
    shorter = path.read_bytes()
    assert files(more).find_finished() is None
    seen = []
    start(more, on_step=lambda number, trouble: seen.append(number))
    assert seen == [6, 7, 8]
    assert names(path.parent) == ["toy.safetensors", "toy.step000005.safetensors"]
    assert path.with_name("toy.step000005.safetensors").read_bytes() == shorter
    longer = path.read_bytes()
    path.unlink()
    (state,) = files(more).states.iterdir()
    state.unlink()
    start(more)
    assert path.read_bytes() == longer


def test_more_steps_without_the_state_are_refused(start, path, states, files):
    start()
    for state in states.iterdir():
        state.unlink()
    with pytest.raises(FileExistsError, match=r"toy.safetensors exists already and has 5 steps, and the state .* gone"):
        files(replace(SETTINGS, steps=8)).find_finished()


def test_fewer_steps_than_a_stopped_run_has_are_refused(start):
    with pytest.raises(CancelError):
        start(cancel_at=4)
    with pytest.raises(ValueError, match=r"steps: got 3, .* already come to step 4\. Set steps to 4"):
        start(replace(SETTINGS, steps=3))


def test_other_runs_keep_their_files(start, path, states):
    with pytest.raises(CancelError):
        start(replace(SETTINGS, seed=7), cancel_at=3)
    start()
    assert len(names(path.parent)) == 2 and sorted(steps_in(states)) == [3, 5]


def test_a_name_made_of_the_recipe_is_another_one_for_all_but_more_steps_and_seeds():
    recipe = {**SETTINGS.recipe(), "images": "i", "captions": "c"}
    name = name_of("toys/%digest%", recipe)
    assert len(name) == len("toys/") + 12
    assert name_of("toys/plain", recipe) == "toys/plain"
    assert name_of("toys/%digest%", {**recipe, "steps": 9, "seed": 9}) == name
    for changed in ({"images": "j"}, {"rank": 9}, {"model": "m"}):
        assert name_of("toys/%digest%", {**recipe, **changed}) != name


def test_an_existing_file_of_another_run_is_refused_and_says_what_differs(start, path, files):
    start()
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"lora_name: toy.safetensors exists.*other seed, flip, images"):
        files(replace(SETTINGS, seed=7, options=Options(flip=True)), images="j").find_finished()
    assert path.read_bytes() == before


def with_metadata(recipe, losses="[]", step="0"):
    told = {"storybooth_recipe": recipe, "storybooth_losses": losses, "storybooth_step": step}
    return safetensors.torch.save({"x": torch.zeros(1)}, told)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no safetensors", safetensors.torch.save({"x": torch.zeros(1)})),
        *map(with_metadata, ("", "[]", "null", "{}", '{"steps": "5"}', "[" * 100_000, "{")),
        with_metadata('{"steps": 5}', losses="5"),
        with_metadata('{"steps": 5}', step="x"),
    ],
)
def test_a_foreign_file_is_refused(path, files, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="not made by this trainer"):
        files().find_finished()


@pytest.mark.parametrize("content", [b"", b"no safetensors", safetensors.torch.save({"x": torch.zeros(1)})])
def test_a_damaged_state_is_named(start, states, content):
    with pytest.raises(CancelError):
        start(cancel_at=3)
    (state,) = states.iterdir()
    state.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{state.name} does not hold the state of this run .*Delete it"):
        start()


def test_what_a_killed_process_left_half_written_goes_away_unless_another_may_be_writing_it(start, path, states):
    with pytest.raises(CancelError):
        start(cancel_at=3)
    (state,) = states.iterdir()
    old = [state.with_name(f".{state.name}.{'12' * 16}.tmp"), path.with_name(f".toy.safetensors.{'12' * 16}.tmp")]
    young = [left.with_name(left.name.replace("12" * 16, "34" * 16)) for left in old]
    for left in (*old, *young):
        left.write_bytes(b"half")
    for left in old:
        os.utime(left, (time.time() - 3700,) * 2)
    start()
    assert names(path.parent) == [young[1].name, "toy.safetensors"]
    assert names(states)[0] == young[0].name and len(names(states)) == 2


def test_a_run_removes_nothing_that_is_not_its_own(start, path, states):
    """Other files, as old as can be, under names like those that a run removes in the end."""
    path.parent.mkdir()
    states.mkdir()
    theirs = [".tmpAb3dE6", "toy.step000001.safetensors", "toy.1a2b3c4d.step000001.safetensors", ".x.safetensors.tmp"]
    foreign = [
        folder / name for folder in (path.parent, states) for name in [*theirs, "1a2b3c4d.step000001.safetensors"]
    ]
    for file in foreign:
        file.write_bytes(b"theirs")
        os.utime(file, (0, 0))
    with watched() as lost:
        with pytest.raises(CancelError):
            start(cancel_at=3, every=1)
        start(every=1)
    assert lost == []
    assert all(file.read_bytes() == b"theirs" for file in foreign)
    assert path.is_file()


def test_another_run_that_takes_the_name_meanwhile_keeps_it(start, path, files):
    other = replace(SETTINGS, seed=7)
    start(other)
    theirs = path.read_bytes()
    path.unlink()

    def take(number, trouble):
        if number == 5:
            path.write_bytes(theirs)

    with pytest.raises(
        FileExistsError, match=r"lora_name: .* made toy.safetensors meanwhile.* saved as toy\..*rename"
    ) as e:
        start(on_step=take)
    assert path.read_bytes() == theirs
    (ours,) = [path.with_name(name) for name in names(path.parent) if name in str(e.value) and name != path.name]
    assert json.loads(metadata(ours)["storybooth_recipe"]) == files().recipe
    assert json.loads(metadata(ours)["storybooth_step"]) == 5


def test_another_server_that_does_the_same_run_meets_no_error(start, path):
    start()
    theirs = path.read_bytes()
    path.unlink()
    more = replace(SETTINGS, steps=8)

    def finish(number, trouble):
        if number == 7:
            path.write_bytes(theirs)

    trained = start(more, on_step=finish)
    assert len(trained.losses) == 8
    assert names(path.parent) == ["toy.safetensors", "toy.step000005.safetensors"]
    longer = path.read_bytes()
    path.unlink()
    start(more, on_step=lambda number, trouble: None)
    assert path.read_bytes() == longer


def test_the_state_of_another_server_that_is_ahead_stays(states, files):
    files().prepare()
    left = []
    for step in (1, 3, 2, 4):
        files().save_state({"x": torch.zeros(1)}, {}, step)
        left.append(steps_in(states))
    assert left == [[1], [3], [2, 3], [4]]


def test_a_kept_lora_is_never_replaced_by_that_of_another_run(start, path, states):
    start()
    path.with_name("toy.step000005.safetensors").write_bytes(b"somebody's")
    start(replace(SETTINGS, steps=8))
    assert path.with_name("toy.step000005.safetensors").read_bytes() == b"somebody's"
    assert len(names(path.parent)) == 3


def test_a_run_that_diverges_keeps_its_last_good_checkpoint_as_a_lora(start, path, states, examples):
    def poison(number, trouble):
        if number == 3:
            for example in examples:
                example.text.fill_(float("nan"))

    with pytest.raises(FloatingPointError, match=r"nan at step 4.*Lower learning_rate.*until step 2 is kept as toy\."):
        start(on_step=poison)
    assert steps_in(states) == steps_in(path.parent) == [2]
    (name,) = names(path.parent)
    tensors = safetensors.torch.load_file(path.with_name(name))
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_training_goes_on_over_a_full_disk_and_tries_again(start, states, path):
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    seen = []

    def limit(number, trouble):
        """Nothing larger than a few bytes fits from step 1 to step 3."""
        seen.append(trouble)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096 if number < 3 else before[0], before[1]))

    try:
        trained = start(on_step=limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [bool(trouble) for trouble in seen] == [False, True, True, False, False]
    assert "step000002.safetensors cannot be written" in seen[1] and "Free some space" in seen[1]
    assert len(trained.losses) == 5
    assert steps_in(states) == [5] and names(path.parent) == ["toy.safetensors"]


def test_a_disk_that_stays_full_says_so_and_keeps_the_last_checkpoint(start, states, path):
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(number, trouble):
        if number == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    try:
        with pytest.raises(OSError, match=r"cannot be written .*Free some space"):
            start(on_step=limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(names(states)) == 1 and steps_in(states) == [2]
    assert names(path.parent) == []
    seen = []
    start(on_step=lambda number, trouble: seen.append(number))
    assert seen == [3, 4, 5]


def test_a_disk_that_fills_up_leaves_the_lora_of_fewer_steps_in_its_place(start, path, full_disk):
    start()
    shorter = path.read_bytes()
    with pytest.raises(OSError, match=r"safetensors cannot be written"), full_disk(4096):
        start(replace(SETTINGS, steps=6))
    assert names(path.parent) == ["toy.safetensors"] and path.read_bytes() == shorter


def test_cancel_saves_the_lora_where_the_larger_state_does_not_fit(start, path, states, full_disk):
    start(replace(SETTINGS, steps=1, seed=7))
    size = path.stat().st_size
    path.unlink()
    with pytest.raises(OSError, match=r"step000003.safetensors cannot be written"), full_disk(size * 3 // 2):
        start(cancel_at=3, every=50)
    assert steps_in(path.parent) == [3]
    assert names(states) == [name for name in names(states) if "step000001" in name]


@pytest.mark.parametrize("folder", ["loras", "states"])
def test_an_unwritable_folder_is_found_before_training(start, tmp_path, folder):
    (tmp_path / folder).write_text("a file, no folder")
    with pytest.raises(OSError, match="cannot be made"):
        start(on_step=lambda number, trouble: pytest.fail("trained"))


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
