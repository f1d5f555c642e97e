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


def shown(*banks: IdentityBank) -> ui.PreviewImage | None:
    """The banks' identity images on a node; None for banks that were saved before banks had previews."""
    previews = [preview for bank in banks if bank.previews is not None for preview in bank.previews.float() / 255]
    same = [preview for preview in previews if preview.shape == previews[0].shape]
    return ui.PreviewImage(torch.stack(same)) if same else None
