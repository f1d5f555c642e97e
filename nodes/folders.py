"""Model folders that StoryBooth adds to ComfyUI's."""

from pathlib import Path

import folder_paths


def register(name: str, extensions: set[str]) -> None:
    """Make `models/<name>` a model folder of ComfyUI that lists files with these extensions only.

    Paths that the user's `extra_model_paths.yaml` gives for it stay.
    """
    folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
    # ComfyUI lists every file of a folder that it did not know before.
    paths, _ = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, extensions)


IDENTITY_BANKS = "identity_banks"

register(IDENTITY_BANKS, {".safetensors"})
register("fonts", {".ttf", ".otf", ".ttc"})
