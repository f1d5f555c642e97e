"""A training inside ComfyUI: from photos to the file of a LoRA, without a trace in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher

from ...training.examples import Photos
from ...training.own_word import Rows
from ...training.precision import DTYPES
from ...training.prediction import EPSILON, Prediction
from ...training.run import make_trainer, train_lora
from ...training.run_files import RunFiles, TrainedLora
from ...training.sample_pictures import fit_rgb
from ...training.settings import Settings
from ..errors import is_out_of_memory, let_go
from .inputs import encode_photos, encode_text
from .own_word import own_word
from .progress import Progress, counting
from .samples import Samples
from .view import TrainingView
from .weights import training_unet


def learn(
    model: ModelPatcher,
    clip: comfy.sd.CLIP,
    vae: comfy.sd.VAE,
    photos: Photos,
    settings: Settings,
    files: RunFiles,
    view: TrainingView,
    gradient_checkpointing: bool,
    checkpoint_every: int,
    start: Path | None = None,
    sample_every: int = 0,
    sample_prompt: str = "",
    prediction: Prediction = EPSILON,
    word_start: Rows | None = None,
) -> TrainedLora:
    """Encode the photos, build a UNet on the model's weights, add a LoRA, train it and save it.

    `start`: the LoRA to start from. `sample_every`: after how many steps `sample_prompt` is drawn for the canvas; 0 is
    never. `prediction`: what `model` answers. `word_start`: what an own word begins as.

    Raises what `train_lora` and `encode_photos` raise.
    """
    prompt = None
    if sample_every and view.client_id is not None:
        prompt = encode_text(clip, sample_prompt, model)
    examples = encode_photos(model, clip, vae, photos, settings, counting(view.state["node"]))

    def train() -> TrainedLora:
        unet = training_unet(model, DTYPES[settings.precision])
        device, captions = model.load_device, {*photos.captions, *([sample_prompt] if prompt else [])}
        word = own_word(clip, sorted(captions), settings, device, word_start)
        trainer = make_trainer(unet, examples, settings, device, gradient_checkpointing, start, None, prediction, word)
        samples = None
        if prompt is not None:
            rgb = fit_rgb(photos.images, examples.own)
            knows = word is not None and sample_prompt in word.captions
            samples = Samples(
                sample_every, trainer, (lambda: word.read(sample_prompt)) if knows else lambda: prompt, rgb, model, view
            )
        with Progress(trainer, view, samples) as progress:
            return train_lora(trainer, files, checkpoint_every, progress.step)

    with training_mode():
        return train()


@contextmanager
def training_mode() -> Iterator[None]:
    """Let autograd work in here; afterwards nothing of a training is left in memory, however it ended.

    What was made for the training has to live in functions that are called in here: their frames, which an error
    would keep, are cleared. Running out of memory is told with what to do about it.
    """
    try:
        # The executor's inference mode would leave nothing to differentiate.
        with torch.inference_mode(False), torch.enable_grad():
            yield
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
        comfy.model_management.soft_empty_cache()
