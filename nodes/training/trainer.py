"""Log-Normal DreamBooth LoRA Trainer: teach a MODEL a character from a few photos."""

import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...files import file_name, file_state
from ...pixels import to_tensor
from ...training.own_word import named_embedding, require_own_word
from ...training.presets import REPORT, changed, with_preset
from ...training.report import draw_report
from ...training.settings import settings_of
from ...training.tlora_kind import Kind
from ..canvas import SHOWN_WHEN_CACHED, found_by, show_text, until_cancelled
from ..checks import require_kind, require_option, require_sdxl, require_sdxl_vae, single_values
from ..folders import path_for
from ..sockets import TrainingOptions
from ..tlora import with_tlora
from .trainer_sockets import PRECISIONS, trainer_inputs, trainer_outputs
from .view import TrainingView

_outdated: Counter[str | None] = Counter()
"""By LoRA name, how often what the node gave is no longer what it would give: its training was stopped and kept, or its
file was deleted or replaced. None counts them all, for a name that comes from another node."""

_saved: dict[str, dict[Path, tuple[int, ...]]] = {}
"""By LoRA name, the files that the node gave last, and the state they were in."""


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
            inputs=trainer_inputs(),
            outputs=trainer_outputs(),
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
        preset: str = REPORT,
        **values: Any,
    ) -> io.NodeOutput:
        """Train, or find what an identical run has trained before."""
        # diffusers and peft take seconds to import: not at every start of ComfyUI, and not for every pack in it.
        from ...training.examples import target_size
        from ...training.recipe import make_recipe, name_of
        from ...training.word_files import called, files_of, start_recipe
        from . import inputs
        from .learning import learn
        from .own_word import knowing, require_encoders, word_start
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
        values, meant = with_preset(preset, changed({**values, **asdict(extra.options)}))
        settings = settings_of(values, precision)
        name = file_name(lora_name, "lora_name")
        photos = inputs.photos_of(images, captions, masks, instance_prompt, extra)
        word = settings.options.own_word
        begins = None
        if word:
            require_encoders(clip)
            require_own_word(photos.captions, photos.class_prompt if photos.class_images else "", settings)
            begins = word_start(clip, settings)

        start = Path(extra.continue_from) if extra.continue_from else None
        models = {**inputs.fingerprints(model, clip, vae), **prediction.recipe()}
        models |= start_recipe(begins) if named_embedding(settings) is not None else {}
        recipe = make_recipe(settings, models, photos, start)
        name = file_name(name_of(lora_name, recipe), "lora_name")
        # Not among the LoRAs: LoraLoader would list the states, which are none.
        states = Path(folder_paths.get_output_directory(), "storybooth", "training", name.with_suffix(""))
        files = files_of(settings, name, lambda folder: path_for(folder, name), states, recipe).beside_another_seed()
        name = name.with_name(files.path.name)
        node_id = cls.hidden.unique_id
        view = TrainingView(node_id, lora_name, settings.steps, device)
        trained = files.find_finished()
        trains = trained is None
        if trains:
            how = gradient_checkpointing, checkpoint_every, start, sample_every, instance_prompt, prediction, begins
            trained = learn(model, clip, vae, photos, settings, files, view, *how)
        told = f"{'Saved' if trains else 'Trained before:'} {files.path}"
        told = f"{told}. In prompts: {called(name)}" if word else told
        show_text("\n".join(filter(None, (meant, told))), node_id)
        if not trains:
            logging.info("StoryBooth: %s holds this very run already; nothing is trained again.", files.path)
        if len(trained.losses) < settings.steps:
            _note_outdated(lora_name)
        else:
            _saved[lora_name] = {path: file_state(path) for path in files.paths}
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
            knowing(clip, word, name.with_suffix("").as_posix(), folder_paths.get_folder_paths("embeddings"))
            if word
            else clip,
            ui=view.finished(trained.losses, report),
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: list[str | None], **_: Any) -> int:
        """Another one after Stop and keep, or where the file is no longer the one that was given: ComfyUI then runs the
        node again if the same graph is queued.
        """
        asked = next(iter(lora_name), None)
        for name, states in list(_saved.items()):
            if asked in (None, name) and any(file_state(path) != state for path, state in states.items()):
                _note_outdated(name)
        return _outdated[asked]
