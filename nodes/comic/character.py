"""Character: one of those who play in a story."""

import math
from pathlib import Path
from typing import Any

import folder_paths
import safetensors
import safetensors.torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...comic.cast import check_cast
from ...consistency.bank import IdentityBank
from ...files import file_state
from ...texts import check_text
from ...training.tlora_kind import Kind
from ..canvas import found_by
from ..checks import require_bank, require_cast, require_option, require_sdxl
from ..sockets import CastSocket, Character, IdentityBankSocket, LoraFile
from ..training.options import NONE as NO_LORA
from ..training.options import safe_loras


class CharacterNode(io.ComfyNode):
    """A `Character`, behind those that come before it in the cast."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothCharacter",
            display_name="Character",
            category="StoryBooth",
            **found_by("cast", "two characters", "several characters", "regional character"),
            description="One of the characters of a story: a name for the script, and how it looks. Chain one for each "
            "into cast, and the last into Storyboard.",
            inputs=[
                io.String.Input(
                    "name",
                    display_name="name",
                    default="nupjuki",
                    tooltip="What the script calls it, in braces: {nupjuki}. One word.",
                ),
                io.String.Input(
                    "subject",
                    display_name="subject",
                    default="a blue sks plush",
                    tooltip="What stands for it in the prompts: the words that its LoRA was trained with.",
                ),
                io.Model.Input(
                    "model",
                    display_name="model",
                    optional=True,
                    tooltip="From the character's trainer or a LoRA loader: the story's checkpoint with the "
                    "character's LoRA. Of this model only LoRAs count.",
                ),
                io.Combo.Input(
                    "lora_name",
                    display_name="LoRA name",
                    options=[NO_LORA, *safe_loras()],
                    default=NO_LORA,
                    optional=True,
                    tooltip="A trained LoRA instead of a model.",
                ),
                io.Float.Input(
                    "strength",
                    display_name="strength",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.01,
                    optional=True,
                    tooltip="How strongly the LoRA of that name changes the model. 1 is as trained.",
                ),
                IdentityBankSocket.Input(
                    "bank",
                    display_name="bank",
                    optional=True,
                    tooltip="The character's bank of another day, from Load Identity Bank. Without it Identity Bank "
                    "Writer draws the [id] lines that show the character.",
                ),
                CastSocket.Input("cast", display_name="cast", optional=True, tooltip="The characters before this one."),
            ],
            outputs=[
                CastSocket.Output(
                    "cast_so_far", display_name="cast", tooltip="For the next Character, or for Storyboard."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        subject: str,
        model: ModelPatcher | None = None,
        lora_name: str = NO_LORA,
        strength: float = 1.0,
        bank: IdentityBank | None = None,
        cast: tuple[Character, ...] | None = None,
    ) -> io.NodeOutput:
        cast = require_cast(cast)
        _check_subject(subject)
        if model is not None:
            require_sdxl(model)
            if lora_name != NO_LORA:
                raise ValueError(
                    f"LoRA name (lora_name): got {lora_name}, but a model is wired in, too, and has the character's "
                    f"LoRA already. Set it to {NO_LORA}, or disconnect the model."
                )
        if bank is not None:
            require_bank("bank", bank)
        lora = None if lora_name == NO_LORA else _lora(lora_name, strength)
        characters = (*cast, Character(name.strip(), subject.strip(), model, lora, bank))
        check_cast([character.role for character in characters])
        _require_one_model(characters)
        return io.NodeOutput(characters)

    @classmethod
    def validate_inputs(cls, lora_name: str | None = None) -> bool | str:
        """Answer for a LoRA that is not there, before anything runs: ComfyUI would not say what to do."""
        if lora_name in (None, NO_LORA, *safe_loras()):  # None: it comes from another node
            return True
        return (
            f"LoRA name (lora_name): there is no {str(lora_name)[:100]!r} in models/loras. Press R if you have just "
            "put it there, or choose another."
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: Any) -> tuple[int, ...]:
        """Look again when the LoRA has become another file."""
        path = folder_paths.get_full_path("loras", lora_name) if lora_name not in (None, NO_LORA) else None
        return file_state(Path(path)) if path else ()


def _check_subject(subject: str) -> None:
    try:
        check_text(subject)
    except ValueError as error:
        raise ValueError(f"subject: {error}") from None
    if not subject.strip():
        raise ValueError("subject: it is empty. Say what stands for the character in prompts: a blue sks plush.")
    if set(subject) & set("{}|"):
        raise ValueError("subject: it has braces or a bar, which mean something in a script. Write plain words.")


def _lora(name: str, strength: float) -> LoraFile:
    """The LoRA's file. ValueError where it is not there or cannot be read."""
    require_option("LoRA name (lora_name)", name, [NO_LORA, *safe_loras()])
    if not math.isfinite(strength):
        raise ValueError(f"strength: got {strength}, expected a finite number such as 1.")
    path = folder_paths.get_full_path_or_raise("loras", name)
    try:
        with safetensors.safe_open(path, "pt") as file:
            kind = Kind.of_file(file.metadata() or {})
        return LoraFile(name, safetensors.torch.load_file(path), strength, kind)
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise ValueError(
            f"LoRA name (lora_name): {name} cannot be read as a LoRA ({error}). Choose another file."
        ) from error


def _require_one_model(cast: tuple[Character, ...]) -> None:
    """Raise ValueError where banks that characters bring were written by different checkpoints."""
    banks = {character.name: character.bank.recipe.model for character in cast if character.bank is not None}
    first = next(iter(banks), None)
    if other := next((name for name, model in banks.items() if model != banks[first]), None):
        raise ValueError(
            f"bank: that of {other} was written by another checkpoint than that of {first}, and one model draws the "
            f"whole cast. Write both with the same checkpoint, or disconnect one of them."
        )
