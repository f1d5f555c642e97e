"""Panels, each drawn once: what was drawn in this server before from the same inputs is taken from the store."""

from dataclasses import dataclass

import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy.utils import ProgressBar

from ..fingerprint import fingerprint
from .keys import conditioning_key, patches_key
from .patching import without_bank
from .sampling import Callback, empty_latent, noise_for, sample
from .sockets import Conditioning
from .store import PANELS
from .unet import network_of


@dataclass(frozen=True)
class Settings:
    """How every panel of a storyboard is sampled, in KSampler's words."""

    width: int
    height: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


class PanelSampling:
    """Draws latents with one model, one negative prompt and one set of settings."""

    def __init__(self, model: ModelPatcher, negative: Conditioning, settings: Settings, progress: ProgressBar) -> None:
        self._negative = negative
        self._settings = settings
        self._progress = progress
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._models = {False: model, True: without_bank(model)}
        network = network_of(model)
        shared = network, conditioning_key(negative), settings
        self._keys = {plain: (*shared, patches_key(patched)) for plain, patched in self._models.items()}

    def latent(self, positive: Conditioning, seed: int, plain: bool, steps_before: int) -> torch.Tensor:
        """The panel's latent (1, 4, h, w); `plain` leaves the bank alone, `steps_before` is where progress stands."""
        key = (self._keys[plain], conditioning_key(positive), seed)
        latent = PANELS.get(key)
        if latent is None:
            settings = self._settings
            latent = sample(
                self._models[plain],
                positive,
                self._negative,
                noise_for(empty_latent(settings.width, settings.height), seed),
                seed,
                settings.steps,
                settings.cfg,
                settings.sampler_name,
                settings.scheduler,
                self._callback(steps_before),
            )
            PANELS.put(key, latent, latent.nbytes)
        return latent

    def _callback(self, done: int) -> Callback:
        """Shows a preview and moves the bar on, one for each step; raises where the user cancels."""

        def callback(step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
            preview = self._previewer.decode_latent_to_preview_image("JPEG", x0) if self._previewer else None
            self._progress.update_absolute(done + min(step + 1, self._settings.steps), preview=preview)

        return callback


class PanelDecoding:
    """Turns latents into pictures with one VAE."""

    def __init__(self, vae: VAE) -> None:
        self._vae = vae
        self._key = fingerprint(vae.get_sd().values())

    def image(self, latent: torch.Tensor) -> torch.Tensor:
        """Latent (1, 4, h, w) -> image (1, height, width, 3) in 0..1. ValueError where the VAE returns NaN."""
        key = (fingerprint([latent], samples=None), self._key)
        image = PANELS.get(key)
        if image is None:
            image = self._vae.decode(latent)
            if torch.isnan(image).any():
                raise ValueError(
                    "vae: it returned NaN, so the picture would be black. SDXL's own VAE overflows in fp16: start "
                    "ComfyUI with --bf16-vae or --fp32-vae, or load sdxl-vae-fp16-fix with Load VAE."
                )
            PANELS.put(key, image, image.nbytes)
        return image
