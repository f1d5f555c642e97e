"""Photos on their way into training: opened upright in RGB, resized and cropped, with SDXL's micro-conditioning."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps

from ..photo_files import HEIC, PHOTOS
from ..pixels import to_pil, to_tensor
from .colours import to_srgb

MIN_SIDE = 32

_FORMATS = tuple({Image.registered_extensions().get(suffix) for suffix in PHOTOS} - {None})
"""What files of these names may hold. Pillow knows more: it would hand a PostScript file to Ghostscript."""


@dataclass(frozen=True)
class TrainingImage:
    """`pixels` (3, height, width) in [−1, 1]; `time_ids` (6,): SDXL's micro-conditioning
    (original height and width, crop top and left, target height and width), all in pixels."""

    pixels: torch.Tensor
    time_ids: torch.Tensor


def open_photo(path: Path) -> Image.Image:
    """Open an image file upright (EXIF rotation applied) and in sRGB; transparency is laid on white.

    Raises what `open_with_alpha` does.
    """
    return open_with_alpha(path)[0]


def open_with_alpha(path: Path) -> tuple[Image.Image, Image.Image | None]:
    """A photo as `open_photo` opens it, and its alpha channel, upright too (mode L); None where all of it is opaque.

    Raises ValueError naming the file if it cannot be read, or is shorter than MIN_SIDE pixels on a side.
    """
    try:
        with _open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.format = file.format
            alpha = _alpha(image)
            image = to_srgb(image, path.name)
    except Exception as error:  # of damaged files decoders raise almost anything
        raise ValueError(f"{path.name} cannot be read as an image ({error}). Repair it or take it out.") from error
    if min(image.size) < MIN_SIDE:
        width, height = image.size
        raise ValueError(
            f"{path.name} is {width}x{height} pixels, too small to learn from: "
            f"expected at least {MIN_SIDE} on each side. Use a larger photo or take it out."
        )
    return image, alpha


def _alpha(image: Image.Image) -> Image.Image | None:
    if image.mode.startswith(("I", "F")) or not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha if alpha.getextrema()[0] < 255 else None


def _open(path: Path) -> Image.Image:
    if path.suffix.lower() not in HEIC:
        return Image.open(path, formats=_FORMATS)
    import pillow_heif  # where it is missing, such files are left out

    photo = pillow_heif.open_heif(path)
    if photo.size[0] * photo.size[1] > 2 * Image.MAX_IMAGE_PIXELS:  # where Pillow itself stops
        raise ValueError(f"it has {photo.size[0]} x {photo.size[1]} pixels")
    return photo.to_pillow()


def bucket_for(height: int, width: int, resolution: int) -> tuple[int, int]:
    """The height and width at which an image of this shape is trained, with about resolution² pixels or fewer.

    Of all sizes in steps of resolution / 16 (a multiple of 8, the VAE's) between half and twice the resolution, the
    one whose shape comes closest to the image's.
    """
    step = max(8, resolution // 16 // 8 * 8)
    sizes = [(resolution * resolution // w // step * step, w) for w in range(resolution // 2, 2 * resolution + 1, step)]
    sizes += [(resolution, resolution)]
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0]) - math.log(width / height)))


def covering(height: int, width: int, target: tuple[int, int]) -> tuple[int, int, int, int]:
    """Height and width to which an image of this size is resized so that it just covers `target`, and the top and left
    of what is then cropped from its middle."""
    scale = max(target[0] / height, target[1] / width)
    resized_height, resized_width = max(target[0], round(height * scale)), max(target[1], round(width * scale))
    return resized_height, resized_width, (resized_height - target[0]) // 2, (resized_width - target[1]) // 2


def prepare(image: torch.Tensor, target: tuple[int, int]) -> TrainingImage:
    """Bring one image (height, width, 3) in [0, 1] to the `target` height and width.

    It is resized (Lanczos) until it just covers them, and what stands out is cropped evenly on both sides. The original
    size of the micro-conditioning is the size before resizing.
    """
    height, width = image.shape[:2]
    resized_height, resized_width, top, left = covering(height, width, target)
    resized = to_pil(image).resize((resized_width, resized_height), Image.Resampling.LANCZOS)
    cropped = resized.crop((left, top, left + target[1], top + target[0]))
    return TrainingImage(
        pixels=to_tensor(cropped).permute(2, 0, 1) * 2.0 - 1.0,
        time_ids=torch.tensor([height, width, top, left, *target], dtype=torch.float32),
    )
