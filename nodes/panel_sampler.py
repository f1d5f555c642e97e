"""Story Panel Sampler: draws every panel of a storyboard."""

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ..comic.storyboard import Panel
from ..consistency.bank import IdentityBank
from .checks import (
    require_kind,
    require_option,
    require_sampling,
    require_sdxl,
    require_sdxl_vae,
    require_text_for,
)
from .panel_drawing import Line, PanelDecoding, PanelSampling, Settings
from .panel_strip import PanelStrip
from .residents import RESIDENTS
from .sockets import EncodedStoryboard, IdentityBankSocket, StoryboardSocket
from .weights import is_dynamic
from .widgets import SAMPLERS, SCHEDULERS, sampling_inputs, size_inputs

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
        require_option("sampler_name", sampler_name, SAMPLERS)
        require_option("scheduler", scheduler, SCHEDULERS)
        require_option("seed_mode", seed_mode, SEED_MODES)
        if at_once < 1:
            raise ValueError(f"at_once: got {at_once}, expected 1 or more panels.")
        shown = [index for index, panel in enumerate(storyboard.panels) if not panel.hidden]
        if not shown:
            raise ValueError("storyboard: every line is [hidden], so there is no panel to draw. Show at least one.")
        reused = _identity_latents(storyboard, bank, width, height)

        strip = PanelStrip(cls.hidden.unique_id, len(shown))
        progress = comfy.utils.ProgressBar(len(shown) * steps)
        settings = Settings(width, height, steps, cfg, sampler_name, scheduler)
        sampling = PanelSampling(model, storyboard.negative, settings, progress, at_once)
        decoding = PanelDecoding(vae)
        lines = {
            index: Line(storyboard.positive[index], _seed_of(panel, index, seed, seed_mode), panel.plain)
            for index, panel in enumerate(storyboard.panels)
            if not panel.hidden and index not in reused
        }
        latents, images = [], []
        with RESIDENTS.story(is_dynamic(model)):
            for place, index in enumerate(shown):
                panel = storyboard.panels[index]
                latent = reused.get(index)
                if latent is None:
                    to_come = [line for other, line in lines.items() if other > index]
                    latent = sampling.latent(lines[index], to_come, place * steps)
                image = decoding.image(latent)
                latents.append(latent)
                images.append(image)
                strip.show(panel, image)
                progress.update_absolute((place + 1) * steps)
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
    identities = [index for index, panel in enumerate(storyboard.panels) if panel.identity]
    asked = tuple((storyboard.panels[index].prompt, storyboard.panels[index].seed) for index in identities)
    recipe = bank.recipe
    held = tuple(zip(recipe.prompts, recipe.seeds, strict=True))
    if asked != held:
        new = next((prompt for prompt, seed in asked if (prompt, seed) not in held), "fewer [id] lines")
        raise ValueError(
            "bank: it holds other identity images than the storyboard's [id] lines and their seeds ask for "
            f"({new[:100]}). Write the bank from this storyboard, or disconnect bank here so that [id] lines are drawn "
            "like any other."
        )
    if (width, height) != (recipe.width, recipe.height):
        raise ValueError(
            f"bank: its identity images are {recipe.width} x {recipe.height}, the panels {width} x {height}. Use the "
            "same width and height, or disconnect bank here so that [id] lines are drawn at the panels' size."
        )
    return {index: bank.latents[row : row + 1] for row, index in enumerate(identities)}
