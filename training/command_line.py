"""Training outside the canvas: in one process, or in as many as accelerate starts on this machine and others."""

import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from PIL import Image
from tqdm import tqdm

from ..files import file_name
from ..fingerprint import fingerprint
from ..pixels import to_tensor
from .arguments import Job, read_job
from .examples import Photos
from .masks import subject_masks
from .own_word import require_own_word
from .photo_folder import read_subject, require_captions
from .precision import DTYPES, automatic_precision
from .presets import with_preset
from .recipe import make_recipe, name_of
from .run import make_trainer, train_lora
from .sdxl_encoders import Encoders
from .sdxl_files import open_checkpoint, open_vae
from .settings import settings_of
from .trainer import Processes
from .word_files import files_of, read_start, start_recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says. Foreseeable trouble is told in words, and makes the exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, and what ends jobs on clusters
        signal.signal(number, stop)
    try:
        path = run(*read_job(arguments), stop)
    except (ValueError, OSError, FloatingPointError, torch.OutOfMemoryError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped. What was learned so far is kept: the same command goes on from there.")
    if PartialState().is_main_process:
        print(path)
    PartialState().destroy_process_group()


class Stop:
    """Ends a training when a signal asks it to: between two steps, and at once where it asks again or none is done."""

    def __init__(self) -> None:
        self._asked = self._training = False

    def __call__(self, *_: object) -> None:
        if self._asked or not self._training:
            raise KeyboardInterrupt
        self._asked = True
        logging.info("Stopping after this step.")

    def between_steps(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        self._training = True
        if self._asked:
            raise KeyboardInterrupt


def run(job: Job, values: dict[str, Any], stop: Stop) -> Path:
    """Train as `job` and the settings in `values` say, or find what an identical run has trained; return the file.

    Raises ValueError and OSError naming the setting that does not fit, and what `train_lora` raises.
    """
    state = PartialState(cpu=not torch.accelerator.is_available())
    device, quiet = state.device, not state.is_main_process
    precision = automatic_precision(device) if job.precision == "auto" else job.precision
    values, meant = with_preset(job.preset, values)
    if meant:
        logging.info(meant)
    settings = settings_of(values, precision)
    name = file_name(job.lora_name, "lora_name")
    images, captions, masks = _photos("images", job.images, job.instance_prompt)
    require_captions(captions)
    class_images = _photos("class_images", job.class_images, job.class_prompt)[0] if job.class_images else []
    require_own_word(captions, job.class_prompt if class_images else "", settings)
    photos = Photos(images, captions, class_images, job.class_prompt, _masks(job, images, masks) if job.masks else ())
    start = _path(job.continue_from)

    checkpoint = open_checkpoint(_path(job.model))
    unet = checkpoint.unet(DTYPES[precision])
    vae = open_vae(_path(job.vae)) if job.vae else checkpoint.vae()
    encoders = Encoders(*checkpoint.text_encoders(_path(job.tokenizer)), vae)
    clip = [*_weights(encoders.clip_l), *_weights(encoders.clip_g)]
    models = {"model": fingerprint(_weights(unet)), "clip": fingerprint(clip), "vae": fingerprint(_weights(vae))}
    prediction = checkpoint.prediction
    word_start = read_start(settings, encoders.widths, _path(job.embeddings).joinpath)
    recipe = make_recipe(settings, {**models, **prediction.recipe(), **start_recipe(word_start)}, photos, start)
    name = file_name(name_of(job.lora_name, recipe), "lora_name")
    files = files_of(settings, name, lambda kind: _path(getattr(job, kind)) / name, _path(job.states), recipe)
    if files.find_finished() is not None:
        logging.info("This very run is finished; nothing is trained again.")
        return files.path

    encoders.to(device)
    examples = encoders.examples(photos, settings, partial(tqdm, desc="Encoding images", disable=quiet))
    word = encoders.own_word(captions, settings, word_start)
    del checkpoint, encoders, vae  # training needs the memory
    if device.type == "cuda":
        torch.cuda.empty_cache()

    if state.num_processes > 1 and not quiet:
        logging.info("Training on %d processes.", state.num_processes)
    unet.to(device)
    processes = Processes(state.process_index, state.num_processes, lambda tensor: reduce(tensor, "sum"))
    trainer = make_trainer(
        unet, examples, settings, device, job.gradient_checkpointing, start, processes, prediction, word
    )
    with tqdm(total=settings.steps, desc="Training LoRA", disable=quiet) as bar:

        def show(step: int, loss: float, trouble: str) -> None:
            if bar.n == 0:  # a run that goes on did its earlier steps at another time
                bar.initial = bar.n = step - 1
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()
            stop.between_steps()

        train_lora(trainer, files, job.checkpoint_every, show)
    return files.path


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def _photos(name: str, folder: str, caption: str) -> tuple[list[torch.Tensor], list[str], list[Image.Image | None]]:
    """The photos of a folder as the node gets them, their captions, and their masks.

    Raises ValueError naming the setting `name`.
    """
    try:
        subject = read_subject(Path(folder).expanduser(), caption)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{name}: {error}") from error
    if PartialState().is_main_process:
        logging.info("%s: %s", name, subject.told)
    return [to_tensor(image) for image in subject.photos], subject.captions, subject.masks


def _masks(job: Job, images: list[torch.Tensor], masks: list[Image.Image | None]) -> list[torch.Tensor]:
    """Masks as a run takes them; a photo without one is subject all over. Raises ValueError naming `masks`."""
    if all(mask is None for mask in masks):
        raise ValueError(
            f"masks: no photo in {job.images} has one. Put NAME.mask.png beside NAME.jpg, white where the character "
            "is, give the photos an alpha channel, or say --no-masks."
        )
    whole = [torch.ones(i.shape[:2]) if m is None else to_tensor(m) for i, m in zip(images, masks, strict=True)]
    return subject_masks(whole, images)


def _weights(network: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return sorted(network.state_dict().items())
