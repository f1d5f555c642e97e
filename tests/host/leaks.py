"""What is left of banks when ComfyUI is done with them. Run as a script by development/within.py; it prints JSON."""

import json
import weakref

import torch
from comfy.model_management import InterruptProcessingException
from parity import ALWAYS, CFG, PROMPTS, SEED, SIZE, Scene

from storybooth.consistency.bank import Recipe
from storybooth.consistency.reader import BankReader
from storybooth.consistency.writer import BankWriter
from storybooth.nodes.consistency import writing
from storybooth.nodes.consistency.patching import with_phase
from storybooth.nodes.model import bank_geometry

STEPS = 3


def dropped(scene: Scene) -> dict[str, bool]:
    """Whether a bank and all that reads it are gone as soon as nobody holds them, without a garbage collection."""
    bank = scene.bank(ALWAYS)
    reader = BankReader(bank, ALWAYS)
    model = with_phase(with_phase(scene.model, reader), BankReader(bank, ALWAYS)).clone()
    scene.sample(model, scene.panel, scene.panel_noise)
    held = {"bank": bank, "reader": reader, "feature": next(iter(bank.features.values())), "model": model}
    gone = {name: weakref.ref(value) for name, value in held.items()}
    del bank, reader, model, held
    scene.sample(scene.model, scene.panel, scene.panel_noise)  # ComfyUI holds the model that it sampled last
    return {name: reference() is None for name, reference in gone.items()}


def cancelled(scene: Scene) -> dict[str, bool]:
    """Whether a write that is cancelled leaves nothing: no writer, nothing on the model."""
    vanilla = scene.sample(scene.model, scene.panel, scene.panel_noise)
    writers = []

    class Watched(BankWriter):
        def __init__(self, *args):
            super().__init__(*args)
            writers.append(weakref.ref(self))

        def begin(self, *args):
            super().begin(*args)
            if self._step == 1:
                raise InterruptProcessingException

    made_with = Recipe(
        *("mini", "", PROMPTS[:2], (None, None), SIZE, SIZE, STEPS, CFG, "euler", "normal", SEED, ALWAYS),
        *("compact", "fp32"),
    )

    def write() -> None:
        watched = Watched(made_with, bank_geometry(scene.model, SIZE, SIZE))
        model = with_phase(scene.model, watched)
        writing._write(model, watched, scene.identity, scene.negative, STEPS)

    stopped = False
    try:
        with torch.inference_mode():
            write()
    except InterruptProcessingException:
        stopped = True
    after = scene.sample(scene.model, scene.panel, scene.panel_noise)
    return {
        "was cancelled": stopped and len(writers) == 1,
        "nothing is left": writers[0]() is None,
        "the model is as before": torch.equal(vanilla, after),
    }


def twice(scene: Scene) -> dict[str, bool]:
    """Whether writing and reading again, after other work, gives the same to the bit."""
    first = scene.bank(ALWAYS)
    panel = scene.read(first, ALWAYS)
    scene.read(first, ALWAYS, sampler="euler_ancestral")
    second = scene.bank(ALWAYS)
    same = all(torch.equal(first.features[slot], second.features[slot]) for slot in first.features)
    return {"bank": same, "panel": torch.equal(panel, scene.read(second, ALWAYS))}


if __name__ == "__main__":
    torch.set_num_threads(1)
    scene = Scene()
    print(json.dumps({check.__name__: check(scene) for check in (dropped, cancelled, twice)}))
