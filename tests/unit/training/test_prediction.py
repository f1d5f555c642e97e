"""Networks that predict v: their loss against its formula in float64, noise levels, samples, the command line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from PIL import Image

from storybooth.tests.unit.training.conftest import CPU
from storybooth.tests.unit.training.small_sdxl import save_pipeline
from storybooth.training.arguments import read_job
from storybooth.training.batches import generator
from storybooth.training.command_line import Stop, run
from storybooth.training.loss import NoiseLoss
from storybooth.training.prediction import EPSILON, Prediction
from storybooth.training.sample_pictures import draw_sample
from storybooth.training.sdxl_files import CheckpointFile
from storybooth.training.settings import Options, Settings
from storybooth.training.timesteps import NOISE_SCHEDULE, noise_levels
from storybooth.training.trainer import Trainer

SETTINGS = Settings(steps=2, gradient_accumulation=1, resolution=64, learning_rate=1e-2)
V, ZERO = Prediction("v_prediction"), Prediction("v_prediction", True)


def kept_by_hand(zero: bool) -> np.ndarray:
    """ᾱ (1000,) in float64; with `zero` by Lin et al.'s algorithm 1, written out once more."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    roots = np.sqrt(np.cumprod(1 - betas))
    if zero:
        first, last = roots[0], roots[-1]
        roots = (roots - last) * first / (first - last)
    return roots**2


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
@pytest.mark.parametrize("number", range(3))
def test_the_loss_is_the_error_in_v(make_unet, examples, zero, gamma, number):
    settings = replace(SETTINGS, options=Options(min_snr_gamma=gamma))
    unet, asked = make_unet(), {}

    def remember(module, inputs, output):
        asked.update(noisy=inputs[0], t=inputs[1], answer=output.sample)

    unet.register_forward_hook(remember)
    loss = NoiseLoss(unet, settings, CPU, ZERO if zero else V)(
        examples[:2], "log_normal", generator(settings, 1, number)
    ).item()

    rng = generator(settings, 1, number)
    x = np.exp(-0.3 + 1.6 * rng.standard_normal(2))
    t = np.floor(x / (1 + x) * 999).astype(int)
    assert t.tolist() == asked["t"].tolist()
    spread, noise = (rng.standard_normal((2, 4, 8, 8), dtype=np.float32).astype(np.float64) for _ in range(2))
    expected = 0.0
    for index in range(2):
        kept = kept_by_hand(zero)[t[index]]
        example = examples[index]
        latent = example.latent_mean.double().numpy() + example.latent_std.double().numpy() * spread[index]
        noisy = np.sqrt(kept) * latent + np.sqrt(1 - kept) * noise[index]
        assert np.allclose(asked["noisy"][index].numpy(), noisy, atol=1e-5)
        v = np.sqrt(kept) * noise[index] - np.sqrt(1 - kept) * latent
        snr = kept / (1 - kept)
        weight = min(snr, gamma) / (snr + 1) if gamma else 1.0
        expected += weight * ((asked["answer"][index].detach().double().numpy() - v) ** 2).mean() / 2
    assert loss == pytest.approx(expected, rel=2e-5)


def test_noise_levels_end_where_comfyui_ends_them():
    plain, zero = noise_levels(), noise_levels(zero_terminal_snr=True)
    assert zero[0] == pytest.approx(plain[0]) and plain[-1] == pytest.approx(14.61, abs=0.01)
    assert zero[-1] == pytest.approx(4518.7, abs=0.5) and (np.diff(zero) > 0).all()
    theirs = torch.cumprod(1 - rescale_zero_terminal_snr(DDPMScheduler(**NOISE_SCHEDULE).betas), 0)
    np.testing.assert_allclose(1 / (1 + zero[:990] ** 2), theirs[:990].numpy(), rtol=1e-3)
    np.testing.assert_allclose(1 / (1 + zero[:-1] ** 2), kept_by_hand(True)[:-1], rtol=1e-9)


def test_the_usual_kind_is_as_it_was(make_unet, examples):
    assert EPSILON.recipe() == {}
    assert torch.equal(EPSILON.scheduler(DDPMScheduler).alphas_cumprod, DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod)
    plain, told = (Trainer(make_unet(), examples, SETTINGS, CPU, (), None, *kind) for kind in ((), (EPSILON,)))
    assert plain.advance() == told.advance() != Trainer(make_unet(), examples, SETTINGS, CPU, (), None, V).advance()
    with pytest.raises(ValueError, match="cannot have zero terminal SNR"):
        Prediction("epsilon", True)


@pytest.mark.parametrize("prediction", [EPSILON, V, ZERO])
def test_samples_are_drawn_as_the_network_answers(examples, prediction):
    """A network that knows one picture and nothing else draws that picture."""
    picture = examples[0].latent_mean
    kept = prediction.scheduler(DDPMScheduler).alphas_cumprod
    seen = []

    class Knows(torch.nn.Module):
        def forward(self, noisy, t, encoder_hidden_states, added_cond_kwargs):
            alpha = kept[t]
            noise = (noisy - alpha.sqrt() * picture) / (1 - alpha).sqrt()
            v = alpha.sqrt() * noise - (1 - alpha).sqrt() * picture
            self.sample = noise if prediction.kind == "epsilon" else v
            seen.append(int(t))
            return self

    drawn = draw_sample(Knows(), examples[0].text, examples[0].pooled, SETTINGS, CPU, lambda: False, prediction)
    assert (drawn - picture).abs().max() < 0.25  # the last level has noise of 0.03 beside it
    assert (seen[0] == 999) == prediction.zero_terminal_snr


@pytest.mark.parametrize(
    ("keys", "expected"), [((), EPSILON), (("v_pred",), V), (("v_pred", "ztsnr"), ZERO), (("edm_mean",), "EDM")]
)
def test_a_checkpoint_file_says_what_it_predicts(tmp_path, keys, expected):
    safetensors.torch.save_file(
        {"x": torch.zeros(1), **{key: torch.zeros(0) for key in keys}}, tmp_path / "x.safetensors"
    )
    if isinstance(expected, Prediction):
        assert CheckpointFile(tmp_path / "x.safetensors").prediction == expected
    else:
        with pytest.raises(ValueError, match=f"model: got one of prediction type {expected}, expected epsilon"):
            CheckpointFile(tmp_path / "x.safetensors")


def test_the_command_line_trains_v_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pipeline(Path("sdxl"))
    Path("photos").mkdir()
    Image.linear_gradient("L").convert("RGB").resize((64, 64)).save("photos/0.png")
    words = ["--model", "sdxl", "--images", "photos", "--steps", "2", "--gradient_accumulation", "1"]
    words += ["--resolution", "64", "--learning_rate", "1e-2", "--lora_name"]

    def told(name, stop=None):
        with safetensors.safe_open(run(*read_job([*words, name]), stop or Stop()), "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118

    _, plain = told("plain")
    scheduler = Path("sdxl/scheduler/scheduler_config.json")
    config = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps(config | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}))
    whole, metadata = told("v")
    recipe = json.loads(metadata["storybooth_recipe"])
    assert recipe["prediction"] == "v_prediction, zero terminal SNR" and metadata["modelspec.prediction_type"] == "v"
    assert "prediction" not in json.loads(plain["storybooth_recipe"]) and "modelspec.prediction_type" not in plain
    for folder in ("loras", "states"):
        shutil.rmtree(folder)
    stop = Stop()
    stop.between_steps()
    stop()
    with pytest.raises(KeyboardInterrupt):
        told("v", stop)
    again, _ = told("v")
    assert all(torch.equal(again[name], whole[name]) for name in whole)
