"""Pictures as ComfyUI's IMAGE holds them, and as Pillow does."""

import numpy as np
import torch
from PIL import Image


def to_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB image as (height, width, 3) floats in [0, 1]."""
    return torch.from_numpy(np.array(image, dtype=np.float32) / 255.0)


def to_pil(image: torch.Tensor) -> Image.Image:
    """The inverse of `to_tensor`, rounded to 8 bits a channel."""
    return Image.fromarray((image.clamp(0, 1) * 255.0).round().to(torch.uint8).cpu().numpy())
