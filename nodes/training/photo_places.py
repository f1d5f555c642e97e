"""Where folders of photos lie: the user's below ComfyUI's input folder, and the samples that come with the pack."""

from pathlib import Path
from textwrap import shorten

import folder_paths

from ...training.photo_folder import folder_within, image_folders

SAMPLES = Path(__file__).parents[2] / "assets" / "samples"
SAMPLES_NAME = "storybooth samples"


def folders() -> dict[str, Path]:
    """Every folder that can be chosen, by name: the user's below ComfyUI's input, then the samples of the pack.

    A workflow cannot bring files into ComfyUI's input folder, so the samples are read from where they lie.
    """
    users = Path(folder_paths.get_input_directory())
    samples = {f"{SAMPLES_NAME}/{name}": SAMPLES / name for name in image_folders(SAMPLES)}
    return samples | {name: users / name for name in image_folders(users)}


def path_of(folder: str) -> Path:
    """Where the folder of this name lies. ValueError for one that cannot be chosen."""
    known = folders()
    if folder not in list(known):  # which may be no text at all
        raise ValueError(
            f"folder: got {str(folder)[:100]!r}, which is no folder with images below ComfyUI's input folder. Put your "
            f"photos there and press R. Folders with images: {shorten(', '.join(known), 1000)}."
        )
    return known[folder]


def place_of(folder: str) -> tuple[Path, bool]:
    """Where a folder lies, and whether it is the user's own. ValueError for one that Load Subject Images has not."""
    path = folder_within(Path(folder_paths.get_input_directory()), folder)
    if path is not None:
        return path, True
    samples, _, name = folder.partition("/")
    path = folder_within(SAMPLES, name) if samples == SAMPLES_NAME else None
    if path is None:
        raise ValueError(f"folder: got {folder[:100]!r}, which is no folder below ComfyUI's input folder.")
    return path, False
