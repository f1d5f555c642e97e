"""T-LoRA Loader: a T-LoRA's file on a MODEL, with its ranks masked by the sampler's timestep."""

import math
from pathlib import Path
from typing import Any

import folder_paths
import safetensors
import safetensors.torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...files import file_state
from ...training.tlora_kind import LOADER, Kind
from ..canvas import found_by
from ..checks import require_option, require_sdxl
from ..tlora import with_tlora
from .options import safe_loras


class TLoraLoader(io.ComfyNode):
    """As ComfyUI's Load LoRA for a model alone, but for T-LoRAs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothTLoraLoader",
            display_name=LOADER,
            category="StoryBooth",
            **found_by("tlora", "timestep lora", "load lora"),
            description="Loads a T-LoRA as it was trained: fewer of its ranks act while a picture is mostly noise, so "
            "that its layout follows the prompt rather than the photos. Load LoRA loads the same file unmasked.",
            inputs=[
                io.Model.Input(
                    "model", display_name="model", tooltip="The SDXL model that the T-LoRA was trained on, or its kin."
                ),
                io.Combo.Input(
                    "lora_name",
                    display_name="LoRA name",
                    options=safe_loras(),
                    tooltip="A file that the trainer has made with the method T-LoRA.",
                ),
                io.Float.Input(
                    "strength",
                    display_name="strength",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.01,
                    tooltip="How strongly it changes the model. 1 is as trained; less is less like the photos.",
                ),
            ],
            outputs=[
                io.Model.Output("patched_model", display_name="model", tooltip="The model with the T-LoRA on it.")
            ],
        )

    @classmethod
    def execute(cls, model: ModelPatcher, lora_name: str, strength: float) -> io.NodeOutput:
        require_sdxl(model)
        require_option("LoRA name (lora_name)", lora_name, safe_loras())
        if not math.isfinite(strength):
            raise ValueError(f"strength: got {strength}, expected a finite number such as 1.")
        path = Path(folder_paths.get_full_path_or_raise("loras", lora_name))
        try:
            with safetensors.safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
            tensors = safetensors.torch.load_file(path)
            kind = Kind.of_file(metadata)
        except (OSError, safetensors.SafetensorError, ValueError) as error:
            raise ValueError(
                f"LoRA name (lora_name): {lora_name} cannot be read as a T-LoRA ({error}). Choose another file."
            ) from error
        if kind is None:
            raise ValueError(
                f"LoRA name (lora_name): {lora_name} is not a T-LoRA, or has lost the metadata that say so (Save LoRA "
                "Weights leaves them out). Load it with Load LoRA, or choose a file that the trainer made by T-LoRA."
            )
        return io.NodeOutput(with_tlora(model, tensors, kind, strength) if strength else model)

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None, **_: Any) -> tuple[int, ...]:
        """Look again when the file has become another one."""
        path = folder_paths.get_full_path("loras", lora_name) if lora_name else None
        return file_state(Path(path)) if path else ()
