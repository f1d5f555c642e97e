"""An image and its encoded caption as an example to train on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .images import bucket_for, prepare
from .settings import Settings

Posterior = tuple[torch.Tensor, torch.Tensor]
"""Mean and standard deviation (4, h, w) of the VAE's posterior, times its scaling factor."""


@dataclass(frozen=True)
class Example:
    """One captioned image, encoded.

    `latent_mean` and `latent_std` (4, h, w): the VAE's posterior, times its scaling factor. `text` (tokens, width):
    both text encoders' penultimate states; `pooled` (width,). `time_ids` (6,): SDXL's micro-conditioning in pixels.
    `mirror`: the same image mirrored, where the horizontal flip is on.
    """

    latent_mean: torch.Tensor
    latent_std: torch.Tensor
    text: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor
    mirror: "Example | None" = None


def encode_image(
    image: torch.Tensor,
    text: torch.Tensor,
    pooled: torch.Tensor,
    settings: Settings,
    posterior: Callable[[torch.Tensor], Posterior],
) -> Example:
    """Encode one image (height, width, 3) in [0, 1], as a square or in its bucket; mirrored as well with the flip on.

    `posterior` is asked about pixels (3, H, W) in [−1, 1].
    """
    prepared = prepare(image, target_size(image, settings))
    mirror = None
    if settings.options.flip:
        mirror = Example(*posterior(prepared.pixels.flip(-1)), text, pooled, prepared.time_ids)
    return Example(*posterior(prepared.pixels), text, pooled, prepared.time_ids, mirror)


def target_size(image: torch.Tensor, settings: Settings) -> tuple[int, int]:
    """The height and width at which an image (height, width, 3) is trained: those of a square, or of its bucket."""
    if settings.options.aspect_ratio_buckets:
        return bucket_for(*image.shape[:2], settings.resolution)
    return settings.resolution, settings.resolution
