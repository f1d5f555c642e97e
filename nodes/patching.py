"""Consistent self-attention on a ComfyUI MODEL.

`attn1_patch` is called with the input of every self-attention layer, before its projections, and may return a longer
context; wrappers around the sampling run and around each evaluation of the model tell it which step it is in. All are
closures: ComfyUI copies the options of a model when it clones it, and must not copy a bank with them.
"""

from collections.abc import Callable
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..consistency.reader import BankReader
from ..consistency.schedule import Layer
from ..consistency.writer import BankWriter

KEY = "storybooth"
BYPASS = "storybooth_bypass"


class ShapedBy(tuple):
    """What a patch tells about itself (`shaped_by`): two with equal contents make the same pictures (see keys.py)."""

    __slots__ = ()


def with_reader(model: ModelPatcher, reader: BankReader) -> ModelPatcher:
    """A clone of `model` that reads a bank in every sampling run."""

    def start(sigmas: list[float], seed: int | None) -> None:
        reader.start(reader.bank.recipe.seed if seed is None else seed)

    def attend(layer: Layer, hidden_states: torch.Tensor, context: torch.Tensor, halves: list[int]) -> torch.Tensor:
        return reader.attend(layer, context, halves)

    return _patched(model, start, reader.begin, attend, ShapedBy(reader.shaped_by))


def with_writer(model: ModelPatcher, writer: BankWriter) -> ModelPatcher:
    """A clone of `model` whose next sampling run fills a bank."""

    def start(sigmas: list[float], seed: int | None) -> None:
        writer.start(sigmas)

    return _patched(model, start, writer.begin, writer.attend, ShapedBy())


def without_bank(model: ModelPatcher) -> ModelPatcher:
    """A clone of `model` in which every bank is left alone: exactly plain self-attention."""
    plain = model.clone()
    plain.model_options["transformer_options"][BYPASS] = True
    return plain


def _patched(
    model: ModelPatcher,
    start: Callable[[list[float], int | None], None],
    begin: Callable[[float], None],
    attend: Callable[[Layer, torch.Tensor, torch.Tensor, list[int]], torch.Tensor],
    shaped_by: ShapedBy,
) -> ModelPatcher:
    sampling = False

    def outer_sample(
        executor: Any,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        nonlocal sampling
        options = executor.class_obj.model_options
        if options.get("multigpu_clones"):
            raise ValueError("model: an identity bank cannot be used with multi-GPU work units; remove that node.")
        sampling = not options["transformer_options"].get(BYPASS, False)
        try:
            if sampling:
                start(sigmas[:-1].tolist(), seed)
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)
        finally:
            sampling = False

    def predict_noise(
        executor: Any, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if sampling:
            begin(float(timestep[0]))
        return executor(x, timestep, *args, **kwargs)

    @torch.compiler.disable
    def attn1(
        hidden_states: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        name, block = options["block"]
        if not sampling or name != "output":
            return hidden_states, context, value
        layer = Layer(block, options["block_index"])
        halves = options["cond_or_uncond"]
        extended = attend(layer, hidden_states, context, halves)
        # Other patches may give keys and values contexts of their own.
        same = value is context
        return hidden_states, extended, extended if same else attend(layer, hidden_states, value, halves)

    for closure in (outer_sample, predict_noise, attn1):
        closure.shaped_by = shaped_by
    patched = model.clone()
    patched.set_model_attn1_patch(attn1)
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, outer_sample)
    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, predict_noise)
    return patched
