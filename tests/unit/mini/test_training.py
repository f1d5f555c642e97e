"""Training on a few pictures: the loss falls, and a course that was cut off goes on to the same weights."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

from storybooth.development.mini import export, pictures, train_unet, train_vae
from storybooth.development.mini.course import Course, generator, learning_rate, mean_weights
from storybooth.development.mini.muon import Muon
from storybooth.development.mini.text import LENGTH, WIDTH, Tokenizer
from storybooth.development.mini.world import RESOLUTION

LOADER = Path(export.__file__).parents[2] / "workshop" / "load_pack.py"


@pytest.fixture(scope="module")
def shards(emoji, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    list(pictures.paint_shards(folder, "world", 1, 8, emoji, shard=4))
    return folder


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return train_vae.build()


class Tiny(torch.nn.Module):
    """A network small enough to be trained thousands of times."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

    def loss(self, step):
        x = torch.randn(16, 4, generator=generator(5, step))
        return (self.layers(x)[:, 0] - x.prod(dim=1)).square().mean()


def train(file, until, muon=""):
    course = Course(file, Tiny(), mean_decay=0.99, muon=muon)
    for step in course.steps(until, 1000, lambda: None):
        course.update(course.network.loss(step), learning_rate(step, 1e-2, 20))
    return course


@pytest.mark.parametrize("muon", ["", "layers.0"])
def test_a_course_cut_off_ends_where_it_would_have(tmp_path, muon):
    whole = train(tmp_path / "whole.safetensors", 20, muon)
    train(tmp_path / "parts.safetensors", 7, muon)
    rest = train(tmp_path / "parts.safetensors", 20, muon)
    assert len(whole.optimizers) == 1 + bool(muon)
    assert rest.step == whole.step == 20
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, rest.parameters[name])
        assert torch.equal(whole.mean[name], rest.mean[name])
        assert not torch.equal(parameter, whole.mean[name])
    mean = mean_weights(tmp_path / "whole.safetensors")
    assert mean.keys() == whole.mean.keys()
    assert all(torch.equal(mean[name], whole.mean[name]) for name in mean)


def test_muon_does_what_torch_does_one_matrix_at_a_time():
    matrices = [
        torch.randn(shape, generator=generator(1, n)) for n, shape in enumerate([(8, 8), (8, 8), (4, 16), (16, 4)])
    ]
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in matrices] for _ in range(2))
    mine = Muon(ours, lr=0.01)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            one.grad = torch.randn(one.shape, generator=generator(2 + step, number))
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for matrix, one, other in zip(matrices, ours, theirs, strict=True):
        moved = (other - matrix).norm()
        assert moved > 0 and (one - other).norm() < 0.02 * moved  # both compute in bfloat16


TOGETHER = """
import sys, torch
from storybooth.development.mini.together import Together
together = Together()
a, b = torch.zeros(2, 3), torch.zeros(4, 2, 3, 3).contiguous(memory_format=torch.channels_last)
for p in (a, b):
    p.grad = torch.zeros_like(p)
    p.grad.copy_(torch.arange(float(p.numel())).view(p.shape) * (together.rank + 1))
together.average([a, b])
assert all(torch.equal(p.grad, torch.arange(float(p.numel())).view(p.shape) * 1.5) for p in (a, b))
assert together.any(together.rank == 1) and not together.any(False)
assert [together.number(step) for step in (0, 1)] == [together.rank, together.rank + 2]
"""


def test_two_processes_learn_from_the_mean_of_their_gradients(tmp_path):
    script = tmp_path / "together.py"
    script.write_text(f"import runpy\nrunpy.run_path({str(LOADER)!r})\n{TOGETHER}")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, str(script)], check=True, timeout=120)


def test_a_termination_signal_ends_and_saves(tmp_path):
    course = Course(tmp_path / "stopped.safetensors", Tiny(), mean_decay=0.99)
    before = signal.getsignal(signal.SIGTERM)
    for step in course.steps(1000, 1000, lambda: None):
        course.update(course.network.loss(step), 1e-2)
        if step == 4:
            signal.raise_signal(signal.SIGTERM)
    assert course.step == 5
    assert Course(tmp_path / "stopped.safetensors", Tiny(), mean_decay=0.99).step == 5
    assert signal.getsignal(signal.SIGTERM) is before


def test_mean_weights_can_be_borrowed(tmp_path):
    course = train(tmp_path / "course.safetensors", 5)
    own = {name: p.detach().clone() for name, p in course.parameters.items()}
    restore = course.swap_in_mean()
    assert all(torch.equal(p, course.mean[name]) for name, p in course.parameters.items())
    restore()
    assert all(torch.equal(p, own[name]) for name, p in course.parameters.items())


def test_the_learning_rate_warms_up_and_cools_down():
    rates = [learning_rate(step, 1.0, 1000, warm_up=100) for step in range(1000)]
    assert rates[0] == 0.01 and rates[99] == rates[500] == 1.0
    assert rates[850] == pytest.approx(0.5) and 0 < rates[999] < 0.01


def test_the_autoencoder_learns(vae, shards):
    content = train_vae.Pictures(shards, ("world",))
    assert len(content) == 8
    batch = train_vae.crops(content, 4, 64, generator(1, 0))
    assert batch.shape == (4, 3, 64, 64) and batch.abs().max() <= 1
    assert torch.equal(batch, train_vae.crops(content, 4, 64, generator(1, 0)))
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = train_vae.loss_of(vae, batch, generator(2, 0), kl_weight=1e-4)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_normalising_moves_latents_and_changes_no_picture(vae):
    pixels = torch.rand(2, 3, 64, 64, generator=generator(0, 0)) * 2 - 1
    mean, std = torch.tensor([0.5, -1.0, 0.0, 2.0]), torch.tensor([1.0, 2.0, 0.5, 3.0])
    with torch.no_grad():
        before = vae.encode(pixels).latent_dist
        picture = vae.decode(before.mean).sample
        vae.load_state_dict(export.normalised(vae.state_dict(), mean, std))
        after = vae.encode(pixels).latent_dist
        expected = (before.mean - mean.view(4, 1, 1)) / std.view(4, 1, 1)
        torch.testing.assert_close(after.mean * export.SCALE, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after.std * export.SCALE, before.std / std.view(4, 1, 1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(vae.decode(after.mean).sample, picture, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder) -> Tokenizer:
    return Tokenizer(tokenizer_folder)


def test_captions_are_padded_as_each_encoder_expects(tokenizer):
    tokens = tokenizer(["a b", "b " * 100])
    for name, padding in (("l", 49407), ("g", 0)):
        assert tokens[name].shape == (2, LENGTH)
        assert tokens[name][:, 0].tolist() == [49406] * 2
        assert tokens[name][0, 3] == 49407 and set(tokens[name][0, 4:].tolist()) == {padding}
    assert tokens["l"][1].equal(tokens["g"][1]) and tokens["g"][1, -1] == 49407


@pytest.fixture(scope="module")
def samples(tokenizer, tmp_path_factory) -> train_unet.Samples:
    latents = torch.randn(8, 4, 16, 16, generator=generator(0, 0)).half()
    columns = {name: ids.int() for name, ids in tokenizer(["a b"] * 4 + ["c, d"] * 4).items()}
    file = tmp_path_factory.mktemp("latents") / "latents.safetensors"
    save_file({"latents": latents, "mean": torch.zeros(4), "std": torch.ones(4), **columns}, file)
    return train_unet.Samples(file, tokenizer)


def test_kinds_of_pictures_come_as_often_however_few_they_are(tokenizer, emoji, tmp_path):
    latents = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 4, 2, 2).half()
    columns = {name: ids.int() for name, ids in tokenizer(["a b"] * 10).items()}
    kinds = torch.tensor([0] * 8 + [1] * 2, dtype=torch.uint8)
    file = tmp_path / "latents.safetensors"
    save_file(
        {"latents": latents.contiguous(), "mean": torch.zeros(4), "std": torch.ones(4), "kinds": kinds, **columns}, file
    )
    drawn = train_unet.Samples(file, tokenizer).batch(4000, generator(3, 0))[0][:, 0, 0, 0]
    assert drawn.unique().tolist() == list(range(10))
    assert 0.45 < (drawn >= 8).float().mean() < 0.55

    for kind, count in (("world", 8), ("things", 2)):
        list(pictures.paint_shards(tmp_path, kind, 1, count, emoji, shard=2))
    assert len(train_vae.Pictures(tmp_path, ("world", "things"))) == 10
    assert len(train_vae.Pictures(tmp_path, ("world", "things"), balanced=True)) == 16
    assert len(train_vae.Pictures(tmp_path, ("world", "toys"), balanced=True)) == 8


def test_an_exported_autoencoder_gets_small_latents_back(vae):
    pixels = torch.rand(1, 3, 32, 32, generator=generator(0, 0)) * 2 - 1
    mean, std = torch.zeros(4), torch.ones(4)
    exported = export.normalised(vae.state_dict(), mean, std)
    with torch.no_grad():
        before = vae.encode(pixels).latent_dist
        vae.load_state_dict(train_vae.with_small_latents(exported))
        after = vae.encode(pixels).latent_dist
        torch.testing.assert_close(after.mean, before.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after.std, before.std, rtol=1e-4, atol=1e-5)


def test_a_tenth_of_all_captions_is_left_out(samples):
    latents, tokens, time_ids = samples.batch(2000, generator(3, 0))
    assert latents.shape == (2000, 4, 16, 16) and time_ids.shape == (2000, 6)
    known = {tuple(row.tolist()) for row in samples.tokens["g"]}
    missing = np.mean([tuple(row.tolist()) not in known for row in tokens["g"]])
    assert 0.07 < missing < 0.13
    assert (time_ids[:, 2:] == torch.tensor([0.0, 0, RESOLUTION, RESOLUTION])).all()
    assert 0.5 < (time_ids[:, :2] == RESOLUTION).all(1).float().mean() < 0.7


def test_unet_and_text_encoders_learn_together(samples):
    torch.manual_seed(0)
    network = train_unet.Mini()
    signal_kept = DDIMScheduler.from_config(train_unet.SCHEDULE).alphas_cumprod
    batch = samples.batch(4, generator(4, 0))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    losses = []
    for _ in range(6):
        loss = train_unet.loss_of(network, batch, signal_kept, generator(4, 1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    for part in ("text.clip_l", "text.clip_g", "unet.down_blocks", "unet.up_blocks", "unet.add_embedding"):
        assert any(name.startswith(part) for name in changed), part


def test_drawing_gives_a_latent_for_every_prompt(tokenizer):
    torch.manual_seed(0)
    network = train_unet.Mini()
    latents = train_unet.draw(network, tokenizer, ["a b"], steps=2)
    assert latents.shape == (1, 4, RESOLUTION // 8, RESOLUTION // 8) and latents.isfinite().all()
    context, pooled = network.text(tokenizer(["a b", "a b"]))
    assert context.shape == (2, LENGTH, 2 * WIDTH) and pooled.shape == (2, WIDTH)


def test_exported_weights_can_be_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "WEIGHTS", tmp_path)
    weights = train_unet.Mini().state_dict()
    for part in ("unet", "text"):
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}
        export.save(export.as_comfyui_names(own) if part == "text" else own, part)
    loaded = export.load(tmp_path)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], tensor.half().float()) for name, tensor in weights.items())


def test_words_without_captions_stand_for_nothing():
    key = "clip_l.transformer.text_model.embeddings.token_embedding.weight"
    table = torch.ones(5, 2)
    kept = export.without_unused_words({key: table}, {"l": torch.tensor([1, 3, 3])})[key]
    assert kept.sum(1).tolist() == [0, 2, 0, 2, 0] and table.all()


def test_a_grown_decoder_begins_with_the_half_picture_enlarged(vae):
    latents = torch.randn(1, 4, 8, 8, generator=generator(0, 0))
    train_vae.grow(vae.decoder)
    with torch.no_grad():
        half, full = train_vae.decode_half(vae, latents), vae.decode(latents).sample
    inner = (..., slice(2, -2), slice(2, -2))
    difference = torch.nn.functional.avg_pool2d(full, 2)[inner] - half[inner]
    assert difference.abs().mean() < 0.5 * half[inner].std()


def test_exported_weights_are_whole_and_fp16(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "WEIGHTS", tmp_path)
    export.save({"a": torch.ones(2)}, "x")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["x.safetensors"]
    with pytest.raises(ValueError, match="x: a holds numbers that fp16 cannot"):
        export.save({"a": torch.tensor([1e6])}, "x")
