"""Pictures without a VAE, as ComfyUI shows them while it samples: each latent pixel becomes one of the picture."""

import numpy as np
import torch
from comfy.latent_formats import LatentFormat
from comfy_api.latest import ui
from latent_preview import Latent2RGBPreviewer

from ...consistency.bank import IdentityBank


def rough_pictures(latents: torch.Tensor, latent_format: LatentFormat) -> torch.Tensor:
    """Latents (M, 4, h, w), as samplers return them -> pictures (M, h, w, 3) in uint8."""
    previewer = Latent2RGBPreviewer(latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias)
    scaled = latent_format.process_in(latents.float().cpu())
    pictures = [np.array(previewer.decode_latent_to_preview(latent)) for latent in scaled.split(1)]
    return torch.from_numpy(np.stack(pictures))


def shown(bank: IdentityBank) -> ui.PreviewImage | None:
    """A bank's identity images on a node; None for a bank that was saved before banks had previews."""
    return None if bank.previews is None else ui.PreviewImage(bank.previews.float() / 255)
