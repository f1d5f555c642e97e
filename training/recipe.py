"""All that determines a run's result, as plain values: what its files carry, and what finds them again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..fingerprint import fingerprint
from .examples import Photos
from .settings import TEXTUAL_INVERSION, Settings
from .starting_lora import read_lora

DIGEST = "%digest%"

Recipe = Mapping[str, Any]
"""A run's settings, and fingerprints of models, images and captions."""


def make_recipe(
    settings: Settings,
    models: Mapping[str, str],
    photos: Photos,
    continue_from: Path | None = None,
) -> Recipe:
    """The recipe of a run. `models`: fingerprints of model, clip and vae, of an embedding that an own word begins as,
    and what the model predicts.

    Raises ValueError naming `continue_from` if that file cannot be read, and, where no LoRA is learned, if there is one
    to go on from, or `class_images`.
    """
    if len(photos.class_images) and settings.options.method == TEXTUAL_INVERSION:
        raise ValueError(
            f"class_images: {TEXTUAL_INVERSION} leaves the model as it is, so that there is nothing for them to keep. "
            "Take their wire off, or choose another method."
        )
    if continue_from and settings.options.method == TEXTUAL_INVERSION:
        raise ValueError(
            f"continue_from: {TEXTUAL_INVERSION} learns a word and no LoRA. Choose none, or another method. To learn a "
            "word upon a LoRA, load that with Load LoRA before the trainer; to go on from a word, write embedding: and "
            "its name into word starts as."
        )
    told = settings.recipe()
    if not photos.masks:  # then it means nothing
        told.pop("background_weight", None)
    return {
        **told,
        **models,
        "images": fingerprint(photos.images, samples=None),
        "captions": fingerprint(photos.captions),
        **(
            {"class_images": fingerprint([list(photos.class_images), photos.class_prompt], None)}
            if photos.class_images
            else {}
        ),
        **({"masks": fingerprint(photos.masks, samples=None)} if photos.masks else {}),
        **({"continue_from": _of_file(continue_from)} if continue_from else {}),
    }


def name_of(lora_name: str, recipe: Recipe) -> str:
    """`lora_name` with `%digest%` in it replaced by twelve signs made of the recipe.

    Other photos, captions, models or settings give another name; more steps, or another seed, do not: the same run may
    go on, and of other seeds a file's name tells otherwise (`RunFiles.beside_another_seed`).
    """
    lasting = sorted((name, repr(value)) for name, value in recipe.items() if name not in ("steps", "seed"))
    return lora_name.replace(DIGEST, fingerprint(lasting)[:12])


def _of_file(path: Path) -> str:
    """A digest of a LoRA file by its tensors; its name and metadata do not count."""
    return fingerprint(sorted(read_lora(path)[0].items()), samples=None)
