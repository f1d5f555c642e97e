"""A sample picture every so many steps: a look at what the LoRA can do by now, and never the end of a training."""

import logging
from collections.abc import Callable

import comfy.model_management
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image

from ...training.sample_pictures import RgbMap, draw_sample, preview
from ...training.trainer import Trainer
from ..errors import is_out_of_memory, let_go
from .view import TrainingView


class Samples:
    """Draws a sample after every `every` steps and shows it on the node, of what `prompt` gives then: text states and
    pooled vector.

    Where memory or disk do not suffice, `trouble` says so, no more are drawn, and training goes on.
    """

    def __init__(
        self,
        every: int,
        trainer: Trainer,
        prompt: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        rgb: RgbMap,
        model: ModelPatcher,
        view: TrainingView,
    ) -> None:
        self.trouble = ""
        self._every = every
        self._trainer = trainer
        self._prompt = prompt
        self._rgb = rgb
        self._device = trainer.device
        self._latent_format = model.model.latent_format
        self._view = view

    def after(self, step: int) -> None:
        """Draw a sample if one is due after `step`."""
        if self.trouble or step % self._every:
            return
        try:
            latent = draw_sample(
                self._trainer.unet,
                *self._read(),
                self._trainer.settings,
                self._device,
                self._unwanted,
                self._trainer.prediction,
            )
            if latent is not None:
                self._view.add_picture(f"step {step}", self._picture(latent))
        except (RuntimeError, OSError) as error:  # neither of them is Cancel
            logging.warning("StoryBooth: no more samples: %s", error)
            let_go(error)
            reason = "out of memory" if is_out_of_memory(error) else error
            self.trouble = f"No more samples: {reason}. Training goes on."
            self._view.warn(self.trouble)
            comfy.model_management.soft_empty_cache()

    @torch.no_grad()
    def _read(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._prompt()

    def _unwanted(self) -> bool:
        """Let Cancel through, and give up where the user wants to stop."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        return self._view.stop_asked

    @torch.no_grad()
    def _picture(self, latent: torch.Tensor) -> Image.Image:
        """By TAESD where ComfyUI's previews use it; else in the colours that fit the photos, an eighth as large."""
        previewer = latent_preview.get_previewer(self._device, self._latent_format)
        if isinstance(previewer, latent_preview.TAESDPreviewerImpl):
            return previewer.decode_latent_to_preview(latent[None].to(self._device))
        return preview(latent, self._rgb)
