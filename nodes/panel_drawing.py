"""Panels, each drawn once: what was drawn in this server before from the same inputs is taken from the store."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy.utils import ProgressBar

from ..fingerprint import fingerprint
from .keys import conditioning_key, patches_key
from .patching import without_bank
from .sampling import Callback, as_batch, can_be_batch, empty_latent, noise_for, sample
from .sockets import Conditioning
from .store import PANELS
from .unet import network_of
from .weights import weights_of

ROW_BY_ROW = frozenset({
    "euler", "heun", "heunpp2", "dpm_2", "lms", "dpmpp_2m", "ddim", "uni_pc", "uni_pc_bh2", "ipndm", "ipndm_v", "deis",
    "res_multistep", "gradient_estimation",
})  # fmt: skip
"""Samplers that treat each row of a batch as if it were alone: no noise on the way, which depends on the rows drawn
together, and no step size that they share."""


@dataclass(frozen=True)
class Settings:
    """How every panel of a storyboard is sampled, in KSampler's words."""

    width: int
    height: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


@dataclass(frozen=True)
class Line:
    """What one panel is drawn from; `plain` leaves the bank alone."""

    positive: Conditioning
    seed: int
    plain: bool

    def joins(self, other: "Line") -> bool:
        """Whether both can be drawn in one batch, each as it would be alone."""
        conditionings = [self.positive, other.positive]
        return (self.seed, self.plain) == (other.seed, other.plain) and can_be_batch(conditionings)


class PanelSampling:
    """Draws latents with one model, one negative prompt and one set of settings, up to `at_once` in a batch."""

    def __init__(
        self,
        model: ModelPatcher,
        negative: Conditioning,
        settings: Settings,
        progress: ProgressBar,
        at_once: int = 1,
    ) -> None:
        self._negative = negative
        self._settings = settings
        self._progress = progress
        self._at_once = at_once if settings.sampler_name in ROW_BY_ROW else 1
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._models = {False: model, True: without_bank(model)}
        network = network_of(model)
        shared = network, conditioning_key(negative), settings
        self._keys = {plain: (*shared, patches_key(patched)) for plain, patched in self._models.items()}

    def latent(self, line: Line, to_come: Sequence[Line], steps_before: int) -> torch.Tensor:
        """The panel's latent (1, 4, h, w), drawn with those `to_come` that can share its batch.

        `steps_before` is where progress stands.
        """
        latent = PANELS.get(self._key(line))
        if latent is not None:
            return latent
        lines = {self._key(line): line}
        for other in to_come:
            if len(lines) == self._at_once:
                break
            if line.joins(other) and PANELS.get(self._key(other)) is None:
                lines[self._key(other)] = other
        positives = [each.positive for each in lines.values()]
        settings = self._settings
        noise = noise_for(empty_latent(settings.width, settings.height), line.seed)
        latents = sample(
            self._models[line.plain],
            as_batch(positives) if len(lines) > 1 else line.positive,
            self._negative,
            noise.repeat(len(lines), 1, 1, 1),
            line.seed,
            settings.steps,
            settings.cfg,
            settings.sampler_name,
            settings.scheduler,
            self._callback(steps_before, len(lines)),
        )
        for key, latent in zip(lines, latents.split(1), strict=True):
            PANELS.put(key, latent.clone(), latent.nbytes)
        return latents[:1]

    def _key(self, line: Line) -> Hashable:
        return (self._keys[line.plain], conditioning_key(line.positive), line.seed)

    def _callback(self, done: int, panels: int) -> Callback:
        """Shows a preview and moves the bar on, one for each panel's step; raises where the user cancels."""

        def callback(step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
            preview = self._previewer.decode_latent_to_preview_image("JPEG", x0) if self._previewer else None
            self._progress.update_absolute(done + panels * min(step + 1, self._settings.steps), preview=preview)

        return callback


class PanelDecoding:
    """Turns latents into pictures with one VAE."""

    def __init__(self, vae: VAE) -> None:
        self._vae = vae
        weights = weights_of(vae.patcher)
        self._key = fingerprint(weights[name].counted for name in sorted(weights))

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
