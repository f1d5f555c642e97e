"""The inputs and outputs of Log-Normal DreamBooth LoRA Trainer."""

from comfy_api.latest import io

from ...training.presets import HELP, PRESETS, REPORT
from ...training.settings import Settings
from ..sockets import TrainingOptionsSocket
from ..widgets import rare, timestep_inputs, widget, zero_is

PRECISIONS = ("auto", "bf16", "fp16", "fp32")


def trainer_inputs() -> list[io.Input]:
    """Those of every graph; what later versions added is optional and comes last."""
    return [
        io.Model.Input(
            "model",
            display_name="model",
            tooltip="The SDXL model that learns the character. It stays as it is.",
        ),
        io.Clip.Input(
            "clip", display_name="CLIP", tooltip="Reads the captions. Use the one that belongs to the model."
        ),
        io.Vae.Input(
            "vae",
            display_name="VAE",
            tooltip="Turns the photos into what the model sees. SDXL's own overflows in fp16: wire "
            "sdxl-vae-fp16-fix on a graphics card.",
        ),
        io.Image.Input("images", display_name="images", tooltip="The photos of your character, five to ten of them."),
        io.String.Input(
            "captions",
            display_name="captions",
            optional=True,
            force_input=True,
            tooltip="What each photo shows, in the same order. The same words call the character up later.",
        ),
        io.String.Input(
            "instance_prompt",
            display_name="instance prompt",
            default="a blue sks plush",
            tooltip="The caption of photos that have none: a rare word for your character, such as sks, and "
            "what it is. Use the same words as the subject of your story.",
        ),
        widget(Settings, "steps"),
        widget(Settings, "learning_rate", round=False),
        *(widget(Settings, name) for name in ("rank", "batch_size", "gradient_accumulation", "resolution")),
        *map(rare, timestep_inputs()),
        widget(Settings, "target_layers"),
        widget(Settings, "precision", options=list(PRECISIONS), default="auto"),
        io.Boolean.Input(
            "gradient_checkpointing",
            display_name="gradient checkpointing",
            default=True,
            tooltip="Needs much less memory and about a third more time. The result is the same.",
        ),
        rare(
            io.Int.Input(
                "checkpoint_every",
                display_name="save every (steps)",
                default=50,
                min=1,
                max=1_000_000,
                tooltip="How often the state of the training is saved. After a crash, queue again: it goes on from "
                "there, and the LoRA comes out just as it would have (byte for byte on a processor).",
            )
        ),
        # Without this the canvas would change a widget of this name after each run, and train again.
        widget(Settings, "seed", control_after_generate=False),
        io.String.Input(
            "lora_name",
            display_name="LoRA name",
            default="nupjuki",
            tooltip="The name of the file in the loras folder. Folders are fine: characters/nupjuki. An "
            "existing file is never overwritten: the same run with more steps goes on from it, and one with "
            "another seed is saved beside it, as nupjuki.seed7. %digest% becomes signs made of photos and "
            "settings: other photos, other name.",
        ),
        TrainingOptionsSocket.Input(
            "options",
            display_name="options",
            optional=True,
            tooltip="More ways to train, from LoRA Training Options. Without it the training is the report's.",
        ),
        rare(
            zero_is(
                "off",
                io.Int.Input(
                    "sample_every",
                    display_name="sample every (steps)",
                    default=0,
                    min=0,
                    max=1_000_000,
                    optional=True,
                    tooltip="How often a small picture of the instance prompt is drawn and shown below. That takes as "
                    "long as learning from about ten photos and changes nothing in the LoRA. 0 is off.",
                ),
            )
        ),
        io.Mask.Input(
            "masks",
            display_name="masks",
            optional=True,
            tooltip="Where the character is on each photo: white there, black elsewhere. What is black is "
            "hardly learned: background weight of LoRA Training Options says how much. From Load Subject "
            "Images, SAM or a background remover. Without masks all of each photo is learned.",
        ),
        io.Combo.Input(
            "preset", display_name="preset", options=list(PRESETS), default=REPORT, optional=True, tooltip=HELP
        ),
    ]


def trainer_outputs() -> list[io.Output]:
    """What later versions added comes last."""
    return [
        io.Model.Output(
            "trained_model",
            display_name="model",
            tooltip="The model with the LoRA at strength 1: it knows your character.",
        ),
        io.LoraModel.Output("lora", display_name="lora", tooltip="The LoRA alone, for Save LoRA or another strength."),
        io.LossMap.Output("loss", display_name="loss", tooltip="The loss of every step, for Plot Loss Graph."),
        io.String.Output("saved_name", display_name="lora_name", tooltip="The file's name as Load LoRA lists it."),
        io.Image.Output(
            "report",
            display_name="report",
            tooltip="A picture of the run: its loss, and the timesteps it drew, for Save Image.",
        ),
        io.Clip.Output(
            "trained_clip",
            display_name="CLIP",
            tooltip="The CLIP, which now knows the own word of LoRA Training Options; without one it is as it was.",
        ),
    ]
