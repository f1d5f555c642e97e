"""Samplers and schedulers, each reading a bank: which of its steps at which evaluation, and how much that changes.

Run as a script by development/within.py; it prints JSON.
"""

import json
import math

import comfy.samplers
import torch

from storybooth.consistency.reader import BankReader
from storybooth.nodes.consistency.patching import with_phase
from storybooth.tests.host import parity
from storybooth.tests.host.parity import ALWAYS, SOME, Scene, relative


def right_step(sigma: float, written: tuple[float, ...]) -> int:
    """The written step nearest to `sigma`; halfway between two, the earlier one."""
    return min(range(len(written)), key=lambda step: (round(abs(math.log(written[step] / sigma)), 3), step))


def reading(scene: Scene, bank, **options) -> dict:
    """What the bank changes, how many evaluations read it, and which of them at the wrong step."""
    reader = BankReader(bank, ALWAYS)
    read: list[tuple[float, int]] = []
    begin = reader.begin
    reader.begin = lambda sigma, *size: (begin(sigma, *size), read.append((sigma, reader._step)))
    panel = scene.sample(with_phase(scene.model, reader), scene.panel, scene.panel_noise, **options)
    vanilla = scene.sample(scene.model, scene.panel, scene.panel_noise, **options)
    wrong = [(sigma, step) for sigma, step in read if step != right_step(sigma, bank.sigmas)]
    return {"effect": relative(panel, vanilla), "evaluations": len(read), "wrong": wrong}


def samplers(scene: Scene) -> dict[str, dict]:
    """Written and read by the same sampler, where it writes."""
    results = {}
    # dpm_adaptive takes a hundred evaluations; these twins of others go through the same steps.
    for name in comfy.samplers.KSampler.SAMPLERS:
        if name == "dpm_adaptive" or name.endswith(("_gpu", "_cfg_pp")):
            continue
        options = {"steps": 2, "sampler": name, "scheduler": "karras"}
        writes = {**options, "sampler": "euler"} if name == "dpm_fast" else options  # it leaves steps out
        results[name] = reading(scene, scene.bank(ALWAYS, **writes), **options)
    return results


def schedulers(scene: Scene) -> dict[str, dict]:
    """Read with every scheduler, and with another number of steps than the bank was written with."""
    bank = scene.bank(ALWAYS, steps=8, sampler="euler", scheduler="normal")
    return {
        name: reading(scene, bank, steps=3, sampler="euler", scheduler=name)
        for name in comfy.samplers.KSampler.SCHEDULERS
    }


def together(scene: Scene) -> dict[str, float]:
    """Relative distance to identity images and panel in one batch, by samplers that remember earlier steps."""
    results = {}
    for name in ("dpmpp_2m", "uni_pc", "res_multistep"):
        options = {"steps": 4, "sampler": name, "scheduler": "karras"}
        expected = parity.reference(scene, SOME, **options)
        results[name] = relative(scene.read(scene.bank(SOME, **options), SOME, **options), expected[2:])
    return results


def far_apart(scene: Scene) -> dict[str, str]:
    """What is said, before anything is drawn, where a panel begins far above the noise levels of a bank."""
    bank = scene.bank(ALWAYS, steps=3, sampler="euler", scheduler="simple")
    bank.sigmas = tuple(sigma / 10 for sigma in bank.sigmas)
    try:
        reading(scene, bank, steps=8, sampler="euler", scheduler="karras")
    except ValueError as error:
        return {"error": str(error)}
    return {"error": ""}


if __name__ == "__main__":
    torch.set_num_threads(1)
    parity.SIZE = 32  # four tokens at the upper level, one at the lower
    scene = Scene()
    print(json.dumps({part.__name__: part(scene) for part in (samplers, schedulers, together, far_apart)}))
