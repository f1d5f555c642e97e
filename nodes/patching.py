"""Consistent self-attention on a ComfyUI MODEL.

`attn1_patch` is called with the input of every self-attention layer, before its projections, and may return a longer
context; wrappers around the sampling run and around each evaluation of the model tell it which step it is in and whose
prompts come. All are closures: ComfyUI copies the options of a model when it clones it, and must not copy a bank with
them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy.hooks import EnumHookScope, HookGroup, TransformerOptionsHook
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP

from ..consistency.bank import tokens_of
from ..consistency.phase import Phase
from ..consistency.schedule import COND, UNCOND, Layer
from .checks import require_one_gpu, require_untiled, require_whole
from .halves import halves_of_call, halves_of_prompts
from .residents import RESIDENTS
from .weights import is_dynamic

KEY = "storybooth"
BYPASS = "storybooth_bypass"


class ShapedBy(tuple):
    """What a patch tells about itself (`shaped_by`): two with equal contents make the same pictures (see keys.py)."""

    __slots__ = ()


def with_phase(model: ModelPatcher, phase: Phase) -> ModelPatcher:
    """A clone of `model` whose sampling runs write or read a bank, beside those that it reads already."""
    closures = _closures(phase)
    patched = model.clone()
    patched.set_model_attn1_patch(closures.attn1)
    for kind, wrapper in closures.wrappers.items():
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    patched.add_callback_with_key(CallbacksMP.ON_DETACH, KEY, closures.detach)
    return patched


def hooks_for(phase: Phase, check: Callable[[ModelPatcher], None]) -> HookGroup:
    """ComfyUI's HOOKS by which only the conditionings that carry them read a bank.

    `check(model)` is called when sampling begins, and may raise.
    """
    closures = _closures(phase, check)
    # ComfyUI evaluates conditionings with different hooks apart. Wrappers of single conditionings it never calls, hence
    # the second hook, for all of them.
    shared = {kind: {KEY: [wrapper]} for kind, wrapper in closures.wrappers.items()}
    hooks = HookGroup()
    hooks.add(_KeyframedHook({"patches": {"attn1_patch": [closures.attn1]}}, EnumHookScope.HookedOnly))
    hooks.add(TransformerOptionsHook({"wrappers": shared}, EnumHookScope.AllConditioning))
    return hooks


class _KeyframedHook(TransformerOptionsHook):
    """Off where the keyframes of Set Hook Keyframes say strength 0, else on."""

    def on_apply_hooks(self, model: ModelPatcher, transformer_options: dict[str, Any]) -> None:
        if self.strength:
            super().on_apply_hooks(model, transformer_options)


def without_bank(model: ModelPatcher) -> ModelPatcher:
    """A clone of `model` in which every bank is left alone: exactly plain self-attention."""
    plain = model.clone()
    plain.model_options["transformer_options"][BYPASS] = True
    return plain


@dataclass(frozen=True)
class _Closures:
    """Through which ComfyUI runs a phase: the patch of self-attention, wrappers by their kind, a callback."""

    attn1: Callable[..., Any]
    wrappers: dict[str, Callable[..., Any]]
    detach: Callable[..., None]


def _closures(phase: Phase, check: Callable[[ModelPatcher], None] | None = None) -> _Closures:
    sampling = False
    prompts: dict[Any, int] = {}
    halves: Sequence[int] = (COND, UNCOND)

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
        nonlocal sampling, prompts, halves
        guider = executor.class_obj
        options = guider.model_options
        sampling, entered = not options["transformer_options"].get(BYPASS, False), False
        try:
            if sampling:
                RESIDENTS.enter(phase)
                entered = True
                require_one_gpu(guider.model_patcher)
                require_untiled(options, phase.writes)
                if check:
                    check(guider.model_patcher)
                prompts, halves = halves_of_prompts(guider.conds), (COND, UNCOND)
                phase.start(sigmas[:-1].tolist(), seed)
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)
        finally:
            sampling = False
            phase.stop()
            if entered:
                RESIDENTS.end(phase, is_dynamic(guider.model_patcher))

    def prepare_sampling(executor: Any, model: ModelPatcher, noise_shape: list[int], *args: Any, **kwargs: Any) -> Any:
        if not sampling:
            return executor(model, noise_shape, *args, **kwargs)
        network = model.model
        rows, _, height, width = noise_shape
        itemsize = (network.manual_cast_dtype or network.get_dtype()).itemsize
        needed = phase.memory_needed(2 * rows, tokens_of(height, width), itemsize)
        # ComfyUI estimates memory from this shape, in proportion to its batch; it serves for nothing else.
        computing = network.memory_required([2 * rows, *noise_shape[1:]])
        RESIDENTS.leave_to_others()
        prepared = executor(model, [rows * (1 + needed / computing), *noise_shape[1:]], *args, **kwargs)
        # Hooks are not told when a model leaves its device, and so leave nothing there themselves.
        if model.load_device.type in phase.streamed and not check:
            RESIDENTS.settle(phase, _room(model, computing + needed))
        return prepared

    def predict_noise(
        executor: Any, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if sampling:
            phase.begin(float(timestep[0]))
        return executor(x, timestep, *args, **kwargs)

    def calc_cond_batch(executor: Any, model: Any, conds: list[Any], *args: Any) -> list[torch.Tensor]:
        nonlocal halves
        if sampling and phase.writes:
            require_whole(conds)
        halves = halves_of_call(conds, prompts)
        return executor(model, conds, *args)

    @torch.compiler.disable
    def attn1(
        hidden_states: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        name, block = options["block"]
        if not sampling or name != "output":
            return hidden_states, context, value
        layer = Layer(block, options["block_index"])
        chunks = [halves[index] for index in options["cond_or_uncond"]]
        extended = phase.attend(layer, hidden_states, context, chunks)
        # Other patches may give keys and values contexts of their own.
        same = value is context
        return hidden_states, extended, extended if same else phase.attend(layer, hidden_states, value, chunks)

    def detach(model: ModelPatcher, unpatch_all: bool) -> None:
        RESIDENTS.detached(unpatch_all)

    wrappers = {
        WrappersMP.OUTER_SAMPLE: outer_sample,
        WrappersMP.PREPARE_SAMPLING: prepare_sampling,
        WrappersMP.PREDICT_NOISE: predict_noise,
        WrappersMP.CALC_COND_BATCH: calc_cond_batch,
    }
    for closure in (attn1, *wrappers.values(), detach):
        closure.shaped_by = ShapedBy(phase.shaped_by)
    return _Closures(attn1, wrappers, detach)


def _room(model: ModelPatcher, computing: float) -> int:
    """Bytes that are free on the device of a loaded model beside its weights and what it computes with."""
    needed = max(computing, comfy.model_management.minimum_inference_memory())
    to_come = max(0, model.model_size() - model.loaded_size())
    return int(comfy.model_management.get_free_memory(model.load_device) - needed - to_come)
