"""Sampling as ComfyUI's KSampler does it, to the bit."""

import math
from collections.abc import Callable

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from .sockets import Conditioning

Callback = Callable[[int, torch.Tensor, torch.Tensor, int], None]


def empty_latent(width: int, height: int, batch_size: int = 1) -> torch.Tensor:
    """Zeros (batch_size, 4, height/8, width/8)."""
    shape = (batch_size, 4, height // 8, width // 8)
    return torch.zeros(shape, device=comfy.model_management.intermediate_device())


def noise_for(latent: torch.Tensor, seed: int) -> torch.Tensor:
    """The noise that KSampler draws for this seed and batch."""
    # ComfyUI seeds torch's global generator for this, as every sampler node does.
    return comfy.sample.prepare_noise(latent, seed)


def step_sigmas(model: ModelPatcher, steps: int, sampler_name: str, scheduler: str) -> list[float]:
    """The noise levels that KSampler steps through, without the final 0; some schedulers give one more than `steps`."""
    sampler = comfy.samplers.KSampler(
        model, steps=steps, device=model.load_device, sampler=sampler_name, scheduler=scheduler, denoise=1.0
    )
    return sampler.sigmas[:-1].tolist()


def sample(
    model: ModelPatcher,
    positive: Conditioning,
    negative: Conditioning,
    noise: torch.Tensor,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    callback: Callback,
) -> torch.Tensor:
    """Denoise `noise` (B, 4, h, w) from pure noise to latents of the same shape.

    `callback(step, x0, x, total)` is called after each step and may raise to stop.
    """
    return comfy.sample.sample(
        model,
        noise,
        steps,
        cfg,
        sampler_name,
        scheduler,
        positive,
        negative,
        torch.zeros_like(noise),
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )


def as_batch(conditionings: list[Conditioning]) -> Conditioning:
    """One conditioning whose row i is `conditionings[i]`.

    Prompts longer than CLIP's 77 tokens take several of its windows. Rows are brought to a common length by
    repetition, as ComfyUI does between cond and uncond: a softmax over repeated keys is unchanged.
    """
    states = [conditioning[0][0] for conditioning in conditionings]
    common = math.lcm(*(state.shape[1] for state in states))
    text = torch.cat([state.repeat(1, common // state.shape[1], 1) for state in states])
    pooled = torch.cat([conditioning[0][1]["pooled_output"] for conditioning in conditionings])
    return [[text, {**conditionings[0][0][1], "pooled_output": pooled}]]
