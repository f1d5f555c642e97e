"""Consistent self-attention on a ComfyUI MODEL.

`attn1_patch` is called with the input of every self-attention layer, before its projections, and may return a longer
context; wrappers around the sampling run and around each evaluation of the model tell it which step it is in and whose
prompts come.
"""

from collections.abc import Callable
from typing import Any

from comfy.hooks import EnumHookScope, HookGroup, TransformerOptionsHook
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP

from ...consistency.phase import Phase
from ..cache_keys import BYPASS
from ..words import WORDS
from .attached import Attached, Check, Size, Told

KEY = "storybooth"


def with_phase(
    model: ModelPatcher, phase: Phase, check: Check = None, told: Told = None, beside: str = WORDS
) -> ModelPatcher:
    """A clone of `model` whose sampling runs write or read a bank, beside those that it reads already.

    `check(model)` is called when sampling begins, `told(why)` where the phase looks for the subject and cannot see it.
    The words that it looks for are those that prompts carry under the key `beside`.
    """
    attached = Attached(phase, check, told, beside=beside)
    patched = model.clone()
    patched.set_model_attn1_patch(attached.attend)
    if phase.watches:
        patched.set_model_attn2_patch(attached.look)
    for kind, wrapper in attached.wrappers.items():
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    patched.add_callback_with_key(CallbacksMP.ON_DETACH, KEY, attached.leave)
    return patched


def hooks_for(
    phase: Phase, check: Check, told: Told = None, part: Callable[[Size], Size] = lambda size: size
) -> HookGroup:
    """ComfyUI's HOOKS by which only the conditionings that carry them read a bank.

    `check` and `told` are as for `with_phase`; `part` says how large the part of the picture is that they are set to.
    """
    attached = Attached(phase, check, told, hooked=True, part=part)
    # ComfyUI evaluates conditionings with different hooks apart. Wrappers of single conditionings it never calls, hence
    # the second hook, for all of them.
    shared = {kind: {KEY: [wrapper]} for kind, wrapper in attached.wrappers.items()}
    hooks = HookGroup()
    patches = {"attn1_patch": [attached.attend]} | ({"attn2_patch": [attached.look]} if phase.watches else {})
    hooks.add(_KeyframedHook({"patches": patches}, EnumHookScope.HookedOnly))
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
