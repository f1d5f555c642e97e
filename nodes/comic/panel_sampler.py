"""Story Panel Sampler: draws every panel of a storyboard."""

from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ...comic.layout import PageLayout
from ...comic.speakers import written_places
from ...consistency.bank import IdentityBank
from ..canvas import SHOWN_WHEN_CACHED, found_by
from ..checks import (
    require_option,
    require_sampling,
    require_sdxl,
    require_sdxl_vae,
    require_text_for,
)
from ..consistency.reading import WRITER
from ..graph import source_of, widgets_of
from ..residents import RESIDENTS
from ..sockets import CastBank, EncodedStoryboard, IdentityBankSocket, PageLayoutSocket, StoryboardSocket
from ..weights import is_dynamic
from ..widgets import SAMPLERS, SCHEDULERS, rare, sampling_inputs, size_inputs
from .held_panels import held_panels, require_drawn_by, require_size, tell_of_negative
from .panel_drawing import PanelDecoding, PanelSampling, Settings, in_batches
from .panel_lines import lines_of, shown_lines, sizes_of
from .panel_strip import PanelStrip
from .ways import Ways

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
            **found_by("comic", "storydiffusion", "consistent character", "ksampler story"),
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
                rare(
                    io.Combo.Input(
                        "seed_mode",
                        display_name="seed mode",
                        options=list(SEED_MODES),
                        default="same",
                        tooltip="same: all panels start from one noise, so that compositions are related. "
                        "increment: each line starts from its own.",
                    )
                ),
                IdentityBankSocket.Input(
                    "bank",
                    display_name="bank",
                    optional=True,
                    lazy=True,
                    tooltip="With it, [id] lines show the identity images themselves instead of being drawn again.",
                ),
                rare(
                    io.Int.Input(
                        "at_once",
                        display_name="panels at once",
                        optional=True,
                        default=1,
                        min=1,
                        max=16,
                        tooltip="Draws up to so many panels with the same seed in one batch, which is faster on a GPU "
                        "with memory to spare. Samplers that add noise on the way, such as euler_ancestral, draw one "
                        "by one.",
                    )
                ),
                PageLayoutSocket.Input(
                    "layout",
                    display_name="layout",
                    optional=True,
                    tooltip="From Page Layout. Each panel is then drawn in the shape of its place, at SDXL's own size "
                    "of that shape; of width and height only the area counts.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images",
                    display_name="images",
                    is_output_list=True,
                    tooltip="One picture for each line that is shown: a batch, or with a layout a list of batches, as "
                    "panels of different sizes have no place in one.",
                ),
                io.Latent.Output(
                    "latents",
                    display_name="latents",
                    is_output_list=True,
                    tooltip="The panels before the VAE, for another VAE or a second sampler.",
                ),
                io.String.Output(
                    "places",
                    display_name="places",
                    tooltip="Where those are who speak, seen while the panels were drawn: for Comic Page, whose "
                    "bubbles then point to them.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            **SHOWN_WHEN_CACHED,
        )

    @classmethod
    def check_lazy_status(
        cls,
        storyboard: EncodedStoryboard,
        width: int,
        height: int,
        vae: VAE | None = None,
        layout: PageLayout | None = None,
        **others: Any,
    ) -> list[str]:
        """Look at all that is known by now: no hours of training and drawing for panels that cannot be drawn."""
        require_sdxl_vae(vae)
        _require_widgets(width, height, **{name: others[name] for name in WIDGETS if name in others})
        shown = shown_lines(storyboard)
        sizes = sizes_of(storyboard, layout, width, height)
        # An optional socket is only among the inputs where something is wired to it.
        wanted = [name for name in ("model", "bank") if name in others and others[name] is None]
        if "bank" not in wanted:
            held_panels(storyboard, others.get("bank"), width, height, sizes)
            return wanted
        if set(storyboard.identities).isdisjoint(shown):  # the bank's pictures are not among the panels
            return wanted[:1]
        size = widgets_of(source_of(cls.hidden, "bank", WRITER), ("width", "height"))
        if size is not None and layout is None:
            require_size((size["width"], size["height"]), width, height)
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
        bank: IdentityBank | CastBank | None = None,
        at_once: int = 1,
        layout: PageLayout | None = None,
    ) -> io.NodeOutput:
        require_sdxl(model)
        require_sdxl_vae(vae)
        require_text_for(model, storyboard)
        _require_widgets(width, height, steps, cfg, sampler_name, scheduler, seed_mode, at_once)
        shown = shown_lines(storyboard)
        sizes = sizes_of(storyboard, layout, width, height)
        held = held_panels(storyboard, bank, width, height, sizes)
        if not held.keys().isdisjoint(shown):  # else no identity image is shown beside the panels
            require_drawn_by(model, storyboard, bank)
            tell_of_negative(storyboard, bank, cls.hidden.unique_id)

        strip = PanelStrip(cls.hidden, len(shown))
        progress = comfy.utils.ProgressBar(len(shown) * steps)
        settings = Settings(width, height, steps, cfg, sampler_name, scheduler)
        sampling = PanelSampling(model, storyboard.negative, settings, progress, at_once)
        decoding = PanelDecoding(vae)
        panels = [storyboard.panels[index] for index in shown]
        lines = lines_of(storyboard, Ways(model, storyboard.cast), held, sizes, seed, seed_mode)
        latents, images, places = [], [], []
        with RESIDENTS.story(is_dynamic(model)):
            for panel, line, drawn in zip(panels, lines, sampling.panels(lines), strict=True):
                image = decoding.image(drawn.latent)
                latents.append(drawn.latent)
                images.append(image)
                places.append(drawn.seen(line))
                # The identity images of a bank share one batch, whose noise no seed of a line gives.
                strip.show(panel, image, line.seed if line.latent is None else panel.seed)
                progress.update_absolute(len(images) * steps)
        ui = {"storybooth_panels": strip.panels}
        latents = [{"samples": samples} for samples in in_batches(latents)]
        return io.NodeOutput(in_batches(images), latents, written_places(places), ui=ui)


def _require_widgets(
    width: int, height: int, steps: int, cfg: float, sampler_name: str, scheduler: str, seed_mode: str, at_once: int = 1
) -> None:
    """Raise ValueError, naming the widget, where panels cannot be drawn so."""
    require_sampling(width, height, steps, cfg)
    require_option("sampler (sampler_name)", sampler_name, SAMPLERS)
    require_option("scheduler", scheduler, SCHEDULERS)
    require_option("seed mode (seed_mode)", seed_mode, SEED_MODES)
    if at_once < 1:
        raise ValueError(f"panels at once (at_once): got {at_once}, expected 1 or more panels.")
