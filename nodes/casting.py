"""The characters of a cast on a MODEL: each drawn with the LoRA that it brings, alone or in its part of a picture.

A picture of one character is drawn by a clone of the model with its LoRA. In a picture of several each prompt carries
its LoRA as ComfyUI's hooks, of which ComfyUI applies one character's at a time.
"""

import uuid
from typing import Any

import comfy.lora
import comfy.lora_convert
from comfy.hooks import EnumHookScope, EnumWeightTarget, HookGroup, TransformerOptionsHook, WeightHook
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from .model import network_of
from .sockets import Character, LoraFile
from .tlora import KEY, MaskedLora, tloras_of, with_tlora

Patches = dict[str, list[tuple]]
"""ComfyUI's patches of weights by their keys: (strength, adapter, strength of the weight, offset, function)."""


def as_drawn(model: ModelPatcher, character: Character) -> ModelPatcher:
    """`model` as it draws `character`: with the LoRA that it brings beside what it carries; itself where that is none.

    ValueError, naming the character, where its LoRA or its own model does not belong to this model.
    """
    if character.lora is not None:
        return _with_file(model, character.lora, character.name)
    if character.model is None:
        return model
    if network_of(character.model)[0] != network_of(model)[0]:
        raise ValueError(
            f"cast: the model of {character.name} comes from another checkpoint than the one that draws the story. "
            "Wire the same checkpoint into both, or give the character its LoRA by name."
        )
    patches, masked = _own(model, character.model)
    if not patches and not masked:
        return model
    drawn = model.clone()
    for key, added in patches.items():
        drawn.patches[key] = [*drawn.patches.get(key, []), *added]
    drawn.patches_uuid = uuid.uuid4()
    for lora in masked:
        for kind, wrapper in lora.wrappers.items():
            drawn.add_wrapper_with_key(kind, KEY, wrapper)
    return drawn


def hooks_between(model: ModelPatcher, drawn: ModelPatcher) -> HookGroup:
    """ComfyUI's HOOKS by which single prompts are drawn as `drawn`, made of `model` by `as_drawn`, draws them."""
    patches, masked = _own(model, drawn)
    hooks = HookGroup()
    if patches:
        hooks.add(_PatchesHook(patches))
    for lora in masked:
        wrappers = {kind: {KEY: [wrapper]} for kind, wrapper in lora.wrappers.items()}
        own = {WrappersMP.APPLY_MODEL: wrappers.pop(WrappersMP.APPLY_MODEL)}
        hooks.add(TransformerOptionsHook({"wrappers": own}, EnumHookScope.HookedOnly))
        hooks.add(TransformerOptionsHook({"wrappers": wrappers}, EnumHookScope.AllConditioning))
    return hooks


class _PatchesHook(WeightHook):
    """Patches of weights as they are, for the prompts that carry it."""

    def __init__(self, patches: Patches | None = None) -> None:
        super().__init__()
        self.need_weight_init = False
        self._patches = patches or {}

    def clone(self) -> "_PatchesHook":
        """As ComfyUI clones hooks: another object that counts as the same."""
        cloned = super().clone()
        cloned._patches = self._patches
        return cloned

    def add_hook_patches(
        self, model: ModelPatcher, model_options: dict[str, Any], target_dict: dict[str, Any], registered: HookGroup
    ) -> bool:
        """Called by ComfyUI before it samples with `model`."""
        if target_dict.get("target") == EnumWeightTarget.Clip:
            return False
        if not self.should_register(model, model_options, target_dict, registered):
            return False
        model.hook_patches[self.hook_ref] = {key: list(patches) for key, patches in self._patches.items()}
        model.patches_uuid = uuid.uuid4()
        registered.add(self)
        return True


def _own(model: ModelPatcher, other: ModelPatcher) -> tuple[Patches, list[MaskedLora]]:
    """The LoRAs and T-LoRAs of `other` that `model` does not carry."""
    patches = {}
    for key, theirs in other.patches.items():
        # Clones share these tuples.
        carried = {id(patch) for patch in model.patches.get(key, [])}
        if own := [patch for patch in theirs if id(patch) not in carried]:
            patches[key] = own
    carried = tloras_of(model)
    return patches, [lora for lora in tloras_of(other) if lora not in carried]


def _with_file(model: ModelPatcher, lora: LoraFile, name: str) -> ModelPatcher:
    """`model` with a LoRA, as Load LoRA and T-LoRA Loader load it."""
    if not lora.strength:
        return model
    if lora.kind is not None:
        return with_tlora(model, lora.tensors, lora.kind, lora.strength)
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    loaded = comfy.lora.load_lora(comfy.lora_convert.convert_lora(dict(lora.tensors)), keys)
    drawn = model.clone()
    if not drawn.add_patches(loaded, lora.strength):
        raise ValueError(
            f"cast: the LoRA of {name}, {lora.name}, changes no layer of this model, so it belongs to another kind of "
            "model. Choose one that was trained on SDXL."
        )
    return drawn
