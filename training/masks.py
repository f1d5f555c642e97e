"""Subject masks: the loss counts where the character is, so that the photos' table and lamp are not learned.

    m (h, w)   the subject's share of each latent pixel: the mean of 8 by 8 pixels of the mask, resized and cropped as
               its photo is
    u          background_weight + (1 − background_weight) · m
    weight     u / mean(u), the mean over this picture's own pixels

So the mean weight of every picture is 1 (to fp32): a small subject counts as much as a large one, and a learning rate
means what it means without masks. Other trainers call this masked loss or masked training.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from .colours import to_srgb
from .images import covering

_ROUNDING = 1e-3
"""How far a mask may reach beyond 0 and 1."""


def open_mask(path: Path, size: tuple[int, int]) -> Image.Image:
    """A mask file as mode L, 255 where the subject is. What is transparent in it is no subject.

    `size`: width and height of its photo, upright. Raises ValueError naming the file if it cannot be read, is of
    another size or is black all over.
    """
    try:
        with Image.open(path, formats=["PNG"]) as file:
            image = ImageOps.exif_transpose(file)
            image.format = file.format
            if not image.mode.startswith(("I", "F")) and image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")
            mask = to_srgb(image, path.name).convert("L")
    except Exception as error:  # of damaged files decoders raise almost anything
        raise ValueError(f"{path.name} cannot be read as a mask ({error}). Save it anew, or take it out.") from error
    if mask.size != size:
        raise ValueError(
            f"{path.name} is {mask.width}x{mask.height} pixels, and its photo {size[0]}x{size[1]} when it is upright. "
            "Save the mask in the size of the photo, or take it out."
        )
    if mask.getextrema()[1] == 0:
        raise ValueError(
            f"{path.name} is black all over, so that nothing of its photo would be learned. Paint the subject white, "
            "or take the mask out."
        )
    return mask


def subject_masks(masks: Sequence[torch.Tensor], images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Masks (height, width) in [0, 1] as a run takes them: one for each of `images` (height, width, 3), or none at all
    where every photo is subject all over, which is what no masks mean.

    Raises ValueError naming `masks` where their number or a size does not fit, or one is empty or not in [0, 1].
    """
    if len(masks) != len(images):
        raise ValueError(
            f"masks: got {len(masks)} for {len(images)} images. Expected one for each, in the same order: wire the "
            "masks of the node that the images come from."
        )
    for number, (mask, image) in enumerate(zip(masks, images, strict=True), 1):
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"masks: mask {number} is {mask.shape[1]}x{mask.shape[0]} pixels, and its photo "
                f"{image.shape[1]}x{image.shape[0]}. Make it from the very photo that is wired into images. (Load "
                "Image gives a mask of 64x64 pixels where its picture has no alpha channel.)"
            )
        low, high = mask.aminmax()
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # so NaN is refused too
            raise ValueError(
                f"masks: mask {number} has numbers from {low:g} to {high:g}, expected 0 (background) to 1 (subject). "
                "Put Threshold Mask behind the node that it comes from."
            )
        if high <= 0:
            raise ValueError(
                f"masks: mask {number} is empty, so that nothing of its photo would be learned. White (1) is the "
                "subject: put Invert Mask in between if it is black, or take this photo out."
            )
    whole = all(bool((mask == 1).all()) for mask in masks)
    return [] if whole else [mask.float().clamp(0, 1) for mask in masks]


def latent_weights(
    mask: torch.Tensor, target: tuple[int, int], background_weight: float, number: int = 1
) -> torch.Tensor:
    """The loss weight of each latent pixel, (h, w) with mean 1, of a photo that is trained at the `target` height and
    width, from its mask (height, width) in [0, 1].

    Raises ValueError naming `masks` and the photo's `number` where the subject is cropped away.
    """
    height, width, top, left = covering(*mask.shape, target)
    resized = Image.fromarray(mask.numpy(force=True).astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    cropped = np.asarray(resized.crop((left, top, left + target[1], top + target[0])), np.float64)
    inside = cropped.reshape(target[0] // 8, 8, target[1] // 8, 8).mean(axis=(1, 3)).clip(0, 1)
    if not inside.any():
        raise ValueError(
            f"masks: of photo {number} the subject is cropped away: it lies outside of the middle "
            f"{target[1]}x{target[0]} pixels that are trained. Turn on aspect ratio buckets, or crop the photo "
            "yourself."
        )
    weights = background_weight + (1 - background_weight) * inside
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))
