"""LoRA Training Options: what the trainer can do beyond the report, all of it off unless it is switched on here."""

from pathlib import Path
from typing import Any, get_args

import folder_paths
import torch
from comfy_api.latest import io

from ...files import SUFFIX, file_state
from ...training.settings import OptimizerName, Options, Schedule
from ..checks import require_option, require_tensor_list, single_values
from ..sockets import TrainingOptions, TrainingOptionsSocket

NONE = "none"


def _loras() -> list[str]:
    """The LoRAs to start from. ComfyUI lists older formats too, which may carry code: only safetensors is ever read."""
    return [name for name in folder_paths.get_filename_list("loras") if name.endswith(SUFFIX)]


class TrainingOptionsNode(io.ComfyNode):
    """Options for the trainer's socket of that name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        default = Options()
        return io.Schema(
            node_id="StoryBoothTrainingOptions",
            display_name="LoRA Training Options",
            category="StoryBooth",
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
                io.Float.Input(
                    "prior_weight",
                    display_name="prior weight",
                    default=default.prior_weight,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much the class images count beside the photos. Higher keeps more of what the model "
                    "knew, and learns the character more slowly.",
                ),
                io.Combo.Input(
                    "continue_from",
                    display_name="continue from",
                    options=[NONE, *_loras()],
                    default=NONE,
                    tooltip="A LoRA to start from instead of nothing, such as one that should look more like the "
                    "photos. It must have the same rank and layers.",
                ),
                io.Boolean.Input(
                    "aspect_ratio_buckets",
                    display_name="aspect ratio buckets",
                    default=default.aspect_ratio_buckets,
                    tooltip="Train wide and tall photos in their own shape instead of cropping them to squares, so "
                    "that heads and feet stay in the picture.",
                ),
                io.Boolean.Input(
                    "flip",
                    display_name="horizontal flip",
                    default=default.flip,
                    tooltip="Show half of the photos mirrored. More variety; wrong for characters with writing, or "
                    "with a mark on one side only.",
                ),
                io.Float.Input(
                    "text_dropout",
                    display_name="text dropout",
                    default=default.text_dropout,
                    min=0.0,
                    max=0.99,
                    step=0.01,
                    tooltip="How often a photo is shown without its caption. 0.1 makes the character come through even "
                    "where the prompt hardly mentions it.",
                ),
                io.Float.Input(
                    "alpha",
                    display_name="alpha",
                    default=default.alpha,
                    min=0.0,
                    max=1024.0,
                    step=0.5,
                    tooltip="The LoRA is scaled by alpha / rank. 0 makes it as large as the rank; smaller values learn "
                    "more gently.",
                ),
                io.Boolean.Input(
                    "feed_forward",
                    display_name="feed-forward layers",
                    default=default.feed_forward,
                    tooltip="Train the layers behind the attention too: finer texture, a file several times as large, "
                    "and more likely to overfit.",
                ),
                io.Combo.Input(
                    "optimizer",
                    display_name="optimizer",
                    options=list(get_args(OptimizerName)),
                    default=default.optimizer,
                    tooltip="adamw_8bit needs less memory (package bitsandbytes). prodigy finds the learning rate by "
                    "itself: set that to 1 (package prodigyopt). Pictures come out much alike.",
                ),
                io.Combo.Input(
                    "lr_schedule",
                    display_name="learning rate schedule",
                    options=list(get_args(Schedule)),
                    default=default.lr_schedule,
                    tooltip="linear and cosine let the learning rate fall to 0 towards the end: the last steps refine "
                    "the picture instead of shaking it.",
                ),
                io.Int.Input(
                    "warmup_steps",
                    display_name="warm-up steps",
                    default=default.warmup_steps,
                    min=0,
                    max=100_000,
                    tooltip="Let the learning rate rise over so many steps. Helps where pictures break at the start.",
                ),
                io.Float.Input(
                    "min_snr_gamma",
                    display_name="min-SNR gamma",
                    default=default.min_snr_gamma,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Count steps with little noise less, so that composition is learned sooner than grain. 5 "
                    "is usual, 0 is off.",
                ),
                io.Float.Input(
                    "noise_offset",
                    display_name="noise offset",
                    default=default.noise_offset,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Lets pictures become darker or brighter as a whole. 0.05 is usual, 0 is off.",
                ),
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
        require_option("continue_from", continue_from, [NONE, *_loras()])
        lora = None if continue_from == NONE else folder_paths.get_full_path_or_raise("loras", continue_from)
        return io.NodeOutput(TrainingOptions(Options(**values), tuple(class_images or ()), class_prompt, lora))

    @classmethod
    def fingerprint_inputs(cls, continue_from: list[str | None], **_: Any) -> tuple[int, ...]:
        """Look again when the LoRA to start from has become another file."""
        name = next(iter(continue_from), None)  # None: it comes from another node
        path = folder_paths.get_full_path("loras", name) if name not in (None, NONE) else None
        return file_state(Path(path)) if path else ()
