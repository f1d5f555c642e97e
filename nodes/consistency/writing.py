"""An identity bank, written: of one character, or of each of a cast."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import latent_preview
import psutil
import torch
from comfy.model_patcher import ModelPatcher

from ...consistency.bank import IdentityBank, Recipe, size_in_bytes
from ...consistency.writer import BankWriter
from ..cache import BANKS
from ..cache_keys import conditioning_key, patches_key
from ..casting import as_drawn
from ..checks import require_kind
from ..model import bank_geometry, network_of, sampling_of
from ..sampling import as_batch, empty_latent, noise_for, sample, step_sigmas
from ..sockets import CastBank, Conditioning, EncodedStoryboard
from ..widgets import schedule_of
from .announcing import Telling, announce, warn_of_empty
from .keeping import check_keep, early, say_if_unseen, say_where_unknown
from .patching import with_phase
from .previews import rough_pictures


@dataclass(frozen=True)
class Writing:
    """How banks are written, in the words of the writer's widgets."""

    width: int
    height: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    seed: int
    storage: str
    bank_dtype: str
    keep: str
    schedule: dict[str, Any]
    node_id: str

    def bank(
        self,
        model: ModelPatcher,
        storyboard: EncodedStoryboard,
        masks: torch.Tensor | None,
        telling: Telling | None = None,
    ) -> IdentityBank:
        """The bank of the storyboard's [id] lines, drawn by `model`; `masks` are one for each of them."""
        telling = telling or Telling(self.node_id)
        identities = storyboard.identities
        of_masks = check_keep(self.keep, masks, len(identities), self.width, self.height)
        by_words = self.keep != "random" and not of_masks
        weights, lora = network_of(model)
        total = len(step_sigmas(model, self.steps, self.sampler_name, self.scheduler))
        kept = schedule_of(self.schedule, total)
        recipe = Recipe(
            model=weights,
            lora=lora,
            prompts=tuple(storyboard.panels[index].prompt for index in identities),
            seeds=tuple(storyboard.panels[index].seed for index in identities),
            width=self.width,
            height=self.height,
            steps=total,
            cfg=self.cfg,
            sampler_name=self.sampler_name,
            scheduler=self.scheduler,
            seed=self.seed,
            schedule=kept,
            storage=self.storage,
            dtype=self.bank_dtype,
            sampling=sampling_of(model),
            negative=storyboard.negative_text,
            keep=self.keep,
            subject=storyboard.subject if by_words else "",
            masks=of_masks,
        )
        positive = as_batch([storyboard.positive[index] for index in identities])
        key = (recipe, patches_key(model), conditioning_key(positive), conditioning_key(storyboard.negative))
        bank = BANKS.get(key)
        if bank is not None:
            telling.say("Found the bank that was written before from the same inputs.")
            return bank
        geometry = bank_geometry(model, self.width, self.height)
        # Some nodes, such as Self-Attention Guidance, need the negative prompt at CFG 1, too.
        always = model.model_options.get("disable_cfg1_optimization", False)
        size = size_in_bytes(recipe, geometry, halves=1 if math.isclose(self.cfg, 1.0) and not always else 2)
        told = [say_where_unknown(storyboard, identities, self.node_id), early(kept, "keep")] if by_words else []
        announce(recipe, size, ". ".join(filter(None, told)), telling)
        if why := kept.why_never(recipe.steps):
            warn_of_empty(why, telling)
        writer = BankWriter(recipe, geometry, _may_be_pinned(), masks)
        told = say_if_unseen(self.node_id, "Identity Bank Writer", "keep", telling.say)
        bank = _write(with_phase(model, writer, told=told), writer, positive, storyboard.negative, self.steps)
        BANKS.put(key, bank, bank.size)
        return bank

    def cast_bank(self, model: ModelPatcher, storyboard: EncodedStoryboard, masks: torch.Tensor | None) -> CastBank:
        """The banks of a cast: those that characters bring, and one of the [id] lines of each other that has any."""
        check_keep(self.keep, masks, len(storyboard.identities), self.width, self.height)
        banks, without = {}, []
        telling = Telling(self.node_id)
        for character in storyboard.cast:
            own = storyboard.of(character)
            if character.bank is not None:
                banks[character.name] = character.bank
            elif own.identities:
                rows = [storyboard.identities.index(index) for index in own.identities]
                theirs = None if masks is None else masks[rows]
                banks[character.name] = self.bank(as_drawn(model, character), own, theirs, telling.of(character.name))
            else:
                without.append(character.name)
        if without:
            text = (
                f"No bank of {', '.join(without)}: no line shows that character alone. Write one such as "
                f"[id] {{{without[0]}}} in a forest"
            )
            telling.say(text)
            logging.warning("StoryBooth: Identity Bank Writer (node %s): %s.", self.node_id, text)
        return CastBank(banks)


def identity_lines(storyboard: EncodedStoryboard) -> list[int]:
    """The places of the [id] lines. ValueError where there are none, and no character that brings a bank."""
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    if not storyboard.identities and all(character.bank is None for character in storyboard.cast):
        raise ValueError(
            "storyboard: it has no [id] line and no line that could serve as one (all are [plain] or [NC], or do not "
            f"show {'one character alone' if storyboard.cast else '{subject}'}), so there is nothing to write. Put "
            "[id] before one or more lines that show your character."
        )
    return storyboard.identities


def _may_be_pinned() -> int:
    """Bytes: two fifths of the memory, without what ComfyUI has pinned itself. The system needs the rest movable."""
    pinned = getattr(comfy.model_management, "TOTAL_PINNED_MEMORY", 0)
    return max(0, psutil.virtual_memory().total * 2 // 5 - pinned)


def _write(
    model: ModelPatcher, writer: BankWriter, positive: Conditioning, negative: Conditioning, steps: int
) -> IdentityBank:
    """What `writer` has written while `model`, which it is patched into, draws the identity images."""
    recipe = writer.recipe
    latent = empty_latent(recipe.width, recipe.height, len(recipe.prompts))
    noise = noise_for(latent, recipe.seed)
    for row, seed in enumerate(recipe.seeds):
        if seed is not None:
            noise[row : row + 1] = noise_for(latent[:1], seed)
    latents = sample(
        model,
        positive,
        negative,
        noise,
        recipe.seed,
        steps,
        recipe.cfg,
        recipe.sampler_name,
        recipe.scheduler,
        latent_preview.prepare_callback(model, recipe.steps),
    )
    return writer.finish(latents, rough_pictures(latents, model.model.latent_format))
