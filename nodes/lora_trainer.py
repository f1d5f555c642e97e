"""Log-Normal DreamBooth LoRA Trainer: teach a MODEL a character from a few photos."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..files import file_name
from ..training.images import to_tensor
from ..training.report import draw_report
from ..training.settings import Settings, TargetLayers
from .checks import require_kind, require_option, require_sdxl, require_sdxl_vae
from .errors import is_out_of_memory, let_go
from .progress import show_text
from .sockets import TrainingOptions, TrainingOptionsSocket
from .training_view import TrainingView
from .widgets import timestep_inputs

PRECISIONS = ("auto", "bf16", "fp16", "fp32")

_stops: Counter[str | None] = Counter()  # by LoRA name, how often its training was stopped and kept


class LoraTrainer(io.ComfyNode):
    """Train a LoRA by DreamBooth, save it where LoraLoader finds it, and hand out the MODEL with it applied."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        default = Settings()
        return io.Schema(
            node_id="StoryBoothLoraTrainer",
            display_name="Log-Normal DreamBooth LoRA Trainer",
            category="StoryBooth",
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
                io.Int.Input(
                    "steps",
                    display_name="steps",
                    default=default.steps,
                    min=1,
                    max=1_000_000,
                    tooltip="How long to learn. Too few and the character is not recognised, too many and every "
                    "picture looks like the photos.",
                ),
                io.Float.Input(
                    "learning_rate",
                    display_name="learning rate",
                    default=default.learning_rate,
                    min=1e-7,
                    max=1.0,
                    step=1e-6,
                    round=False,
                    tooltip="How much each step changes. Higher learns faster and breaks pictures sooner.",
                ),
                io.Int.Input(
                    "rank",
                    display_name="rank",
                    default=default.rank,
                    min=1,
                    max=256,
                    tooltip="How much detail the LoRA can hold, and how large its file is. 4 is enough for a toy.",
                ),
                io.Int.Input(
                    "batch_size",
                    display_name="batch size",
                    default=default.batch_size,
                    min=1,
                    max=64,
                    tooltip="How many photos are looked at together. More needs more memory.",
                ),
                io.Int.Input(
                    "gradient_accumulation",
                    display_name="gradient accumulation",
                    default=default.gradient_accumulation,
                    min=1,
                    max=256,
                    tooltip="How many batches make one step. Calms learning as a larger batch would, without the "
                    "memory, but takes that many times longer.",
                ),
                io.Int.Input(
                    "resolution",
                    display_name="resolution",
                    default=default.resolution,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Photos are scaled and cropped to squares of this many pixels. SDXL was made for 1024.",
                ),
                *timestep_inputs(),
                io.Combo.Input(
                    "target_layers",
                    display_name="target layers",
                    options=list(get_args(TargetLayers)),
                    default=default.target_layers,
                    tooltip="self_attention learns how the character looks. self_and_cross_attention also learns what "
                    "the words mean: stronger, a file twice as large, and more likely to overfit.",
                ),
                io.Combo.Input(
                    "precision",
                    display_name="precision",
                    options=list(PRECISIONS),
                    default="auto",
                    tooltip="auto takes bf16 where the graphics card can, and fp32 on a processor. The LoRA itself is "
                    "always trained in fp32.",
                ),
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
                ),
                io.Int.Input(
                    "seed",
                    display_name="seed",
                    default=default.seed,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    # Without this the canvas would change a widget of this name after each run, and train again.
                    control_after_generate=False,
                    tooltip="Where all random numbers of the training start. Another seed, another LoRA.",
                ),
                io.String.Input(
                    "lora_name",
                    display_name="LoRA name",
                    default="nupjuki",
                    tooltip="The name of the file in the loras folder. Folders are fine: characters/nupjuki. An "
                    "existing file is never overwritten; the same run with more steps goes on from it.",
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
        )

    @classmethod
    def execute(
        cls, images: list[torch.Tensor], captions: list[str] | None = None, **widgets: list[Any]
    ) -> io.NodeOutput:
        # With is_input_list every input arrives as a list; all but these two hold one value.
        return cls.train(images, captions or [], **{name: values[0] for name, values in widgets.items()})

    @classmethod
    def train(
        cls,
        images: list[torch.Tensor],
        captions: list[str],
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
        from ..training.encoding import target_size
        from ..training.existing import continue_from
        from ..training.loop import Trainer
        from ..training.lora import add_lora
        from ..training.loss import DTYPES
        from ..training.recipe import make_recipe
        from ..training.run import train_lora
        from ..training.run_files import RunFiles
        from ..training.sampling import fit_rgb
        from . import trainer_inputs as inputs
        from .trainer_progress import Progress, counter
        from .trainer_samples import Samples
        from .trainer_weights import require_plain_weights, require_readable_weights, training_unet

        require_sdxl(model)
        require_kind("clip", clip, comfy.sd.CLIP, "Load Checkpoint")
        require_sdxl_vae(vae)
        inputs.require_epsilon(model)
        require_plain_weights(model)
        require_readable_weights(model)
        require_option("precision", precision, PRECISIONS)
        extra = TrainingOptions() if options is None else options
        require_kind("options", extra, TrainingOptions, "LoRA Training Options")
        device = model.load_device
        precision = inputs.automatic_precision(device) if precision == "auto" else precision
        settings = Settings(precision=precision, options=extra.options, **values)
        name = file_name(lora_name, "lora_name")
        photos = inputs.single_images(images)
        texts = inputs.captions_for(len(photos), captions, instance_prompt)
        class_photos = inputs.single_images(extra.class_images, "class_images")

        models = {
            "model": inputs.weights_fingerprint(model, "diffusion_model."),
            "clip": inputs.weights_fingerprint(clip.patcher, "", clip.layer_idx),
            "vae": inputs.weights_fingerprint(vae.patcher),
        }
        start = Path(extra.continue_from) if extra.continue_from else None
        recipe = make_recipe(settings, models, photos, texts, class_photos, extra.class_prompt, start)
        path = Path(folder_paths.get_folder_paths("loras")[0], name)
        # Not among the LoRAs: LoraLoader would list the states, which are none.
        states = Path(folder_paths.get_output_directory(), "storybooth", "training", name.with_suffix(""))
        files = RunFiles(path, states, recipe)
        node_id = cls.hidden.unique_id
        view = TrainingView(node_id, lora_name, settings.steps, device)
        trained = files.find_finished()
        if trained is None:
            every_photo, every_text = photos + class_photos, texts + [extra.class_prompt] * len(class_photos)
            prompt = None
            if sample_every and view.client_id is not None:
                prompt = inputs.encode_text(clip, instance_prompt, model)
            show = counter(len(every_photo), node_id)
            examples = inputs.encode_examples(model, clip, vae, every_photo, every_text, settings, show)
            unet = trainer = samples = progress = None
            try:
                # The executor's inference mode would leave nothing to differentiate.
                with torch.inference_mode(False), torch.enable_grad():
                    examples = [inputs.normal(example) for example in examples]
                    unet = training_unet(model, DTYPES[settings.precision])
                    if gradient_checkpointing:
                        unet.enable_gradient_checkpointing()
                    add_lora(unet, settings)
                    if start:
                        continue_from(unet, start, settings)
                    of_class = examples[len(photos) :]
                    trainer = Trainer(unet, examples[: len(photos)], settings, device, of_class)
                    if prompt is not None:
                        rgb = fit_rgb(photos, examples[: len(photos)])
                        samples = Samples(sample_every, trainer, prompt, rgb, model, view)
                    with Progress(trainer, view, samples) as progress:
                        trained = train_lora(trainer, files, checkpoint_every, progress.step)
                show_text(f"Saved {path}", node_id)
            except BaseException as error:
                # ComfyUI holds on to the error, the error to its frames, and these to the UNet.
                let_go(error)
                if not is_out_of_memory(error):
                    raise
                raise torch.OutOfMemoryError(
                    f"Training ran out of memory on the graphics card ({error}). Turn on gradient_checkpointing, set "
                    "batch_size to 1, or lower resolution. What was learned so far is kept: queue again to go on."
                ) from error
            finally:
                unet = trainer = samples = progress = None
                comfy.model_management.soft_empty_cache()
        else:
            show_text(f"Trained before: {path}", node_id)
            logging.info("StoryBooth: %s holds this very run already; nothing is trained again.", path)
        if len(trained.losses) < settings.steps:
            _stops[lora_name] += 1
        patched, _ = comfy.sd.load_lora_for_models(model, None, trained.tensors, 1.0, 0.0)
        report = draw_report(settings, trained.losses, [target_size(photo, settings) for photo in photos])
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
        """Another one after Stop and keep: ComfyUI then runs the node again if the same graph is queued."""
        return _stops[lora_name[0]]
