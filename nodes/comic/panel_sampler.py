"""Story Panel Sampler: draws every panel of a storyboard."""

import logging
from collections.abc import Sequence

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ...comic.storyboard import Panel
from ...consistency.bank import IdentityBank
from ..canvas import show_text
from ..checks import (
    require_kind,
    require_option,
    require_same_network,
    require_sampling,
    require_sdxl,
    require_sdxl_vae,
    require_text_for,
)
from ..sockets import EncodedStoryboard, IdentityBankSocket, StoryboardSocket
from ..widgets import SAMPLERS, SCHEDULERS, sampling_inputs, size_inputs
from .panel_drawing import Line, PanelDecoding, PanelSampling, Settings
from .panel_strip import PanelStrip

SEED_MODES = ("same", "increment")


class PanelSampler(io.ComfyNode):
    """Draws panels with the bank that is patched into the model, as the storyboard's flags say."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothPanelSampler",
            display_name="Story Panel Sampler",
            category="StoryBooth",
            description="Draws every line of the storyboard that is not [hidden], in story order. When the story "
            "changes, only the panels that it changes are drawn again.",
            inputs=[
                io.Model.Input(
                    "model",
                    display_name="model",
                    tooltip="From Consistent Self-Attention Patch. [plain] lines leave it unread.",
                ),
                StoryboardSocket.Input("storyboard", display_name="storyboard", tooltip="The lines to draw."),
                io.Vae.Input("vae", display_name="VAE", tooltip="Turns latents into pictures."),
                *size_inputs(),
                *sampling_inputs(),
                io.Int.Input(
                    "seed",
                    display_name="seed",
                    default=42,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="The noise that panels start from. A line's own [seed=...] comes first.",
                ),
                io.Combo.Input(
                    "seed_mode",
                    display_name="seed mode",
                    options=list(SEED_MODES),
                    default="same",
                    tooltip="same: all panels start from one noise, so that compositions are related. "
                    "increment: each line starts from its own.",
                ),
                IdentityBankSocket.Input(
                    "bank",
                    display_name="bank",
                    optional=True,
                    tooltip="With it, [id] lines show the identity images themselves instead of being drawn again.",
                ),
                io.Int.Input(
                    "at_once",
                    display_name="panels at once",
                    optional=True,
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Draws up to so many panels with the same seed in one batch, which is faster on a GPU with "
                    "memory to spare. Samplers that add noise on the way, such as euler_ancestral, draw one by one.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="One picture for each line that is shown."),
                io.Latent.Output(
                    "latents",
                    display_name="latents",
                    tooltip="The panels before the VAE, for another VAE or a second sampler.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        storyboard: EncodedStoryboard,
        vae: VAE,
        width: int,
        height: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        seed: int,
        seed_mode: str,
        bank: IdentityBank | None = None,
        at_once: int = 1,
    ) -> io.NodeOutput:
        require_sdxl(model)
        require_sdxl_vae(vae)
        require_text_for(model, storyboard)
        require_sampling(width, height, steps, cfg)
        require_option("sampler (sampler_name)", sampler_name, SAMPLERS)
        require_option("scheduler", scheduler, SCHEDULERS)
        require_option("seed mode (seed_mode)", seed_mode, SEED_MODES)
        if at_once < 1:
            raise ValueError(f"panels at once (at_once): got {at_once}, expected 1 or more panels.")
        shown = storyboard.shown
        if not shown:
            raise ValueError("storyboard: every line is [hidden], so there is no panel to draw. Show at least one.")
        held = _identity_latents(storyboard, bank, width, height)
        if not held.keys().isdisjoint(shown):  # else no identity image is shown beside the panels
            require_same_network(model, bank)
            _tell_of_negative(storyboard, bank, cls.hidden.unique_id)

        strip = PanelStrip(cls.hidden.unique_id, len(shown))
        progress = comfy.utils.ProgressBar(len(shown) * steps)
        settings = Settings(width, height, steps, cfg, sampler_name, scheduler)
        sampling = PanelSampling(model, storyboard.negative, settings, progress, at_once)
        decoding = PanelDecoding(vae)
        panels = [storyboard.panels[index] for index in shown]
        lines = [
            Line(storyboard.positive[index], _seed_of(panel, index, seed, seed_mode), panel.plain, held.get(index))
            for index, panel in zip(shown, panels, strict=True)
        ]
        latents, images = [], []
        for panel, latent in zip(panels, sampling.latents(lines), strict=True):
            image = decoding.image(latent)
            latents.append(latent)
            images.append(image)
            strip.show(panel, image)
            progress.update_absolute(len(images) * steps)
        ui = {"storybooth_panels": strip.panels}
        return io.NodeOutput(torch.cat(images), {"samples": torch.cat(latents)}, ui=ui)


def _seed_of(panel: Panel, index: int, seed: int, seed_mode: str) -> int:
    if panel.seed is not None:
        return panel.seed
    return seed if seed_mode == "same" else (seed + index) % 2**64


def _identity_latents(
    storyboard: EncodedStoryboard, bank: IdentityBank | None, width: int, height: int
) -> dict[int, torch.Tensor]:
    """The bank's latents (1, 4, h, w) by the index of their line; none without a bank.

    ValueError where the bank shows other lines, or another size, than are to be drawn.
    """
    if bank is None:
        return {}
    require_kind("bank", bank, IdentityBank, "Identity Bank Writer or Load Identity Bank")
    identities = storyboard.identities
    asked = tuple((storyboard.panels[index].prompt, storyboard.panels[index].seed) for index in identities)
    recipe = bank.recipe
    held = tuple(zip(recipe.prompts, recipe.seeds, strict=True))
    if asked != held:
        raise ValueError(
            "bank: it holds other identity images than the storyboard's [id] lines and their seeds ask for "
            f"({_difference(asked, held)}). Write the bank from this storyboard, or disconnect bank here so that [id] "
            "lines are drawn like any other."
        )
    if (width, height) != (recipe.width, recipe.height):
        raise ValueError(
            f"bank: its identity images are {recipe.width} x {recipe.height}, the panels {width} x {height}. Use the "
            "same width and height, or disconnect bank here so that [id] lines are drawn at the panels' size."
        )
    return {index: bank.latents[row : row + 1] for row, index in enumerate(identities)}


def _difference(asked: Sequence[tuple[str, int | None]], held: Sequence[tuple[str, int | None]]) -> str:
    """In which respect the [id] lines `asked` for are not those that a bank has `held`, as (prompt, seed)."""
    new = next((prompt for prompt, seed in asked if (prompt, seed) not in held), None)
    if new is not None:
        return new[:100]
    if sorted(map(str, asked)) == sorted(map(str, held)):
        return "the same lines in another order"
    return f"{len(asked)} lines instead of the {len(held)} that it holds"


def _tell_of_negative(storyboard: EncodedStoryboard, bank: IdentityBank, node_id: str) -> None:
    """Say on the node where the identity images had another negative prompt than the panels will have."""
    theirs, ours = bank.recipe.negative, storyboard.negative_text
    if theirs is not None and ours is not None and theirs.strip() != ours.strip():
        text = (
            f"The bank's identity images were drawn with another negative prompt ({theirs.strip()[:60] or 'none'}). "
            "The panels follow the storyboard's; write the bank again to make all alike"
        )
        show_text(text, node_id)
        logging.info("StoryBooth: %s.", text)
