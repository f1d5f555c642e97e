"""Load Subject Images: a folder of photos, their captions and subject masks."""

import logging
from pathlib import Path
from textwrap import shorten

import folder_paths
import torch
from comfy_api.latest import io

from ...files import file_state
from ...pixels import to_tensor
from ...training.photo_folder import image_folders, read_subject
from ..canvas import found_by, show_text, until_cancelled

_SAMPLES = Path(__file__).parents[2] / "assets" / "samples"


def _folders() -> dict[str, Path]:
    """Every folder that can be chosen, by name: the user's below ComfyUI's input, then the samples of the pack.

    A workflow cannot bring files into ComfyUI's input folder, so the samples are read from where they lie.
    """
    users = Path(folder_paths.get_input_directory())
    samples = {f"storybooth samples/{name}": _SAMPLES / name for name in image_folders(_SAMPLES)}
    return samples | {name: users / name for name in image_folders(users)}


def _path_of(folder: str) -> Path:
    """Where the folder of this name lies. ValueError for one that cannot be chosen."""
    folders = _folders()
    if folder not in list(folders):  # which may be no text at all
        raise ValueError(
            f"folder: got {str(folder)[:100]!r}, which is no folder with images below ComfyUI's input folder. Put your "
            f"photos there and press R. Folders with images: {shorten(', '.join(folders), 1000)}."
        )
    return folders[folder]


class SubjectImages(io.ComfyNode):
    """Load every photo of a folder in its own size, upright, with its caption."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothSubjectImages",
            display_name="Load Subject Images",
            category="StoryBooth",
            **found_by("load photos", "load images from folder", "dataset"),
            description="Loads the photos of your character and their captions from one of ComfyUI's input folders.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=list(_folders()),
                    display_name="folder",
                    tooltip="The folder with the photos of your character. Put it into ComfyUI's input folder, then "
                    "press R to see it here. Five to ten photos from different sides work well. Sample photos "
                    "come with StoryBooth.",
                ),
                io.String.Input(
                    "default_caption",
                    default="",
                    multiline=True,
                    display_name="default caption",
                    tooltip="The caption of photos that have none of their own in metadata.jsonl or in a .txt or "
                    ".caption file. Left empty, the trainer's instance prompt takes its place.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images",
                    display_name="images",
                    is_output_list=True,
                    tooltip="The photos one by one, each upright and in its own size: what the character looks like.",
                ),
                io.String.Output(
                    "captions",
                    display_name="captions",
                    is_output_list=True,
                    tooltip="One caption for each photo: the words that will call the character up.",
                ),
                io.Mask.Output(
                    "masks",
                    display_name="masks",
                    is_output_list=True,
                    tooltip="One mask for each photo, white where the character is: from NAME.mask.png beside it, or "
                    "from its alpha channel. A photo that has neither is white all over.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str, default_caption: str) -> list[tuple[str, tuple[int, ...]]]:
        """Tell ComfyUI to read the folder again when a file in it was added, removed or changed."""
        files = sorted(path for path in _path_of(folder).iterdir() if path.is_file())
        return [(file.name, file_state(file)) for file in files]

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        """Answer for a folder that is not there, before anything runs: ComfyUI would not say what to do."""
        try:
            return folder is None or bool(_path_of(folder))  # None: it comes from another node
        except ValueError as error:
            return str(error)

    @classmethod
    def execute(cls, folder: str, default_caption: str) -> io.NodeOutput:
        path = _path_of(folder)
        try:
            subject = read_subject(path, default_caption.strip(), until_cancelled)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"folder {folder!r}: {error}") from error
        show_text(subject.told, cls.hidden.unique_id)
        logging.info("StoryBooth: folder %s: %s", folder, subject.told)
        images = [to_tensor(image).unsqueeze(0) for image in subject.photos]
        masks = [
            torch.ones(image.shape[:3]) if mask is None else to_tensor(mask).unsqueeze(0)
            for image, mask in zip(images, subject.masks, strict=True)
        ]
        return io.NodeOutput(images, subject.captions, masks)
