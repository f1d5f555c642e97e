"""What the report leaves off: each option against its formula, and off by default."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from storybooth.tests.unit.training.conftest import CPU
from storybooth.training.batches import companions, generator, step_batches
from storybooth.training.examples import Photos, encode_image
from storybooth.training.images import bucket_for
from storybooth.training.loss import NoiseLoss
from storybooth.training.optimizers import learning_rate_factor, make_optimizer
from storybooth.training.settings import Options, Settings
from storybooth.training.timesteps import sample
from storybooth.training.trainer import Trainer

QUICK = Settings(steps=3, gradient_accumulation=1, resolution=64, learning_rate=1e-2)


def with_options(**options):
    return replace(QUICK, options=Options(**options))


class Recorder(torch.nn.Module):
    """A network that remembers what it was asked and answers with `answer`."""

    def __init__(self, answer=0.0):
        super().__init__()
        self.answer = answer

    def forward(self, noisy, t, encoder_hidden_states, added_cond_kwargs):
        self.noisy, self.t, self.text, self.conditions = noisy, t, encoder_hidden_states, added_cond_kwargs
        return self

    @property
    def sample(self):
        return torch.full_like(self.noisy, self.answer)


def loss_of(examples, distribution="uniform", number=0, **options):
    network, settings = Recorder(), with_options(**options)
    loss = NoiseLoss(network, settings, CPU)(examples, distribution, generator(settings, 1, number))
    return loss.item(), network


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weighs_each_noise_level_by_its_formula(examples, gamma):
    alphas = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod
    weights = []
    for number in range(40):
        plain, network = loss_of(examples[:1], number=number)
        weighted, _ = loss_of(examples[:1], number=number, min_snr_gamma=gamma)
        snr = (alphas[network.t] / (1 - alphas[network.t])).item()
        weights.append(weighted / plain)
        assert weights[-1] == pytest.approx(min(snr, gamma) / snr, rel=1e-4)
    assert min(weights) < 0.5 and max(weights) == pytest.approx(1.0)


def test_noise_offset_moves_whole_channels(examples):
    _, plain = loss_of(examples[:2])
    _, offset = loss_of(examples[:2], noise_offset=0.5)
    assert torch.equal(plain.t, offset.t)
    moved = (offset.noisy - plain.noisy).flatten(2)
    assert moved.std(dim=2).max() < 1e-5
    assert moved.mean(dim=2).unique().numel() == 2 * 4


def test_text_dropout_zeroes_captions_as_often_as_asked(examples):
    dropped = 0
    for number in range(50):
        _, plain = loss_of(examples, number=number)
        _, network = loss_of(examples, number=number, text_dropout=0.3)
        assert torch.equal(network.noisy, plain.noisy)
        gone = (network.text == 0).all(dim=(1, 2)) if network.text.dim() == 3 else None
        assert torch.equal(gone, (network.conditions["text_embeds"] == 0).all(dim=1))
        assert torch.equal(network.text[~gone], plain.text[~gone])
        dropped += gone.sum().item()
    assert dropped / 500 == pytest.approx(0.3, abs=0.07)


def test_a_flipped_image_is_shown_half_of_the_time(examples):
    pairs = [replace(e, latent_std=torch.zeros_like(e.latent_std)) for e in examples]
    pairs = [replace(e, mirror=replace(e, latent_mean=e.latent_mean + 100)) for e in pairs]
    flipped = 0
    for number in range(50):
        _, network = loss_of(pairs, number=number, distribution="beta")
        flipped += (network.noisy.mean(dim=(1, 2, 3)) > 5).sum().item()
    assert flipped / 500 == pytest.approx(0.5, abs=0.08)


def test_the_mirror_is_the_mirrored_picture_encoded():
    image = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1))

    def posterior(pixels):
        return pixels[..., ::8, ::8], pixels[..., ::8, ::8]

    plain = encode_image(image, torch.zeros(1), torch.zeros(1), QUICK, posterior)
    assert plain.mirror is None
    both = encode_image(image, torch.zeros(1), torch.zeros(1), with_options(flip=True), lambda pixels: (pixels, pixels))
    assert torch.equal(both.mirror.latent_mean, both.latent_mean.flip(-1))
    assert torch.equal(both.mirror.time_ids, both.time_ids)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(1000, 1000, (1024, 1024)), (1080, 1920, (768, 1344)), (1920, 1080, (1344, 768)), (300, 3000, (512, 2048))],
)
def test_an_image_trains_in_the_bucket_of_its_shape(height, width, expected):
    assert bucket_for(height, width, 1024) == expected


@pytest.mark.parametrize("resolution", [64, 96, 512, 1024])
def test_buckets_are_sizes_the_vae_takes_and_crop_little(resolution):
    rng = np.random.default_rng(3)
    for height, width in rng.integers(100, 3000, (200, 2)):
        bucket = bucket_for(height, width, resolution)
        assert all(side % 8 == 0 for side in bucket) and bucket[0] * bucket[1] <= resolution**2
        if resolution >= 512 and 0.5 < width / height < 2:
            lost = abs(math.log(bucket[1] / bucket[0]) - math.log(width / height))
            assert lost < 0.1


def test_a_wide_photo_is_not_cropped_beyond_its_bucket():
    wide = encode_image(
        torch.rand(64, 128, 3),
        torch.zeros(1),
        torch.zeros(1),
        with_options(aspect_ratio_buckets=True),
        lambda pixels: (pixels, pixels),
    )
    assert bucket_for(64, 128, 64) == (40, 88)
    assert wide.latent_mean.shape == (3, 40, 88)
    assert wide.time_ids.tolist() == [64, 128, 2, 0, 40, 88]


def test_only_images_of_one_size_share_a_batch():
    sizes = ["wide", "tall", "wide", "wide", "tall", "wide", "square"]
    settings = replace(QUICK, batch_size=2, gradient_accumulation=10)
    for step in islice(step_batches(sizes, settings), 20):
        assert sorted(index for batch in step for index in batch) == list(range(7))
        assert all(len({sizes[index] for index in batch}) == 1 for batch in step)
        assert sorted(len(batch) for batch in step) == [1, 2, 2, 2]


def test_class_images_of_one_size_are_drawn_alike_often():
    sizes = ["wide", "wide", "wide", "square"]
    drawn = [companions(sizes, 2, generator(QUICK, 2, number)) for number in range(2000)]
    assert all(len({sizes[index] for index in chosen}) == 1 for chosen in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=4) / 4000
    assert counts == pytest.approx([0.25] * 4, abs=0.03)


@pytest.mark.parametrize("words", ["", "  \n"])
def test_class_images_need_words(words):
    image = torch.zeros(64, 64, 3)
    Photos([image], ["a blue sks plush"], [], words)
    with pytest.raises(ValueError, match="class_prompt: it is empty, and there are class images"):
        Photos([image], ["a blue sks plush"], [image], words)


def test_prior_preservation_adds_the_loss_on_class_images(make_unet, examples):
    own, of_class = examples[:2], examples[2:4]

    def losses(weight, class_examples=of_class):
        settings = with_options(prior_weight=weight)
        trainer = Trainer(make_unet(), own, settings, CPU, class_examples)
        return trainer.advance(), [parameter.clone() for parameter in trainer.parameters]

    (alone, unchanged), (off, without), (on, trained) = losses(1.0, ()), losses(0.0), losses(1.0)
    assert off == pytest.approx(alone)
    assert all(torch.allclose(a, b) for a, b in zip(unchanged, without, strict=True))
    assert not all(torch.allclose(a, b, atol=1e-4) for a, b in zip(unchanged, trained, strict=True))

    rng = generator(QUICK, 2, 0, 0)
    (index,) = companions([0, 0], 1, rng)
    expected = NoiseLoss(make_unet(), QUICK, CPU)([of_class[index]], "uniform", rng).item()
    assert on == pytest.approx(alone + expected, rel=1e-4)


def test_schedules_follow_their_formulas():
    def factors(**options):
        settings = replace(with_options(**options), steps=10)
        return [learning_rate_factor(step, settings) for step in range(10)]

    assert factors() == [1.0] * 10
    assert factors(warmup_steps=3) == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 7)
    assert factors(lr_schedule="linear") == pytest.approx([1 - step / 10 for step in range(10)])
    assert factors(lr_schedule="cosine") == pytest.approx([math.cos(math.pi * s / 20) ** 2 for s in range(10)])
    both = factors(lr_schedule="linear", warmup_steps=2)
    assert both == pytest.approx([1 / 3, 2 / 3] + [1 - step / 8 for step in range(8)])
    assert factors(warmup_steps=50)[-1] == pytest.approx(10 / 51)


def test_the_schedule_reaches_the_optimizer(make_unet, examples):
    settings = with_options(lr_schedule="linear")
    trainer = Trainer(make_unet(), examples, settings, CPU)
    rates = []
    for _ in range(3):
        trainer.advance()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2, 1e-2 * 2 / 3, 1e-2 / 3])


def test_a_missing_optimizer_is_named_with_its_package(make_unet, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match=r"optimizer: got 'adamw_8bit', which needs .* bitsandbytes .*choose adamw"):
        make_optimizer([torch.nn.Parameter(torch.ones(1))], with_options(optimizer="adamw_8bit"))


def test_prodigy_needs_a_learning_rate_of_about_one():
    with pytest.raises(
        ValueError, match=r"learning rate \(learning_rate\): got 0.01, expected 1 with the optimizer prodigy"
    ):
        with_options(optimizer="prodigy")


@pytest.mark.parametrize(
    "option",
    [
        {"alpha": -1.0},
        {"optimizer": "sgd"},
        {"lr_schedule": "step"},
        {"warmup_steps": -1},
        {"min_snr_gamma": float("nan")},
        {"noise_offset": -0.1},
        {"text_dropout": 1.0},
        {"prior_weight": float("inf")},
    ],
)
def test_an_option_out_of_range_is_named(option):
    (name,) = option
    with pytest.raises(ValueError, match=rf"^[\w ()-]*\b{name}\b[\w ()-]*: got .*expected"):
        Options(**option)


def test_options_at_their_defaults_are_no_part_of_a_runs_recipe():
    assert "flip" not in QUICK.recipe()
    assert with_options(flip=True).recipe() == QUICK.recipe() | {"flip": True}


def test_the_defaults_leave_the_draws_of_the_report(examples):
    _, network = loss_of(examples[:3], "log_normal")
    rng = generator(QUICK, 1, 0)
    assert network.t.tolist() == sample("log_normal", 3, rng).tolist()
