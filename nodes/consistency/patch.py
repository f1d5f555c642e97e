"""Consistent Self-Attention Patch: makes any sampler read an identity bank."""

from collections.abc import Mapping
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...consistency.bank import IdentityBank
from ...consistency.reader import BankReader
from ...consistency.subject import READERS
from ..canvas import found_by
from ..checks import require_bank, require_option, require_same_network, require_same_weights, require_sdxl
from ..sockets import CastBank, IdentityBankSocket
from ..widgets import later_schedule_inputs, schedule_inputs
from .cast_reading import CastReading, with_cast
from .keeping import readers_input, say_if_early, say_if_unseen
from .patching import with_phase
from .reading import reader_of, require_of_writer, say_if_unread


class ConsistentAttention(io.ComfyNode):
    """Read phase of consistent self-attention: every panel also looks at the bank's tokens (consistency/reader.py)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothConsistentAttention",
            display_name="Consistent Self-Attention Patch",
            category="StoryBooth",
            **found_by("storydiffusion", "consistent character", "paired attention"),
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
                    "bank",
                    display_name="bank",
                    lazy=True,
                    tooltip="From Identity Bank Writer or Load Identity Bank.",
                ),
                *schedule_inputs(),
                readers_input(),
                *later_schedule_inputs(),
            ],
            outputs=[
                io.Model.Output(
                    "patched_model",
                    display_name="model",
                    tooltip="For Story Panel Sampler, KSampler or any other sampler.",
                )
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def check_lazy_status(
        cls,
        bank: IdentityBank | None = None,
        model: ModelPatcher | None = None,
        readers: str = "everyone",
        **schedule: Any,
    ) -> list[str]:
        """First the widgets, here and on the bank's writer, then the bank, then what may have to be trained."""
        require_option("readers", readers, READERS)
        if bank is None:
            require_of_writer(cls.hidden, schedule)
            return ["bank"]
        _readers_of(bank, schedule, readers)
        return ["model"] if model is None else []

    @classmethod
    def execute(
        cls, model: ModelPatcher, bank: IdentityBank | CastBank, readers: str = "everyone", **schedule: Any
    ) -> io.NodeOutput:
        require_option("readers", readers, READERS)
        require_sdxl(model)
        found = _readers_of(bank, schedule, readers)
        for reader in found.values():
            require_same_weights(model, reader.bank)
        reader = next(iter(found.values()))
        if say_if_unread(reader, cls.hidden):
            return io.NodeOutput(model.clone())
        say_if_early(reader, cls.hidden.unique_id)
        told = say_if_unseen(cls.hidden.unique_id, "Consistent Self-Attention Patch")
        if isinstance(bank, CastBank):
            return io.NodeOutput(with_cast(model, CastReading(found, told)))
        # Nodes behind this one can still change the network, so it is looked at when sampling begins.
        return io.NodeOutput(
            with_phase(
                model,
                reader,
                lambda sampled: require_same_network(sampled, bank),
                told,
            )
        )


def _readers_of(bank: Any, schedule: Mapping[str, Any], readers: str) -> dict[str, BankReader]:
    """What reads a bank, or each of a cast's by name. ValueError where that asks for more than it holds."""
    if isinstance(bank, CastBank):
        return {name: reader_of(own, schedule, readers) for name, own in bank.banks.items()}
    require_bank("bank", bank)
    return {"": reader_of(bank, schedule, readers)}
