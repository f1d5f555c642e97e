"""Identity Bank Hook: lets single prompts read an identity bank, such as a character's in its part of the picture."""

from typing import Any

from comfy.hooks import HookGroup
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...consistency.bank import IdentityBank
from ...consistency.subject import READERS
from ..canvas import found_by
from ..checks import require_bank, require_option, require_same_network, require_sdxl
from ..sockets import IdentityBankSocket
from ..widgets import later_schedule_inputs, schedule_inputs
from .keeping import readers_input, say_if_early, say_if_unseen
from .patching import hooks_for
from .reading import reader_of, require_of_writer, say_if_unread


class BankHook(io.ComfyNode):
    """Read phase of consistent self-attention for the conditionings that carry this hook, and no others."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothBankHook",
            display_name="Identity Bank Hook",
            category="StoryBooth",
            **found_by("two characters", "regional character", "consistent character"),
            description="Lets only some prompts look at the identity images of a bank: one character on the left, "
            "another on the right. Attach it with Cond Pair Set Props.",
            inputs=[
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
                io.Hooks.Output(
                    "hooks",
                    display_name="hooks",
                    tooltip="For Cond Pair Set Props, with the positive and negative prompt of the character's part. "
                    "The sampler takes the model that wrote the bank, without Consistent Self-Attention Patch.",
                )
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def check_lazy_status(
        cls, bank: IdentityBank | None = None, readers: str = "everyone", **schedule: Any
    ) -> list[str]:
        """Look at the widgets, here and on the bank's writer, before anything is trained or written for it."""
        require_option("readers", readers, READERS)
        if bank is not None:
            return []
        require_of_writer(cls.hidden, schedule)
        return ["bank"]

    @classmethod
    def execute(cls, bank: IdentityBank, readers: str = "everyone", **schedule: Any) -> io.NodeOutput:
        require_bank("bank", bank)
        require_option("readers", readers, READERS)
        reader = reader_of(bank, schedule, readers)
        if say_if_unread(reader, cls.hidden):
            return io.NodeOutput(HookGroup())
        say_if_early(reader, cls.hidden.unique_id)

        def check(model: ModelPatcher) -> None:
            require_sdxl(model)
            require_same_network(model, bank)

        return io.NodeOutput(hooks_for(reader, check, say_if_unseen(cls.hidden.unique_id, "Identity Bank Hook")))
