"""Optimizers, and how the learning rate runs over the steps."""

import importlib
import math
from collections.abc import Sequence

import torch

from .settings import Settings

SHARE = "share_of_rate"
_PACKAGES = {"adamw_8bit": "bitsandbytes", "prodigy": "prodigyopt"}


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter], settings: Settings, word: Sequence[torch.nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The report's AdamW, or one that needs a package which the user has installed.

    `word`: the rows of an own word, a group of its own behind the others, without weight decay: they are to stay near
    the others of their table, not near zero. `share_of_rate` of a group is what the learning rate is multiplied by.

    Raises ValueError naming `optimizer` and the package if that is missing.
    """
    name = settings.options.optimizer
    common = {"lr": settings.learning_rate, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
    if word:
        # Prodigy finds one rate for all groups.
        share = 1.0 if name == "prodigy" else settings.options.word_rate / settings.learning_rate
        of_word = {"params": list(word), "weight_decay": 0.0, SHARE: share}
        parameters = [*([{"params": list(parameters)}] if parameters else []), of_word]
    if name == "adamw":
        try:
            return torch.optim.AdamW(parameters, **common, fused=True)
        except RuntimeError:  # some devices have no fused kernel; the plain one computes the same
            return torch.optim.AdamW(parameters, **common)
    try:
        package = importlib.import_module(_PACKAGES[name])
    except ImportError as error:
        raise ValueError(
            f"optimizer: got {name!r}, which needs the Python package {_PACKAGES[name]} ({error}). Install it into "
            "ComfyUI's Python, or choose adamw."
        ) from error
    if name == "prodigy":
        # The safeguard keeps a warm-up from raising Prodigy's estimate of the rate.
        return package.Prodigy(parameters, **common, safeguard_warmup=settings.options.warmup_steps > 0)
    return package.optim.AdamW8bit(parameters, **common)


def learning_rate_factor(step: int, settings: Settings) -> float:
    """The share of the learning rate that applies at `step`, counted from 0.

    It rises in a line over the warm-up steps, then stays (`constant`), or falls to 0 at the end of the run, in a line
    (`linear`) or in half a wave (`cosine`).
    """
    warmup = settings.options.warmup_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, settings.steps - warmup)
    if settings.options.lr_schedule == "linear":
        return 1.0 - done
    if settings.options.lr_schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0
