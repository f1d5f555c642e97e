"""Save Identity Bank and Load Identity Bank: a bank as one safetensors file in models/identity_banks."""

from pathlib import Path, PurePosixPath
from textwrap import shorten

import folder_paths
import torch
from comfy_api.latest import io

from ...consistency import bank_file
from ...consistency.bank import IdentityBank
from ...files import file_name, file_state, prepare_folder
from ..canvas import found_by, show_text, until_cancelled
from ..checks import require_bank
from ..folders import IDENTITY_BANKS, path_for
from ..sockets import CastBank, IdentityBankSocket
from .previews import shown

DIGEST, DIGITS = "%digest%", 32


class SaveIdentityBank(io.ComfyNode):
    """Writes a bank for later, so that new panels can be drawn another day without writing it again."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothSaveIdentityBank",
            display_name="Save Identity Bank",
            category="StoryBooth",
            **found_by("save bank"),
            description="Saves a bank in models/identity_banks. Nothing that is there already is replaced.",
            inputs=[
                IdentityBankSocket.Input("bank", display_name="bank", lazy=True, tooltip="From Identity Bank Writer."),
                io.String.Input(
                    "name",
                    display_name="name",
                    default="my_character",
                    tooltip="Name of the file, with folders if you like: comics/my_character. The banks of a cast "
                    "become a folder of this name. %digest% in it becomes a digest of what the bank holds: other banks "
                    "never meet under one name.",
                ),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, name: str, bank: IdentityBank | None = None) -> list[str]:
        """Look at the name first: no hours of training for a bank that cannot be saved."""
        file_name(name, "name")
        return ["bank"] if bank is None else []

    @classmethod
    def execute(cls, bank: IdentityBank | CastBank, name: str) -> io.NodeOutput:
        if isinstance(bank, CastBank):
            files = {_file(f"{name}/{who}", own): own for who, own in bank.banks.items()}
        else:
            require_bank("bank", bank)
            files = {_file(name, bank): bank}
        banks = {path_for(IDENTITY_BANKS, file): own for file, own in files.items()}
        saved = {path for path, own in banks.items() if path.exists() and _holds(path, own)}
        for path in banks:
            if path.exists() and path not in saved:
                raise FileExistsError(
                    f"name: {name} exists already and holds something else. Choose another name, or delete {path}."
                )
        for path, own in banks.items():
            if path not in saved:
                prepare_folder(path.parent)
                bank_file.save(own, path, until_cancelled)
        told = [f"{'Saved before:' if path in saved else 'Saved'} {path}" for path in banks]
        show_text(". ".join(told), cls.hidden.unique_id)
        pictures = shown(*banks.values())
        names = [str(file) for file in files]
        return io.NodeOutput(ui={**(pictures.as_dict() if pictures else {}), "storybooth_bank": names})


def _file(name: str, bank: IdentityBank) -> PurePosixPath:
    """Where a bank of this name is to lie, below models/identity_banks."""
    if DIGEST in name:
        name = name.replace(DIGEST, bank_file.digest(bank, until_cancelled)[:DIGITS])
    return file_name(name, "name")


def _holds(path: Path, bank: IdentityBank) -> bool:
    """Whether a file is a bank of the same recipe that shows the same identity images."""
    try:
        saved = bank_file.load(path, until_cancelled)
    except ValueError:  # damaged, or no bank at all
        return False
    return saved.recipe.agrees_with(bank.recipe) and torch.equal(saved.latents, bank.latents)


class LoadIdentityBank(io.ComfyNode):
    """Opens a saved bank."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothLoadIdentityBank",
            display_name="Load Identity Bank",
            category="StoryBooth",
            **found_by("load bank"),
            description="Opens a bank that Save Identity Bank wrote. It fits the model and LoRA that wrote it.",
            inputs=[
                io.Combo.Input(
                    "name",
                    display_name="name",
                    options=folder_paths.get_filename_list(IDENTITY_BANKS),
                    tooltip="A file in models/identity_banks.",
                ),
            ],
            outputs=[
                IdentityBankSocket.Output(
                    "bank", display_name="bank", tooltip="For Consistent Self-Attention Patch and Story Panel Sampler."
                )
            ],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        bank = bank_file.load(_path_of(name), until_cancelled)
        return io.NodeOutput(bank, ui=shown(bank))

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Answer for a file that is not there, before anything runs: ComfyUI would not say what to do."""
        try:
            return name is None or bool(_path_of(name))  # None: it comes from another node
        except FileNotFoundError as error:
            return str(error)

    @classmethod
    def fingerprint_inputs(cls, name: str) -> tuple[int, ...]:
        """Open the bank again when its file has become another one."""
        return file_state(_path_of(name))


def _path_of(name: str) -> Path:
    """Where the bank of this name lies. FileNotFoundError for one that is not listed."""
    listed = folder_paths.get_filename_list(IDENTITY_BANKS)
    path = folder_paths.get_full_path(IDENTITY_BANKS, name) if name in listed else None
    if path is None:
        raise FileNotFoundError(
            f"name: there is no {str(name)[:100]!r} in models/identity_banks. Press R, or write it with Save Identity "
            f"Bank. There are: {shorten(', '.join(listed), 1000) or 'none yet'}."
        )
    return Path(path)
