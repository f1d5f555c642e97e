"""Sample pictures: from the UNet that trains, without a trace in the training."""

import pytest
import torch

from storybooth.tests.unit.training.conftest import CPU
from storybooth.training.examples import encode_image
from storybooth.training.sample_pictures import STEPS, draw_sample, fit_rgb, preview
from storybooth.training.settings import Settings
from storybooth.training.trainer import Trainer

SETTINGS = Settings(steps=4, gradient_accumulation=2, resolution=64, learning_rate=1e-2)


def sample(unet, example, settings=SETTINGS, on_step=lambda: False):
    return draw_sample(unet, example.text, example.pooled, settings, CPU, on_step)


def train(unet, examples, between):
    trainer = Trainer(unet, examples, SETTINGS, CPU)
    for _ in range(SETTINGS.steps):
        trainer.advance()
        between()
    return trainer.losses, [parameter.detach().clone() for parameter in trainer.parameters]


def test_training_is_the_same_with_and_without_samples(make_unet, examples):
    losses, parameters = train(make_unet(), examples, lambda: None)
    unet = make_unet()
    before = torch.get_rng_state()
    drawn = []
    again, sampled = train(unet, examples, lambda: drawn.append(sample(unet, examples[0])))
    assert again == losses
    assert all(torch.equal(one, other) for one, other in zip(sampled, parameters, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(drawn[0], drawn[-1]), "a sample shows what was learned in between"
    assert torch.equal(drawn[-1], sample(unet, examples[0])), "and comes from the same noise each time"


def test_a_sample_leaves_no_gradients_and_says_when_a_step_is_done(make_unet, examples):
    steps = []
    unet = make_unet()
    latent = sample(unet, examples[0], on_step=lambda: steps.append(1))
    assert latent.shape == (4, 8, 8)
    assert not latent.requires_grad and latent.isfinite().all()
    assert all(parameter.grad is None for parameter in unet.parameters())
    assert len(steps) == STEPS


def test_a_sample_can_be_given_up(make_unet, examples):
    asked = []
    assert sample(make_unet(), examples[0], on_step=lambda: asked.append(1) or len(asked) == 3) is None
    assert len(asked) == 3


def test_the_prompt_and_the_seed_make_the_picture(make_unet, examples):
    unet = make_unet()
    one = sample(unet, examples[0])
    assert not torch.equal(sample(unet, examples[1]), one)
    assert not torch.equal(sample(unet, examples[0], Settings(resolution=64, seed=7)), one)


@pytest.mark.parametrize("aspect_ratio_buckets", [False, True])
def test_previews_have_the_colours_of_the_photos(aspect_ratio_buckets):
    """With a VAE that mixes colours into its channels as no other does."""
    from storybooth.training.settings import Options

    mix = torch.tensor([[1.0, 2, 0], [0, -1, 1], [3, 0, -2], [0.5, 0.5, 0.5]])

    def posterior(pixels):
        small = torch.nn.functional.avg_pool2d(pixels, 8)
        mean = torch.einsum("lc,chw->lhw", mix, small) + torch.tensor([0.1, -0.2, 0.3, 0.0])[:, None, None]
        return mean, torch.ones_like(mean)

    settings = Settings(resolution=64, options=Options(aspect_ratio_buckets=aspect_ratio_buckets))
    photos = [torch.rand(80, 120, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    examples = [encode_image(photo, torch.zeros(1, 1), torch.zeros(1), settings, posterior) for photo in photos]
    rgb = fit_rgb(photos, examples)
    for colour in ([1.0, 0.5, 0.0], [0.2, 0.4, 0.9]):
        latent, _ = posterior(torch.tensor(colour)[:, None, None].expand(3, 64, 64) * 2 - 1)
        picture = preview(latent, rgb)
        assert picture.size == (8, 8)
        assert picture.getpixel((3, 3)) == pytest.approx([255 * share for share in colour], abs=3)
