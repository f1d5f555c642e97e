"""Identity Bank Writer: draws the storyboard's identity images and keeps what their self-attention saw."""

import math
from typing import Any

import comfy.model_management
import latent_preview
import psutil
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...consistency.bank import DTYPES, Geometry, IdentityBank, Recipe, size_in_bytes
from ...consistency.schedule import Schedule
from ...consistency.writer import BankWriter
from ..cache import BANKS
from ..cache_keys import conditioning_key, patches_key
from ..canvas import found_by, show_text
from ..checks import require_kind, require_option, require_sampling, require_sdxl, require_text_for
from ..model import bank_geometry, network_of, sampling_of
from ..sampling import as_batch, empty_latent, noise_for, sample, step_sigmas
from ..sockets import EncodedStoryboard, IdentityBankSocket, StoryboardSocket
from ..widgets import (
    SAMPLERS,
    SCHEDULERS,
    later_schedule_inputs,
    sampling_inputs,
    schedule_inputs,
    schedule_of,
    size_inputs,
)
from .announcing import announce, warn_of_empty
from .keeping import check_keep, keep_inputs, say_where_unknown
from .patching import with_phase
from .previews import rough_pictures

STORAGES = ("compact", "full")


class IdentityBankWriter(io.ComfyNode):
    """Write phase of consistent self-attention (consistency/writer.py)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothIdentityBankWriter",
            display_name="Identity Bank Writer",
            category="StoryBooth",
            **found_by("storydiffusion", "consistent character", "id images"),
            description="Draws the storyboard's [id] lines together and keeps their self-attention features, "
            "so that every panel can look at them.",
            inputs=[
                io.Model.Input(
                    "model",
                    display_name="model",
                    lazy=True,
                    tooltip="An SDXL model, usually with your character's LoRA in it.",
                ),
                StoryboardSocket.Input(
                    "storyboard", display_name="storyboard", tooltip="Its [id] lines become the identity images."
                ),
                *size_inputs(),
                *sampling_inputs(),
                io.Int.Input(
                    "seed",
                    display_name="seed",
                    default=42,
                    min=0,
                    max=2**64 - 1,
                    tooltip="Another seed draws other identity images, and other tokens and layers to keep.",
                ),
                *schedule_inputs(),
                io.Combo.Input(
                    "storage",
                    display_name="storage",
                    options=list(STORAGES),
                    default="compact",
                    tooltip="compact keeps just what these settings can read. full keeps everything: panels may then "
                    "use any strength and probability, each drawing for itself, at several times the memory.",
                ),
                io.Combo.Input(
                    "bank_dtype",
                    display_name="bank precision",
                    options=list(DTYPES),
                    default="fp16",
                    tooltip="fp8 halves the memory of fp16 and changes pictures slightly; fp32 doubles it.",
                ),
                *keep_inputs(),
                *later_schedule_inputs(),
            ],
            outputs=[
                IdentityBankSocket.Output(
                    "bank", display_name="bank", tooltip="For Consistent Self-Attention Patch and Story Panel Sampler."
                ),
                io.Latent.Output(
                    "latents", display_name="latents", tooltip="The identity images, one for each [id] line."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(
        cls, storyboard: EncodedStoryboard, steps: int, model: ModelPatcher | None = None, **widgets: Any
    ) -> list[str]:
        """Look at storyboard and widgets first: no hours of training for a bank that cannot be written."""
        identities = _identity_lines(storyboard)
        keep = widgets.pop("keep", "random"), widgets.pop("subject_masks", None)
        schedule = _check_widgets(steps=steps, **widgets)
        check_keep(*keep, len(identities), widgets["width"], widgets["height"])
        if why := schedule.why_never(steps):
            warn_of_empty(why, cls.hidden.unique_id)
        return ["model"] if model is None else []

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        storyboard: EncodedStoryboard,
        width: int,
        height: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        seed: int,
        storage: str,
        bank_dtype: str,
        keep: str = "random",
        subject_masks: torch.Tensor | None = None,
        **schedule: Any,
    ) -> io.NodeOutput:
        require_sdxl(model)
        require_text_for(model, storyboard)
        sampling = {"steps": steps, "cfg": cfg, "sampler_name": sampler_name, "scheduler": scheduler}
        _check_widgets(width, height, **sampling, storage=storage, bank_dtype=bank_dtype, **schedule)
        identities = _identity_lines(storyboard)
        masks = check_keep(keep, subject_masks, len(identities), width, height)
        by_words = keep != "random" and not masks
        weights, lora = network_of(model)
        total = len(step_sigmas(model, steps, sampler_name, scheduler))
        kept = schedule_of(schedule, total)
        recipe = Recipe(
            model=weights,
            lora=lora,
            prompts=tuple(storyboard.panels[index].prompt for index in identities),
            seeds=tuple(storyboard.panels[index].seed for index in identities),
            width=width,
            height=height,
            steps=total,
            cfg=cfg,
            sampler_name=sampler_name,
            scheduler=scheduler,
            seed=seed,
            schedule=kept,
            storage=storage,
            dtype=bank_dtype,
            sampling=sampling_of(model),
            negative=storyboard.negative_text,
            keep=keep,
            subject=storyboard.subject if by_words else "",
            masks=masks,
        )
        positive = as_batch([storyboard.positive[index] for index in identities])
        key = (recipe, patches_key(model), conditioning_key(positive), conditioning_key(storyboard.negative))
        bank = BANKS.get(key)
        if bank is None:
            geometry = bank_geometry(model, width, height)
            # Some nodes, such as Self-Attention Guidance, need the negative prompt at CFG 1, too.
            always = model.model_options.get("disable_cfg1_optimization", False)
            size = size_in_bytes(recipe, geometry, halves=1 if math.isclose(cfg, 1.0) and not always else 2)
            unknown = say_where_unknown(storyboard, identities, cls.hidden.unique_id) if by_words else ""
            announce(recipe, size, unknown, cls.hidden.unique_id)
            if why := kept.why_never(recipe.steps):
                warn_of_empty(why, cls.hidden.unique_id)
            bank = _write(model, recipe, geometry, positive, storyboard.negative, steps, subject_masks)
            BANKS.put(key, bank, bank.size)
        else:
            show_text("Found the bank that was written before from the same inputs.", cls.hidden.unique_id)
        return io.NodeOutput(bank, {"samples": bank.latents})


def _identity_lines(storyboard: EncodedStoryboard) -> list[int]:
    """The places of the [id] lines. ValueError where there are none."""
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    if not storyboard.identities:
        raise ValueError(
            "storyboard: it has no [id] line and no line that could serve as one (all are [plain] or [NC], or do not "
            "show {subject}), so there is nothing to write. Put [id] before one or more lines that show your character."
        )
    return storyboard.identities


def _check_widgets(
    width: int,
    height: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    storage: str,
    bank_dtype: str,
    seed: int = 0,
    **schedule: Any,
) -> Schedule:
    """The schedule. ValueError, naming the widget, where a bank cannot be written so; `seed` may be any."""
    require_sampling(width, height, steps, cfg)
    require_option("sampler (sampler_name)", sampler_name, SAMPLERS)
    require_option("scheduler", scheduler, SCHEDULERS)
    require_option("storage", storage, STORAGES)
    require_option("bank precision (bank_dtype)", bank_dtype, list(DTYPES))
    return schedule_of(schedule, steps)


def _may_be_pinned() -> int:
    """Bytes: two fifths of the memory, without what ComfyUI has pinned itself. The system needs the rest movable."""
    pinned = getattr(comfy.model_management, "TOTAL_PINNED_MEMORY", 0)
    return max(0, psutil.virtual_memory().total * 2 // 5 - pinned)


def _write(
    model: ModelPatcher,
    recipe: Recipe,
    geometry: Geometry,
    positive: list,
    negative: list,
    steps: int,
    masks: torch.Tensor | None,
) -> IdentityBank:
    latent = empty_latent(recipe.width, recipe.height, len(recipe.prompts))
    noise = noise_for(latent, recipe.seed)
    for row, seed in enumerate(recipe.seeds):
        if seed is not None:
            noise[row : row + 1] = noise_for(latent[:1], seed)
    writer = BankWriter(recipe, geometry, _may_be_pinned(), masks)
    latents = sample(
        with_phase(model, writer),
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
