"""What the trainer shows while it works, and where Cancel and Stop and keep get through."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import comfy.model_management
import comfy.utils
from tqdm import tqdm

from ...training.trainer import Trainer
from ..canvas import show_text
from .samples import Samples
from .view import TrainingView

T = TypeVar("T")


def counting(node_id: str) -> Callable[[Sequence[T]], Iterator[T]]:
    """Pass images on, show which one is being encoded, and let Cancel through."""

    def watch(images: Sequence[T]) -> Iterator[T]:
        for number, image in enumerate(images, 1):
            comfy.model_management.throw_exception_if_processing_interrupted()
            show_text(f"encoding image {number} of {len(images)}", node_id)
            yield image

    return watch


class Progress:
    """Step, loss and time left, on the node and in the terminal; Cancel gets through after every step."""

    def __init__(self, trainer: Trainer, view: TrainingView, samples: Samples | None = None) -> None:
        self._trainer = trainer
        self._view = view
        self._samples = samples
        steps = trainer.settings.steps
        self._canvas = comfy.utils.ProgressBar(steps)
        self._terminal = tqdm(total=steps, desc="Training LoRA", disable=not comfy.utils.PROGRESS_BAR_ENABLED)

    def __enter__(self) -> "Progress":
        self._view.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._view.__exit__(*error)
        self._terminal.close()

    def step(self, step: int, loss: float, trouble: str) -> bool:
        """Show one step that is done; return whether the user wants no more of them.

        `trouble` is what went wrong with the latest checkpoint, if anything did.
        """
        if step > self._terminal.n + 1:  # a run that goes on did its earlier steps at another time
            self._terminal.initial = self._terminal.n = step - 1
        self._terminal.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._terminal.update()
        left = tqdm.format_interval((self._terminal.total - step) / (self._terminal.format_dict["rate"] or 1))
        notes = [f"No checkpoint: {trouble}"] if trouble else []
        note = " ".join(notes + ([self._samples.trouble] if self._samples and self._samples.trouble else []))
        text = f"step {step} of {self._terminal.total}, loss {loss:.4f}, {left} left"
        show_text(f"{text}. {note}" if note else text, self._view.state["node"])
        self._view.update(self._trainer.losses, self._trainer.optimizer.param_groups[0]["lr"], left, note)
        self._canvas.update_absolute(step)
        if self._samples:
            self._samples.after(step)
        comfy.model_management.throw_exception_if_processing_interrupted()
        return self._view.stop_asked
