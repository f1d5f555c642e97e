"""Photos on their way into training: opened upright in RGB, resized and cropped, with SDXL's micro-conditioning."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ..pixels import to_pil, to_tensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
MIN_SIDE = 32

_FORMATS = tuple({Image.registered_extensions().get(suffix) for suffix in SUFFIXES} - {None})
"""What files of these names may hold. Pillow knows more: it would hand a PostScript file to Ghostscript."""


@dataclass(frozen=True)
class TrainingImage:
    """`pixels` (3, height, width) in [−1, 1]; `time_ids` (6,): SDXL's micro-conditioning
    (original height and width, crop top and left, target height and width), all in pixels."""

    pixels: torch.Tensor
    time_ids: torch.Tensor


def open_photo(path: Path) -> Image.Image:
    """Open an image file upright (EXIF rotation applied) and in RGB; transparency is laid on white.

    Raises ValueError naming the file if it cannot be read, or is shorter than MIN_SIDE pixels on a side.
    """
    try:
        with Image.open(path, formats=_FORMATS) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8
                image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            image = image.convert("RGB")
    except Exception as error:  # of damaged files decoders raise almost anything
        raise ValueError(f"{path.name} cannot be read as an image ({error}). Repair it or take it out.") from error
    if min(image.size) < MIN_SIDE:
        width, height = image.size
        raise ValueError(
            f"{path.name} is {width}x{height} pixels, too small to learn from: "
            f"expected at least {MIN_SIDE} on each side. Use a larger photo or take it out."
        )
    return image


def bucket_for(height: int, width: int, resolution: int) -> tuple[int, int]:
    """The height and width at which an image of this shape is trained, with about resolution² pixels or fewer.

    Of all sizes in steps of resolution / 16 (a multiple of 8, the VAE's) between half and twice the resolution, the
    one whose shape comes closest to the image's.
    """
    step = max(8, resolution // 16 // 8 * 8)
    sizes = [(resolution * resolution // w // step * step, w) for w in range(resolution // 2, 2 * resolution + 1, step)]
    sizes += [(resolution, resolution)]
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0]) - math.log(width / height)))


def prepare(image: torch.Tensor, target: tuple[int, int]) -> TrainingImage:
    """Bring one image (height, width, 3) in [0, 1] to the `target` height and width.

    It is resized (Lanczos) until it just covers them, and what stands out is cropped evenly on both sides. The original
    size of the micro-conditioning is the size before resizing.
    """
    height, width = image.shape[:2]
    scale = max(target[0] / height, target[1] / width)
    resized_height, resized_width = max(target[0], round(height * scale)), max(target[1], round(width * scale))
    resized = to_pil(image).resize((resized_width, resized_height), Image.Resampling.LANCZOS)
    top, left = (resized_height - target[0]) // 2, (resized_width - target[1]) // 2
    cropped = resized.crop((left, top, left + target[1], top + target[0]))
    return TrainingImage(
        pixels=to_tensor(cropped).permute(2, 0, 1) * 2.0 - 1.0,
        time_ids=torch.tensor([height, width, top, left, *target], dtype=torch.float32),
    )
