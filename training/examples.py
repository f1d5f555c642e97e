"""Photos and captions, and what becomes of them: encoded examples to train on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from .images import bucket_for, prepare
from .masks import latent_weights
from .settings import Settings

Posterior = tuple[torch.Tensor, torch.Tensor]
"""Mean and standard deviation (4, h, w) of the VAE's posterior, times its scaling factor."""


@dataclass(frozen=True)
class Example:
    """One captioned image, encoded.

    `latent_mean` and `latent_std` (4, h, w): the VAE's posterior, times its scaling factor. `text` (tokens, width):
    both text encoders' penultimate states; `pooled` (width,). `time_ids` (6,): SDXL's micro-conditioning in pixels.
    `mirror`: the same image mirrored, where the horizontal flip is on. `weights` (h, w): how much each latent pixel
    counts in the loss, with mean 1; None where all count alike. `caption` is what `text` and `pooled` were made of.
    """

    latent_mean: torch.Tensor
    latent_std: torch.Tensor
    text: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor
    mirror: "Example | None" = None
    weights: torch.Tensor | None = None
    caption: str = ""


@dataclass(frozen=True)
class Photos:
    """What a run learns from: `images` of the character with a caption each, and pictures of its class, which share one
    prompt. All images are (height, width, 3) in [0, 1]. `masks` (height, width), 1 where the character is: one for each
    of `images`, or none at all."""

    images: Sequence[torch.Tensor]
    captions: Sequence[str]
    class_images: Sequence[torch.Tensor] = ()
    class_prompt: str = ""
    masks: Sequence[torch.Tensor] = ()

    def __post_init__(self) -> None:
        """Raise ValueError naming `class_prompt` where class images come without words, which would keep nothing."""
        if len(self.class_images) and not self.class_prompt.strip():
            raise ValueError(
                "class_prompt: it is empty, and there are class images. Say what they show: the instance prompt "
                "without its rare word, such as a plush."
            )

    def captioned(self) -> list[tuple[torch.Tensor, str]]:
        """Every image with its caption, those of the class last."""
        own = list(zip(self.images, self.captions, strict=True))
        return own + [(image, self.class_prompt) for image in self.class_images]


@dataclass(frozen=True)
class Examples:
    """`Photos`, encoded."""

    own: Sequence[Example]
    of_class: Sequence[Example] = ()


def encode_photos(
    photos: Photos,
    settings: Settings,
    encode_text: Callable[[str], tuple[torch.Tensor, torch.Tensor]],
    posterior: Callable[[torch.Tensor, int], Posterior],
    watch: Callable[[list[tuple[torch.Tensor, str]]], Iterable[tuple[torch.Tensor, str]]] = iter,
) -> Examples:
    """Encode all photos: each caption once, then one image after another, which `watch` passes on.

    `encode_text(caption)` gives states (tokens, width) and pooled text (width,); `posterior(pixels, index)` is asked
    about pixels (3, H, W) in [−1, 1] of the image with that index.
    """
    captioned = photos.captioned()
    weights: list[torch.Tensor | None] = [None] * len(captioned)
    for index, mask in enumerate(photos.masks):
        target = target_size(photos.images[index], settings)
        weights[index] = latent_weights(mask, target, settings.options.background_weight, index + 1)
    texts = {caption: encode_text(caption) for caption in dict.fromkeys(caption for _, caption in captioned)}
    encoded = [
        encode_image(image, *texts[caption], settings, partial(posterior, index=index), weights[index], caption)
        for index, (image, caption) in enumerate(watch(captioned))
    ]
    return Examples(encoded[: len(photos.images)], encoded[len(photos.images) :])


def encode_image(
    image: torch.Tensor,
    text: torch.Tensor,
    pooled: torch.Tensor,
    settings: Settings,
    posterior: Callable[[torch.Tensor], Posterior],
    weights: torch.Tensor | None = None,
    caption: str = "",
) -> Example:
    """Encode one image (height, width, 3) in [0, 1], as a square or in its bucket; mirrored as well with the flip on.

    `posterior` is asked about pixels (3, H, W) in [−1, 1]. `weights` (h, w) and `caption` are the example's.
    """
    prepared = prepare(image, target_size(image, settings))
    mirror = None
    if settings.options.flip:
        of_mirror = None if weights is None else weights.flip(-1)
        mirrored = posterior(prepared.pixels.flip(-1))
        mirror = Example(*mirrored, text, pooled, prepared.time_ids, weights=of_mirror, caption=caption)
    return Example(*posterior(prepared.pixels), text, pooled, prepared.time_ids, mirror, weights, caption)


def target_size(image: torch.Tensor, settings: Settings) -> tuple[int, int]:
    """The height and width at which an image (height, width, 3) is trained: those of a square, or of its bucket."""
    if settings.options.aspect_ratio_buckets:
        return bucket_for(*image.shape[:2], settings.resolution)
    return settings.resolution, settings.resolution
