"""Log-Normal DreamBooth LoRA Trainer: teach a MODEL a character from a few photos."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...files import file_name, file_state
from ...pixels import to_tensor
from ...training.report import draw_report
from ...training.settings import Settings
from ...training.tlora_kind import Kind
from ..canvas import SHOWN_WHEN_CACHED, found_by, show_text, until_cancelled
from ..checks import require_kind, require_option, require_sdxl, require_sdxl_vae, single_values
from ..folders import path_for
from ..sockets import TrainingOptions, TrainingOptionsSocket
from ..tlora import with_tlora
from ..widgets import RARE, timestep_inputs, widget, zero_is
from .view import TrainingView

PRECISIONS = ("auto", "bf16", "fp16", "fp32")

_outdated: Counter[str | None] = Counter()
"""By LoRA name, how often what the node gave is no longer what it would give: its training was stopped and kept, or its
file was deleted or replaced. None counts them all, for a name that comes from another node."""

_saved: dict[str, tuple[Path, tuple[int, ...]]] = {}
"""By LoRA name, the file that the node gave last, and the state it was in."""


def _note_outdated(lora_name: str) -> None:
    _outdated.update([lora_name, None])
    _saved.pop(lora_name, None)


class LoraTrainer(io.ComfyNode):
    """Train a LoRA by DreamBooth, save it where LoraLoader finds it, and hand out the MODEL with it applied."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StoryBoothLoraTrainer",
            display_name="Log-Normal DreamBooth LoRA Trainer",
            category="StoryBooth",
            **found_by("dreambooth", "train lora", "character lora", "consistent character"),
            description="Teaches the model your character from a few photos and saves what it learned as a LoRA. "
            "A run that was stopped goes on where it was; one that is in the loras folder is not trained again.",
            is_input_list=True,
            inputs=[
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
                io.Image.Input(
                    "images", display_name="images", tooltip="The photos of your character, five to ten of them."
                ),
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
                widget(Settings, "rank"),
                *(widget(Settings, name, **RARE) for name in ("batch_size", "gradient_accumulation")),
                widget(Settings, "resolution"),
                *timestep_inputs(**RARE),
                widget(Settings, "target_layers", **RARE),
                widget(Settings, "precision", options=list(PRECISIONS), default="auto", **RARE),
                io.Boolean.Input(
                    "gradient_checkpointing",
                    display_name="gradient checkpointing",
                    default=True,
                    tooltip="Needs much less memory and about a third more time. The result is the same.",
                ),
                io.Int.Input(
                    "checkpoint_every",
                    display_name="save every (steps)",
                    default=50,
                    min=1,
                    max=1_000_000,
                    tooltip="How often the state of the training is saved. After a crash, queue again: it goes on from "
                    "there, and the LoRA comes out just as it would have (byte for byte on a processor).",
                    **RARE,
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
                io.Int.Input(
                    "sample_every",
                    display_name="sample every (steps)",
                    default=0,
                    min=0,
                    max=1_000_000,
                    optional=True,
                    tooltip="How often a small picture of the instance prompt is drawn and shown below. That takes as "
                    "long as learning from about ten photos and changes nothing in the LoRA. 0 is off.",
                    **zero_is("off"),
                    **RARE,
                ),
                io.Mask.Input(
                    "masks",
                    display_name="masks",
                    optional=True,
                    tooltip="Where the character is on each photo: white there, black elsewhere. What is black is "
                    "hardly learned: background weight of LoRA Training Options says how much. From Load Subject "
                    "Images, SAM or a background remover. Without masks all of each photo is learned.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "trained_model",
                    display_name="model",
                    tooltip="The model with the LoRA at strength 1: it knows your character.",
                ),
                io.LoraModel.Output(
                    "lora", display_name="lora", tooltip="The LoRA alone, for Save LoRA or another strength."
                ),
                io.LossMap.Output("loss", display_name="loss", tooltip="The loss of every step, for Plot Loss Graph."),
                io.String.Output(
                    "saved_name", display_name="lora_name", tooltip="The file's name as Load LoRA lists it."
                ),
                io.Image.Output(
                    "report",
                    display_name="report",
                    tooltip="A picture of the run: its loss, and the timesteps it drew, for Save Image.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            **SHOWN_WHEN_CACHED,
        )

    @classmethod
    def execute(
        cls,
        images: list[torch.Tensor],
        captions: list[str] | None = None,
        masks: list[torch.Tensor] | None = None,
        **widgets: list[Any],
    ) -> io.NodeOutput:
        # With is_input_list every input arrives as a list; all but these three hold one value.
        return cls.train(images, captions, masks, **single_values(widgets))

    @classmethod
    def train(
        cls,
        images: list[torch.Tensor],
        captions: list[str] | None,
        masks: list[torch.Tensor] | None,
        model: ModelPatcher,
        clip: comfy.sd.CLIP,
        vae: comfy.sd.VAE,
        instance_prompt: str,
        precision: str,
        gradient_checkpointing: bool,
        checkpoint_every: int,
        lora_name: str,
        options: TrainingOptions | None = None,
        sample_every: int = 0,
        **values: Any,
    ) -> io.NodeOutput:
        """Train, or find what an identical run has trained before."""
        # diffusers and peft take seconds to import: not at every start of ComfyUI, and not for every pack in it.
        from ...training.examples import target_size
        from ...training.recipe import make_recipe, name_of
        from ...training.run_files import RunFiles
        from . import inputs
        from .learning import learn
        from .weights import require_plain_weights, require_readable_weights

        require_sdxl(model)
        require_kind("clip", clip, comfy.sd.CLIP, "Load Checkpoint")
        require_sdxl_vae(vae)
        prediction = inputs.trained_prediction(model)
        require_plain_weights(model)
        require_readable_weights(model)
        require_option("precision", precision, PRECISIONS)
        extra = TrainingOptions() if options is None else options
        require_kind("options", extra, TrainingOptions, "LoRA Training Options")
        device = model.load_device
        precision = inputs.automatic_precision(device) if precision == "auto" else precision
        settings = Settings(precision=precision, options=extra.options, **values)
        name = file_name(lora_name, "lora_name")
        photos = inputs.photos_of(images, captions, masks, instance_prompt, extra)

        start = Path(extra.continue_from) if extra.continue_from else None
        models = {**inputs.fingerprints(model, clip, vae), **prediction.recipe()}
        recipe = make_recipe(settings, models, photos, start)
        name = file_name(name_of(lora_name, recipe), "lora_name")
        path = path_for("loras", name)
        # Not among the LoRAs: LoraLoader would list the states, which are none.
        states = Path(folder_paths.get_output_directory(), "storybooth", "training", name.with_suffix(""))
        files = RunFiles(path, states, recipe).beside_another_seed()
        name = name.with_name(files.path.name)
        node_id = cls.hidden.unique_id
        view = TrainingView(node_id, lora_name, settings.steps, device)
        trained = files.find_finished()
        if trained is None:
            how = gradient_checkpointing, checkpoint_every, start, sample_every, instance_prompt, prediction
            trained = learn(model, clip, vae, photos, settings, files, view, *how)
            show_text(f"Saved {files.path}", node_id)
        else:
            show_text(f"Trained before: {files.path}", node_id)
            logging.info("StoryBooth: %s holds this very run already; nothing is trained again.", files.path)
        if len(trained.losses) < settings.steps:
            _note_outdated(lora_name)
        else:
            _saved[lora_name] = files.path, file_state(files.path)
        if kind := Kind.asked_for(settings):
            patched = with_tlora(model, trained.tensors, kind, 1.0)
        else:
            patched, _ = comfy.sd.load_lora_for_models(model, None, trained.tensors, 1.0, 0.0)
        sizes = [target_size(photo, settings) for photo in photos.images]
        report = draw_report(settings, trained.losses, sizes, until_cancelled)
        return io.NodeOutput(
            patched,
            trained.tensors,
            {"loss": trained.losses},
            str(Path(name)),
            to_tensor(report)[None],
            ui=view.finished(trained.losses, report),
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: list[str | None], **_: Any) -> int:
        """Another one after Stop and keep, or where the file is no longer the one that was given: ComfyUI then runs the
        node again if the same graph is queued.
        """
        asked = next(iter(lora_name), None)
        for name, (path, state) in list(_saved.items()):
            if asked in (None, name) and file_state(path) != state:
                _note_outdated(name)
        return _outdated[asked]
