"""LoRA Training Options: what the trainer can do beyond the report, all of it off unless it is switched on here."""

from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from ...files import SUFFIX, file_state
from ...training.settings import Options
from ..canvas import found_by
from ..checks import require_option, require_tensor_list, single_values
from ..sockets import TrainingOptions, TrainingOptionsSocket
from ..widgets import widget, zero_is

NONE = "none"


def safe_loras() -> list[str]:
    """The LoRAs to read. ComfyUI lists older formats too, which may carry code: only safetensors is ever read."""
    return [name for name in folder_paths.get_filename_list("loras") if name.endswith(SUFFIX)]


class TrainingOptionsNode(io.ComfyNode):
    """Options for the trainer's socket of that name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothTrainingOptions",
            display_name="LoRA Training Options",
            category="StoryBooth",
            **found_by("dreambooth", "prior preservation", "train lora"),
            description="More ways to train, for the options of the trainer. As the node stands it changes nothing.",
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "class_images",
                    display_name="class images",
                    optional=True,
                    tooltip="Pictures of other things of the same kind, such as other plush toys. They keep the model "
                    "from turning every toy into yours. Draw twenty or more with the model itself.",
                ),
                io.String.Input(
                    "class_prompt",
                    display_name="class prompt",
                    default="a plush",
                    tooltip="What the class images show: the instance prompt without the rare word.",
                ),
                widget(Options, "prior_weight"),
                io.Combo.Input(
                    "continue_from",
                    display_name="continue from",
                    options=[NONE, *safe_loras()],
                    default=NONE,
                    tooltip="A LoRA to start from instead of nothing, such as one that should look more like the "
                    "photos. It must have the same rank and layers.",
                ),
                *(widget(Options, name) for name in ("aspect_ratio_buckets", "flip", "text_dropout")),
                zero_is("the rank", widget(Options, "alpha")),
                *(widget(Options, name) for name in ("feed_forward", "optimizer", "lr_schedule", "warmup_steps")),
                *(zero_is("off", widget(Options, name)) for name in ("min_snr_gamma", "noise_offset")),
                widget(Options, "background_weight", optional=True),
                widget(Options, "method", optional=True),
                zero_is("half", widget(Options, "min_rank", optional=True)),
                *(widget(Options, name, optional=True) for name in ("rank_exponent", "initialisation")),
                *(widget(Options, name, optional=True) for name in ("own_word", "word_tokens", "word_start")),
                widget(Options, "word_rate", optional=True, round=False),
                widget(Options, "word_until", optional=True),
            ],
            outputs=[
                TrainingOptionsSocket.Output(
                    "options",
                    display_name="options",
                    tooltip="For the options of the trainer.",
                )
            ],
        )

    @classmethod
    def execute(cls, class_images: list[torch.Tensor] | None = None, **widgets: list[Any]) -> io.NodeOutput:
        # With is_input_list every input arrives as a list; all but the images hold one value.
        values = single_values(widgets)
        if class_images is not None:
            require_tensor_list("class_images", class_images, "Load Subject Images")
        class_prompt, continue_from = values.pop("class_prompt"), values.pop("continue_from")
        require_option("continue_from", continue_from, [NONE, *safe_loras()])
        lora = None if continue_from == NONE else folder_paths.get_full_path_or_raise("loras", continue_from)
        return io.NodeOutput(TrainingOptions(Options(**values), tuple(class_images or ()), class_prompt, lora))

    @classmethod
    def fingerprint_inputs(cls, continue_from: list[str | None], **_: Any) -> tuple[int, ...]:
        """Look again when the LoRA to start from has become another file."""
        name = next(iter(continue_from), None)  # None: it comes from another node
        path = folder_paths.get_full_path("loras", name) if name not in (None, NONE) else None
        return file_state(Path(path)) if path else ()
