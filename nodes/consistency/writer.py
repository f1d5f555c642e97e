"""Identity Bank Writer: draws the storyboard's identity images and keeps what their self-attention saw."""

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...consistency.bank import DTYPES
from ...consistency.schedule import Schedule
from ..canvas import found_by
from ..checks import require_option, require_sampling, require_sdxl, require_text_for
from ..sockets import EncodedStoryboard, IdentityBankSocket, StoryboardSocket
from ..widgets import (
    RARE,
    SAMPLERS,
    SCHEDULERS,
    later_schedule_inputs,
    sampling_inputs,
    schedule_inputs,
    schedule_of,
    size_inputs,
)
from .announcing import Telling, warn_of_empty
from .keeping import check_keep, keep_inputs
from .writing import Writing, identity_lines

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
                    **RARE,
                ),
                io.Combo.Input(
                    "bank_dtype",
                    display_name="bank precision",
                    options=list(DTYPES),
                    default="fp16",
                    tooltip="fp8 halves the memory of fp16 and changes pictures slightly; fp32 doubles it.",
                    **RARE,
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
        identities = identity_lines(storyboard)
        keep = widgets.pop("keep", "random"), widgets.pop("subject_masks", None)
        schedule = _check_widgets(steps=steps, **widgets)
        check_keep(*keep, len(identities), widgets["width"], widgets["height"])
        if why := schedule.why_never(steps):
            warn_of_empty(why, Telling(cls.hidden.unique_id))
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
        identities = identity_lines(storyboard)
        writing = Writing(
            width,
            height,
            **sampling,
            seed=seed,
            storage=storage,
            bank_dtype=bank_dtype,
            keep=keep,
            schedule=schedule,
            node_id=cls.hidden.unique_id,
        )
        if not storyboard.cast:
            bank = writing.bank(model, storyboard, subject_masks)
            return io.NodeOutput(bank, {"samples": bank.latents})
        banks = writing.cast_bank(model, storyboard, subject_masks)
        rows = {
            index: latent
            for character in storyboard.cast
            if character.name in banks.banks and character.bank is None
            for index, latent in zip(
                storyboard.of(character).identities, banks.banks[character.name].latents.split(1), strict=True
            )
        }
        brought = [bank.latents for bank in banks.banks.values()]
        latents = torch.cat([rows[index] for index in identities]) if identities else brought[0]
        return io.NodeOutput(banks, {"samples": latents})


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
