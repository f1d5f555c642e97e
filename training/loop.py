"""The training loop: DreamBooth on SDXL's noise prediction (Ruiz et al. 2023; the StoryBooth report's settings)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from . import timesteps
from .lora import lora_parameters
from .settings import Settings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
MAX_GRADIENT_NORM = 1.0
_ORDER, _DRAWS = 0, 1


@dataclass(frozen=True)
class Example:
    """One captioned image, encoded.

    `latent_mean` and `latent_std` (4, h, w): the VAE's posterior, times its scaling factor. `text` (tokens, width):
    both text encoders' penultimate states; `pooled` (width,). `time_ids` (6,): SDXL's micro-conditioning in pixels.
    """

    latent_mean: torch.Tensor
    latent_std: torch.Tensor
    text: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor


def train(
    unet: UNet2DConditionModel, examples: Sequence[Example], settings: Settings, device: torch.device
) -> Iterator[float]:
    """Train the adapters of `unet`, yielding the mean loss of each optimizer step as soon as it is done.

    Plain fp32 MSE on the noise; AdamW; gradients accumulated over micro-batches, divided by
    `settings.gradient_accumulation` (also where the data ends early, as in the report's run) and clipped to norm 1.
    Every step draws from random numbers of its own, a function of (seed, step): no global random state is touched,
    and a later step can be computed without the earlier draws.

    Raises FloatingPointError when the loss is no longer finite.
    """
    parameters = lora_parameters(unet)
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2
    )
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    schedule = DDPMScheduler(
        num_train_timesteps=timesteps.TRAIN_TIMESTEPS,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="epsilon",
    )
    for step, batches in zip(range(settings.steps), step_batches(len(examples), settings), strict=False):
        rng = np.random.default_rng([settings.seed, _DRAWS, step])
        losses = []
        for indices in batches:
            loss = _loss(unet, [examples[i] for i in indices], settings, schedule, rng, device)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"the loss became {losses[-1]} at step {step + 1}, so training stopped. Lower learning_rate, or "
                    f"choose another precision than {settings.precision} (bf16 and fp32 overflow later than fp16)."
                )
            scaler.scale(loss / settings.gradient_accumulation).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        yield sum(losses) / len(losses)


def step_batches(examples: int, settings: Settings) -> Iterator[list[np.ndarray]]:
    """The example indices of each optimizer step, without end: a list of micro-batches each.

    Every pass over the data is shuffled anew. A step never reaches past the end of the data: ten images with batch
    size 1 and accumulation 4 give steps of 4, 4 and 2 micro-batches.
    """
    size, accumulation = settings.batch_size, settings.gradient_accumulation
    for epoch in count():
        order = np.random.default_rng([settings.seed, _ORDER, epoch]).permutation(examples)
        batches = [order[start : start + size] for start in range(0, examples, size)]
        for start in range(0, len(batches), accumulation):
            yield batches[start : start + accumulation]


def _loss(
    unet: UNet2DConditionModel,
    examples: Sequence[Example],
    settings: Settings,
    schedule: DDPMScheduler,
    rng: np.random.Generator,
    device: torch.device,
) -> torch.Tensor:
    """‖ε − ε_θ(z_t, t, c)‖², the mean over one micro-batch, in fp32."""
    dtype = DTYPES[settings.precision]
    mean = torch.stack([example.latent_mean for example in examples]).to(device)
    std = torch.stack([example.latent_std for example in examples]).to(device)
    time_ids = torch.stack([example.time_ids for example in examples]).to(device)
    pooled = torch.stack([example.pooled for example in examples]).to(device, dtype)
    text = _stack_text([example.text for example in examples]).to(device, dtype)

    def gaussian() -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32)).to(device)

    t = timesteps.sample(settings.timestep_sampling, len(examples), rng, settings.mu, settings.sigma)
    t = torch.from_numpy(t).to(device)
    latents = mean + std * gaussian()
    noise = gaussian()
    noisy = schedule.add_noise(latents, noise, t)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        conditions = {"text_embeds": pooled, "time_ids": time_ids}
        prediction = unet(noisy.to(dtype), t, encoder_hidden_states=text, added_cond_kwargs=conditions).sample
    return torch.nn.functional.mse_loss(prediction.float(), noise)


def _stack_text(texts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack captions that may differ in their number of tokens. Repeating all tokens alike changes no attention."""
    length = math.lcm(*(text.shape[0] for text in texts))
    return torch.stack([text.repeat(length // text.shape[0], 1) for text in texts])
