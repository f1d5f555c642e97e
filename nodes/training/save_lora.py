"""Save LoRA: a copy of a trained LoRA where clients of the API can fetch it."""

import shutil
from pathlib import Path
from textwrap import shorten

import folder_paths
from comfy_api.latest import io

from .. import outputs
from ..canvas import found_by, show_text


class SaveLora(io.ComfyNode):
    """Copies a LoRA from models/loras, which the API does not serve, to the output folder, which it does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothSaveLora",
            display_name="Save LoRA",
            category="StoryBooth",
            **found_by("export lora", "download lora"),
            description="Copies a LoRA into ComfyUI's output folder, where the API and cloud workers collect files.",
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "lora_name",
                    display_name="LoRA name",
                    force_input=True,
                    tooltip="The name of a LoRA in models/loras: wire in what the trainer gives.",
                ),
                io.String.Input(
                    "filename_prefix",
                    display_name="file name",
                    default="storybooth/lora",
                    tooltip="What the copy's name begins with, below ComfyUI's output folder; a number follows.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, lora_name: str, filename_prefix: str) -> io.NodeOutput:
        prefix = outputs.checked(filename_prefix)
        listed = folder_paths.get_filename_list("loras")
        path = folder_paths.get_full_path("loras", lora_name) if lora_name in listed else None
        if path is None:
            raise FileNotFoundError(
                f"LoRA name (lora_name): there is no {str(lora_name)[:100]!r} in models/loras. Wire in the "
                f"trainer's LoRA name. There are: {shorten(', '.join(listed), 1000) or 'none yet'}."
            )
        saved = outputs.save(prefix, ".safetensors", [lambda copy: shutil.copyfile(Path(path), copy)])
        show_text(f"LoRA: {outputs.told(saved)}", cls.hidden.unique_id)
        return io.NodeOutput(ui={"images": saved})
