"""Consistent Self-Attention Patch: makes any sampler read an identity bank."""

from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..consistency.bank import IdentityBank
from ..consistency.reader import BankReader
from ..consistency.schedule import Schedule
from .checks import require_kind, require_sdxl
from .patching import with_phase
from .sockets import IdentityBankSocket
from .unet import network_of
from .widgets import schedule_inputs


class ConsistentAttention(io.ComfyNode):
    """Read phase of consistent self-attention (StoryBooth report, Eq. 4-6)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothConsistentAttention",
            display_name="Consistent Self-Attention Patch",
            category="StoryBooth",
            description="Lets every picture that this model draws look at the identity images of a bank. "
            "Works with any sampler.",
            inputs=[
                io.Model.Input(
                    "model",
                    display_name="model",
                    lazy=True,  # the bank's writer says first whether there is anything to train for
                    tooltip="The model that wrote the bank, with the same LoRA.",
                ),
                IdentityBankSocket.Input(
                    "bank", display_name="bank", tooltip="From Identity Bank Writer or Load Identity Bank."
                ),
                *schedule_inputs(),
            ],
            outputs=[
                io.Model.Output(
                    "patched_model",
                    display_name="model",
                    tooltip="For Story Panel Sampler, KSampler or any other sampler.",
                )
            ],
        )

    @classmethod
    def check_lazy_status(cls, model: ModelPatcher | None, **_: Any) -> list[str]:
        return ["model"] if model is None else []

    @classmethod
    def execute(cls, model: ModelPatcher, bank: IdentityBank, **schedule: float) -> io.NodeOutput:
        require_sdxl(model)
        require_kind("bank", bank, IdentityBank, "Identity Bank Writer or Load Identity Bank")
        require_same_network(model, bank)
        reader = BankReader(bank, Schedule(**schedule))
        if reader.schedule.never_acts(bank.recipe.steps):
            return io.NodeOutput(model.clone())
        return io.NodeOutput(with_phase(model, reader))


def require_same_network(model: ModelPatcher, bank: IdentityBank) -> None:
    """Raise ValueError where the bank was written by another network than `model`."""
    weights, lora = network_of(model)
    if weights != bank.recipe.model:
        raise ValueError(
            "bank: it was written by another model than the one on the model socket, whose features differ. Wire the "
            "checkpoint that Identity Bank Writer used, or write the bank again with this one."
        )
    if lora != bank.recipe.lora:
        raise ValueError(
            f"bank: it was written {'with' if bank.recipe.lora else 'without'} a LoRA, and the model socket carries "
            f"{'another' if lora and bank.recipe.lora else 'one' if lora else 'none'}. Wire the same LoRA, at the same "
            "strength, into Identity Bank Writer and this node."
        )
