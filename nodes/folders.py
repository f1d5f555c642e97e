"""Model folders that StoryBooth adds to ComfyUI's."""

from pathlib import Path, PurePath

import folder_paths


def register(name: str, extensions: set[str]) -> None:
    """Make `models/<name>` a model folder of ComfyUI that lists files with these extensions only.

    Paths that the user's `extra_model_paths.yaml` gives for it stay.
    """
    folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
    # ComfyUI lists every file of a folder that it did not know before.
    paths, _ = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, extensions)


def path_for(folder: str, name: PurePath) -> Path:
    """Where a file of this name is in any of the model folders of this kind, as loaders find it; else where it is to be
    made: in the first of them."""
    found = folder_paths.get_full_path(folder, str(name))
    return Path(found) if found else Path(folder_paths.get_folder_paths(folder)[0], name)


IDENTITY_BANKS = "identity_banks"

register(IDENTITY_BANKS, {".safetensors"})
register("fonts", {".ttf", ".otf", ".ttc"})
