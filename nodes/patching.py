"""Consistent self-attention on a ComfyUI MODEL.

`attn1_patch` is called with the input of every self-attention layer, before its projections, and may return a longer
context; wrappers around the sampling run and around each evaluation of the model tell it which step it is in. All are
closures: ComfyUI copies the options of a model when it clones it, and must not copy a bank with them.
"""

from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP

from ..consistency.bank import tokens_of
from ..consistency.phase import Phase
from ..consistency.schedule import Layer

KEY = "storybooth"
BYPASS = "storybooth_bypass"


class ShapedBy(tuple):
    """What a patch tells about itself (`shaped_by`): two with equal contents make the same pictures (see keys.py)."""

    __slots__ = ()


def with_phase(model: ModelPatcher, phase: Phase) -> ModelPatcher:
    """A clone of `model` whose sampling runs write or read a bank."""
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
                phase.start(sigmas[:-1].tolist(), seed)
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)
        finally:
            sampling = False
            phase.stop()

    def prepare_sampling(executor: Any, model: ModelPatcher, noise_shape: list[int], *args: Any, **kwargs: Any) -> Any:
        if not sampling:
            return executor(model, noise_shape, *args, **kwargs)
        network = model.model
        rows, _, height, width = noise_shape
        itemsize = (network.manual_cast_dtype or network.get_dtype()).itemsize
        needed = phase.memory_needed(2 * rows, tokens_of(height, width), itemsize)
        # ComfyUI estimates memory from this shape, in proportion to its batch; it serves for nothing else.
        computing = network.memory_required([2 * rows, *noise_shape[1:]])
        prepared = executor(model, [rows * (1 + needed / computing), *noise_shape[1:]], *args, **kwargs)
        if model.load_device.type == "cuda":
            phase.settle(_room(model, computing + needed))
        return prepared

    def predict_noise(
        executor: Any, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if sampling:
            phase.begin(float(timestep[0]))
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
        extended = phase.attend(layer, hidden_states, context, halves)
        # Other patches may give keys and values contexts of their own.
        same = value is context
        return hidden_states, extended, extended if same else phase.attend(layer, hidden_states, value, halves)

    def detach(model: ModelPatcher, unpatch_all: bool) -> None:
        if unpatch_all:  # otherwise a clone takes its place on the device
            phase.leave()

    for closure in (outer_sample, prepare_sampling, predict_noise, attn1, detach):
        closure.shaped_by = ShapedBy(phase.shaped_by)
    patched = model.clone()
    patched.set_model_attn1_patch(attn1)
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, outer_sample)
    patched.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, prepare_sampling)
    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, predict_noise)
    patched.add_callback_with_key(CallbacksMP.ON_DETACH, KEY, detach)
    return patched


def _room(model: ModelPatcher, computing: float) -> int:
    """Bytes that are free on the device of a loaded model beside its weights and what it computes with."""
    needed = max(computing, comfy.model_management.minimum_inference_memory())
    to_come = max(0, model.model_size() - model.loaded_size())
    return int(comfy.model_management.get_free_memory(model.load_device) - needed - to_come)


def without_bank(model: ModelPatcher) -> ModelPatcher:
    """A clone of `model` in which every bank is left alone: exactly plain self-attention."""
    plain = model.clone()
    plain.model_options["transformer_options"][BYPASS] = True
    return plain
