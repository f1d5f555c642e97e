"""What the trainer shows while it works, and where Cancel gets through."""

from collections.abc import Callable

import comfy.model_management
import comfy.utils
from tqdm import tqdm

from .progress import show_text


def counter(total: int, node_id: str) -> Callable[[int], None]:
    """Show which image is being encoded, and let Cancel through."""

    def show(index: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        show_text(f"encoding image {index + 1} of {total}", node_id)

    return show


class Progress:
    """Step, loss and time left, on the node and in the terminal; Cancel gets through after every step."""

    def __init__(self, steps: int, node_id: str) -> None:
        self._canvas = comfy.utils.ProgressBar(steps)
        self._terminal = tqdm(total=steps, desc="Training LoRA", disable=not comfy.utils.PROGRESS_BAR_ENABLED)
        self._node_id = node_id

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.close()

    def step(self, step: int, loss: float, trouble: str) -> None:
        """Show one step that is done. `trouble` is what went wrong with the latest checkpoint, if anything did."""
        if step > self._terminal.n + 1:  # a run that goes on did its earlier steps at another time
            self._terminal.initial = self._terminal.n = step - 1
        self._terminal.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._terminal.update()
        left = tqdm.format_interval((self._terminal.total - step) / (self._terminal.format_dict["rate"] or 1))
        text = f"step {step} of {self._terminal.total}, loss {loss:.4f}, {left} left"
        show_text(f"{text}. No checkpoint: {trouble}" if trouble else text, self._node_id)
        self._canvas.update_absolute(step)
        comfy.model_management.throw_exception_if_processing_interrupted()
