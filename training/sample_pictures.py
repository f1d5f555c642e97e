"""Sample pictures during training: a few DDIM steps of the very UNet that trains, and a preview in place of the VAE."""

from collections.abc import Callable, Sequence

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image

from ..pixels import to_pil
from .batches import SAMPLE, generator
from .examples import Example
from .images import prepare
from .precision import DTYPES
from .prediction import EPSILON, Prediction
from .settings import Settings

STEPS = 20
GUIDANCE = 5.0

RgbMap = torch.Tensor
"""(5, 3): what turns a pixel's four latent channels and 1 into red, green and blue in [0, 1]."""


@torch.no_grad()
def draw_sample(
    unet: UNet2DConditionModel,
    text: torch.Tensor,
    pooled: torch.Tensor,
    settings: Settings,
    device: torch.device,
    on_step: Callable[[], bool],
    prediction: Prediction = EPSILON,
) -> torch.Tensor | None:
    """Draw a latent (4, h, w) on the CPU from text states (tokens, width) and `pooled` (width,), at the resolution of
    the training; `prediction` is what the UNet answers. `on_step` is called after each step and returns True to give
    up: there is no latent then.

    One picture passes through the UNet at a time and no gradients are kept, so this fits where a training step does. It
    draws from a stream of its own and changes nothing that training remembers; every sample of a run starts from the
    same noise, so that they can be compared. The negative prompt is zeros, as in SDXL's own pipeline for none.
    """
    dtype, size = DTYPES[settings.precision], settings.resolution
    # From pure noise, which with zero terminal SNR the last level alone is.
    spacing = "trailing" if prediction.zero_terminal_snr else "leading"
    how = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": spacing}
    schedule: DDIMScheduler = prediction.scheduler(DDIMScheduler, **how)
    schedule.set_timesteps(STEPS, device)
    noise = generator(settings, SAMPLE).standard_normal((1, 4, size // 8, size // 8), "float32")
    latent = torch.from_numpy(noise).to(device)
    positive = (text[None].to(device, dtype), pooled[None].to(device, dtype))
    negative = tuple(torch.zeros_like(states) for states in positive)
    time_ids = torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32, device=device)

    def predict(states: torch.Tensor, pooled: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        conditions = {"text_embeds": pooled, "time_ids": time_ids}
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return unet(latent.to(dtype), t, encoder_hidden_states=states, added_cond_kwargs=conditions).sample.float()

    for t in schedule.timesteps:
        without = predict(*negative, t)
        answer = without + GUIDANCE * (predict(*positive, t) - without)
        latent = schedule.step(answer, t, latent).prev_sample
        if on_step():
            return None
    return latent[0].cpu()


def fit_rgb(photos: Sequence[torch.Tensor], examples: Sequence[Example]) -> RgbMap:
    """How latents become colours, fitted (least squares) to photos (height, width, 3) in [0, 1] and their encodings.

    It suits whatever VAE encoded them, and previews need no memory at all.
    """
    latents, colours = [], []
    for photo, example in zip(photos, examples, strict=True):
        mean = example.latent_mean.float()
        height, width = mean.shape[1:]
        pixels = prepare(photo, (8 * height, 8 * width)).pixels[None]
        small = torch.nn.functional.interpolate(pixels, (height, width), mode="area")[0]
        latents.append(_with_one(mean))
        colours.append((small.flatten(1).T + 1) / 2)
    return torch.linalg.lstsq(torch.cat(latents), torch.cat(colours)).solution


def preview(latent: torch.Tensor, rgb: RgbMap) -> Image.Image:
    """A latent (4, h, w) as a picture of h by w pixels."""
    return to_pil((_with_one(latent) @ rgb).reshape(*latent.shape[1:], 3))


def _with_one(latent: torch.Tensor) -> torch.Tensor:
    flat = latent.flatten(1).T
    return torch.cat([flat, torch.ones_like(flat[:, :1])], 1)
