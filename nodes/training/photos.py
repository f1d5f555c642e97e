"""Load Subject Images: a folder of photos, their captions and subject masks."""

import logging

import torch
from comfy_api.latest import io

from ...files import file_state
from ...pixels import to_tensor
from ...training.photo_folder import read_subject
from ..canvas import found_by, show_text, until_cancelled
from ..widgets import rare
from . import photo_routes  # noqa: F401 (through which the canvas shows them)
from .photo_places import folders, path_of


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
                    options=list(folders()),
                    display_name="folder",
                    tooltip="The folder with the photos of your character. Drop photos on the node to make one, or put "
                    "one into ComfyUI's input folder and press R. Five to ten photos from different sides work well. "
                    "Sample photos come with StoryBooth.",
                ),
                rare(
                    io.String.Input(
                        "default_caption",
                        default="",
                        multiline=True,
                        display_name="default caption",
                        tooltip="The caption of photos that have none of their own in metadata.jsonl or in a .txt or "
                        ".caption file. Left empty, the trainer's instance prompt takes its place.",
                    )
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
        files = sorted(path for path in path_of(folder).iterdir() if path.is_file())
        return [(file.name, file_state(file)) for file in files]

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        """Answer for a folder that is not there, before anything runs: ComfyUI would not say what to do."""
        try:
            return folder is None or bool(path_of(folder))  # None: it comes from another node
        except ValueError as error:
            return str(error)

    @classmethod
    def execute(cls, folder: str, default_caption: str) -> io.NodeOutput:
        path = path_of(folder)
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
