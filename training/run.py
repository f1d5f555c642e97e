"""A training run: the trainer is made, and trains from start, or from where it was stopped, to its file."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from .examples import Examples
from .lora import add_lora, lora_state_dict
from .own_word import OwnWord
from .prediction import EPSILON, Prediction
from .resume import restore, trainer_state
from .run_files import RunFiles, TrainedLora
from .settings import TEXTUAL_INVERSION, Settings
from .starting_lora import continue_from
from .trainer import Processes, Trainer


def make_trainer(
    unet: UNet2DConditionModel,
    examples: Examples,
    settings: Settings,
    device: torch.device,
    gradient_checkpointing: bool = False,
    start: Path | None = None,
    processes: Processes | None = None,
    prediction: Prediction = EPSILON,
    word: OwnWord | None = None,
) -> Trainer:
    """A trainer on a frozen UNet, to which this adds adapters: new ones, or those of the LoRA in `start`; none where a
    `word` is learned alone. `prediction`: what the UNet answers.
    """
    if gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if settings.options.method != TEXTUAL_INVERSION:
        add_lora(unet, settings)
        if start:
            continue_from(unet, start, settings)
    return Trainer(unet, examples.own, settings, device, examples.of_class, processes, prediction, word)


def learned(trainer: Trainer) -> TrainedLora:
    """What a trainer has learned by now."""
    return TrainedLora(lora_state_dict(trainer.unet), trainer.losses, trainer.word.rows() if trainer.word else {})


OnStep = Callable[[int, float, str], bool | None]
"""Called after each step with its number, its loss, and what went wrong with the latest checkpoint, if anything did.

It returns True to end the run after this step and keep what was learned."""


def train_lora(trainer: Trainer, files: RunFiles, checkpoint_every: int, on_step: OnStep) -> TrainedLora:
    """Train from the latest state that an earlier run of the same recipe has left, and save the LoRA.

    The state is saved every `checkpoint_every` steps and at the end; if the disk is full then, training goes on and
    tries again at the next. `on_step` may end the run: the file is then that of a run of so many steps, and one of more
    steps goes on from it. Or it may raise to break the run off: the state is then saved, and what was learned so far as
    a LoRA of its own. With several processes, the first one writes.

    Raises OSError if the LoRA cannot be saved, ValueError if `checkpoint_every` is less than 1, the state is not this
    run's or not the same for all processes, and FloatingPointError if the loss is no longer finite: the last good
    checkpoint is then kept as a LoRA.
    """
    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every: got {checkpoint_every}, expected at least 1.")
    writes = trainer.processes.index == 0
    steps = trainer.settings.steps
    state = files.latest_state()
    if state is not None:
        restore(trainer, state)
        logging.info("StoryBooth: training goes on after step %d, from %s", trainer.step, state)
    _require_same_step(trainer)
    if writes:
        files.prepare()
    saved = trainer.step

    def save_state() -> None:
        nonlocal saved
        files.save_state(*trainer_state(trainer), trainer.step)
        saved = trainer.step

    trouble = ""
    try:
        while trainer.step < steps:
            loss = trainer.advance()
            if writes and (trainer.step % checkpoint_every == 0 or trainer.step == steps):
                trouble = _attempt(save_state)
            if on_step(trainer.step, loss, trouble):
                files = files.ending_at(trainer.step)
                if writes and trainer.step > saved:
                    _attempt(save_state)
                break
        trained = learned(trainer)
        if writes:
            files.save_finished(trained)
        return trained
    except FloatingPointError as error:
        state = files.latest_state()
        if writes and state is not None:
            restore(trainer, state)
            kept = files.save_unfinished(learned(trainer))
            raise FloatingPointError(
                f"{error} What was learned until step {trainer.step} is kept as {kept.name}: continue_from of "
                "LoRA Training Options goes on from it."
            ) from error
        raise
    except BaseException as error:
        if writes and trainer.between_steps and trainer.step > 0:
            try:
                if trainer.step > saved:
                    save_state()
            finally:  # a LoRA may fit where the three times larger state does not
                if not isinstance(error, OSError):  # else it is the LoRA itself that did not
                    files.save_unfinished(learned(trainer))
        raise


def _require_same_step(trainer: Trainer) -> None:
    """Raise ValueError naming `states` where the processes do not go on after the same step."""
    processes = trainer.processes
    steps = torch.zeros(processes.count, dtype=torch.int64, device=trainer.device)
    steps[processes.index] = trainer.step
    steps = processes.total(steps).tolist()
    if len(set(steps)) > 1:
        raise ValueError(
            f"states: the processes would go on after different steps, {steps}. Name a folder that all of them see, on "
            "every machine."
        )


def _attempt(save: Callable[[], None]) -> str:
    """Save, and return what went wrong: a full disk is no reason to lose what the next hours would bring."""
    try:
        save()
    except OSError as error:
        logging.warning("StoryBooth: no checkpoint: %s Training goes on.", error)
        return str(error)
    return ""
