"""Sampling as ComfyUI's KSampler does it, to the bit."""

from collections.abc import Callable

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from ..text_states import common_tokens, join_states
from .sockets import Conditioning
from .words import WORDS, joined_words

Callback = Callable[[int, torch.Tensor, torch.Tensor, int], None]

COMMON_TOKENS = 77 * 60
"""A length that all prompts of up to six of CLIP's windows can be brought to."""


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

    `callback(step, x0, x, total)` is called after each step and may raise to stop. ValueError, naming `model`, where
    the result is not finite.
    """
    latents = comfy.sample.sample(
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
        # Samplers that draw noise on the way seed it with one more, and the largest seed has no next one.
        seed=min(seed, 2**64 - 2),
    )
    if not latents.isfinite().all():
        raise ValueError(
            "model: it answered with numbers that are not finite (NaN). Likely causes: a LoRA that was spoiled by too "
            "high a learning rate, a weight such as (word:1e20) in the script, a very high cfg, or a model that needs "
            "more than fp16 (start ComfyUI with --bf16-unet or --fp32-unet)."
        )
    return latents


def as_batch(conditionings: list[Conditioning]) -> Conditioning:
    """One conditioning whose row i is `conditionings[i]`.

    ValueError, naming `storyboard`, where a prompt changes during sampling or carries hooks, which would give the
    bank several networks, and where prompts of too different lengths have no common one that is reasonable.
    """
    if not all(_is_simple(conditioning) for conditioning in conditionings):
        raise ValueError(
            "storyboard: its CLIP carries hooks or a schedule, so that prompts come with changes of the model, but a "
            "bank is written by one model. Wire a CLIP without Set CLIP Hooks into Storyboard, and load LoRAs with "
            "Load LoRA."
        )
    states = [conditioning[0][0] for conditioning in conditionings]
    lengths = [state.shape[1] for state in states]
    if not _have_common_length(states):
        raise ValueError(
            f"storyboard: its [id] lines have prompts of {', '.join(map(str, lengths))} tokens, which have no common "
            f"length below {COMMON_TOKENS}. Shorten them to less than 300 words each, or make them equally long."
        )
    pooled = torch.cat([conditioning[0][1]["pooled_output"] for conditioning in conditionings])
    beside = {key: value for key, value in conditionings[0][0][1].items() if key != WORDS}
    return [[join_states(states), {**beside, "pooled_output": pooled, **joined_words(conditionings)}]]


def can_be_batch(conditionings: list[Conditioning]) -> bool:
    """Whether `as_batch` takes these."""
    simple = all(_is_simple(conditioning) for conditioning in conditionings)
    return simple and _have_common_length([conditioning[0][0] for conditioning in conditionings])


def _is_simple(conditioning: Conditioning) -> bool:
    return len(conditioning) == 1 and "hooks" not in conditioning[0][1]


def _have_common_length(states: list[torch.Tensor]) -> bool:
    return common_tokens(states) <= max(*(state.shape[1] for state in states), COMMON_TOKENS)
