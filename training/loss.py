"""The loss of DreamBooth (Ruiz et al. 2023) on what SDXL predicts: noise, or v."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from ..text_states import join_states
from . import timesteps
from .examples import Example
from .own_word import OwnWord
from .precision import DTYPES
from .prediction import EPSILON, Prediction
from .settings import Settings


class NoiseLoss:
    """‖ε − ε_θ(z_t, t, c)‖² on SDXL's own noise schedule, the mean over one micro-batch, in fp32; ‖v − v_θ(z_t, t, c)‖²
    where the network predicts v, on the levels of its `prediction`.

    Where examples have weights (see `masks`), each latent pixel counts by its own. Captions that have an own `word` are
    read anew, by what it means at the time.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        settings: Settings,
        device: torch.device,
        prediction: Prediction = EPSILON,
        word: OwnWord | None = None,
    ) -> None:
        self._word = word
        self._unet = unet
        self._settings = settings
        self._device = device
        self._prediction = prediction
        self._schedule: DDPMScheduler = prediction.scheduler(DDPMScheduler)

    def __call__(self, examples: Sequence[Example], distribution: str, rng: np.random.Generator) -> torch.Tensor:
        """The loss on examples of one size, with timesteps from `distribution` and everything random from `rng`."""
        settings, options, device = self._settings, self._settings.options, self._device
        dtype = DTYPES[settings.precision]
        t = timesteps.sample(distribution, len(examples), rng, settings.mu, settings.sigma)
        t = torch.from_numpy(t).to(device)
        shape = (len(examples), *examples[0].latent_mean.shape)
        spread, noise = self._gaussian(shape, rng), self._gaussian(shape, rng)
        # Draws that only an option needs come last: switching it on changes none of the others.
        if options.noise_offset:
            noise = noise + options.noise_offset * self._gaussian((len(examples), shape[1], 1, 1), rng)
        examples = [e.mirror if e.mirror and rng.random() < 0.5 else e for e in examples]
        keep = torch.from_numpy(rng.random(len(examples)) >= options.text_dropout) if options.text_dropout else None

        mean, std = self._stack([e.latent_mean for e in examples]), self._stack([e.latent_std for e in examples])
        latent = mean + std * spread
        noisy = self._schedule.add_noise(latent, noise, t)
        target = noise if self._prediction.kind == "epsilon" else self._schedule.get_velocity(latent, noise, t)
        texts = [self._read(e) for e in examples]
        text = join_states([states[None] for states, _ in texts]).to(device, dtype)
        pooled = self._stack([pooled for _, pooled in texts]).to(dtype)
        if keep is not None:  # SDXL itself was trained with zeros in place of dropped text
            text, pooled = text * keep.to(device)[:, None, None], pooled * keep.to(device)[:, None]
        conditions = {"text_embeds": pooled, "time_ids": self._stack([e.time_ids for e in examples])}
        predicted = self._unet(noisy.to(dtype), t, encoder_hidden_states=text, added_cond_kwargs=conditions).sample
        squared = (predicted.float() - target).square()
        if examples[0].weights is not None:
            squared = squared * self._stack([e.weights for e in examples])[:, None]
        if not options.min_snr_gamma:
            return squared.mean()
        return (squared.mean(dim=(1, 2, 3)) * self._min_snr_weight(t)).mean()

    def _read(self, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
        """Text states (tokens, width) and pooled text (width,) of an example."""
        if self._word is None or example.caption not in self._word.captions:
            return example.text, example.pooled
        return self._word.read(example.caption)

    def _min_snr_weight(self, t: torch.Tensor) -> torch.Tensor:
        """min(SNR, γ) / SNR: what min-SNR weighting is for noise prediction (Hang et al. 2023, eq. 8); for v it is
        min(SNR, γ) / (SNR + 1), as the error in v is SNR + 1 times that in the picture."""
        alphas = self._schedule.alphas_cumprod.to(t.device)[t]
        snr = alphas / (1 - alphas)
        least = snr.clamp(max=self._settings.options.min_snr_gamma)
        return least / snr if self._prediction.kind == "epsilon" else least / (snr + 1)

    def _gaussian(self, shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(self._device)

    def _stack(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(tensors)).to(self._device)
