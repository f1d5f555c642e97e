"""Story Panel Sampler: draws every panel of a storyboard."""

from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ...comic.storyboard import Panel
from ...consistency.bank import IdentityBank
from ..canvas import SHOWN_WHEN_CACHED
from ..checks import (
    require_kind,
    require_option,
    require_sampling,
    require_sdxl,
    require_sdxl_vae,
    require_text_for,
)
from ..consistency.reading import WRITER
from ..graph import source_of, widgets_of
from ..sockets import EncodedStoryboard, IdentityBankSocket, StoryboardSocket
from ..widgets import SAMPLERS, SCHEDULERS, sampling_inputs, size_inputs
from .panel_drawing import Line, PanelDecoding, PanelSampling, Settings
from .panel_strip import PanelStrip

SEED_MODES = ("same", "increment")
WIDGETS = ("steps", "cfg", "sampler_name", "scheduler", "seed_mode", "at_once")


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
                    lazy=True,  # what needs no model is checked before one is trained
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
                    lazy=True,
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
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            **SHOWN_WHEN_CACHED,
        )

    @classmethod
    def check_lazy_status(
        cls, storyboard: EncodedStoryboard, width: int, height: int, vae: VAE | None = None, **others: Any
    ) -> list[str]:
        """Look at all that is known by now: no hours of training and drawing for panels that cannot be drawn."""
        require_sdxl_vae(vae)
        _require_widgets(width, height, **{name: others[name] for name in WIDGETS if name in others})
        _shown_lines(storyboard)
        # An optional socket is only among the inputs where something is wired to it.
        wanted = [name for name in ("model", "bank") if name in others and others[name] is None]
        if "bank" not in wanted:
            _identity_latents(storyboard, others.get("bank"), width, height)
            return wanted
        size = widgets_of(source_of(cls.hidden, "bank", WRITER), ("width", "height"))
        if size is not None:
            _require_size((size["width"], size["height"]), width, height)
        elif source_of(cls.hidden, "bank", "StoryBoothLoadIdentityBank") is not None:
            return ["bank"]  # opened in a moment, and then checked
        return wanted[:1]  # the patch before the bank: it, too, has something to check

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
        _require_widgets(width, height, steps, cfg, sampler_name, scheduler, seed_mode, at_once)
        shown = _shown_lines(storyboard)
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


def _require_widgets(
    width: int, height: int, steps: int, cfg: float, sampler_name: str, scheduler: str, seed_mode: str, at_once: int = 1
) -> None:
    """Raise ValueError, naming the widget, where panels cannot be drawn so."""
    require_sampling(width, height, steps, cfg)
    require_option("sampler_name", sampler_name, SAMPLERS)
    require_option("scheduler", scheduler, SCHEDULERS)
    require_option("seed_mode", seed_mode, SEED_MODES)
    if at_once < 1:
        raise ValueError(f"at_once: got {at_once}, expected 1 or more panels.")


def _shown_lines(storyboard: EncodedStoryboard) -> list[int]:
    """The places of the lines to draw. ValueError where there are none."""
    require_kind("storyboard", storyboard, EncodedStoryboard, "Storyboard")
    shown = [index for index, panel in enumerate(storyboard.panels) if not panel.hidden]
    if not shown:
        raise ValueError("storyboard: every line is [hidden], so there is no panel to draw. Show at least one.")
    return shown


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
    _require_size((recipe.width, recipe.height), width, height)
    return {index: bank.latents[row : row + 1] for row, index in enumerate(identities)}


def _require_size(held: tuple[int, int], width: int, height: int) -> None:
    """Raise ValueError where identity images of the size `held` are to stand among panels of another."""
    if (width, height) != held:
        raise ValueError(
            f"bank: its identity images are {held[0]} x {held[1]}, the panels {width} x {height}. Use the "
            "same width and height, or disconnect bank here so that [id] lines are drawn at the panels' size."
        )
