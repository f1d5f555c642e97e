"""Panels drawn several to a batch and one by one. Run as a script by development/within.py; it prints JSON."""

import json

import torch
from comfy.utils import ProgressBar
from parity import ALWAYS, CFG, SIZE, Scene, relative

from storybooth.consistency.reader import BankReader
from storybooth.nodes.cache import Store
from storybooth.nodes.comic import panel_drawing
from storybooth.nodes.comic.panel_drawing import Line, PanelSampling, Settings
from storybooth.nodes.comic.ways import Way
from storybooth.nodes.consistency.patching import with_phase, without_bank
from storybooth.nodes.mini import network as mini


def draw(
    scene: Scene, storage: str, sampler: str, at_once: int, memory: int = 2**30
) -> tuple[list[torch.Tensor], list[int]]:
    """The latents of a story, and how many panels each sampling run drew; kept panels have `memory` bytes."""
    clip = mini.load_clip()
    prompts = ("a house", "a house by the sea, " * 30, "a house", "a spider", "a tent", "a cat", "a dog")
    encoded = [clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in prompts]
    seeds, plain = (7, 7, 7, 7, 9, 7, 7), (False, False, False, True, False, True, False)
    model = with_phase(scene.model, BankReader(scene.bank(ALWAYS, storage=storage), ALWAYS))
    ways = {False: Way(model), True: Way(without_bank(model))}
    lines = [Line((prompt,), seed, ways[alone]) for prompt, seed, alone in zip(encoded, seeds, plain, strict=True)]
    panel_drawing.PANELS = Store(memory)
    sampled, runs = panel_drawing.sample, []

    def counted(model, positive, negative, noise, *rest):
        runs.append(len(noise))
        return sampled(model, positive, negative, noise, *rest)

    panel_drawing.sample = counted
    settings = Settings(SIZE, SIZE, 3, CFG, sampler, "ddim_uniform")
    progress = ProgressBar(3 * len(lines))
    drawing = PanelSampling(model, scene.negative, settings, progress, at_once)
    try:
        with torch.inference_mode():
            return [panel.latent for panel in drawing.panels(lines)], runs
    finally:
        panel_drawing.sample = sampled


def measure(scene: Scene, storage: str, sampler: str) -> dict:
    alone, runs_alone = draw(scene, storage, sampler, 1)
    together, runs = draw(scene, storage, sampler, 3)
    _, with_little_memory = draw(scene, storage, sampler, 3, 0)
    farthest = max(relative(one, other) for one, other in zip(together, alone, strict=True))
    nearest = min(relative(alone[0], other) for other in alone[3:])
    return {
        "alone": runs_alone,
        "together": runs,
        "with little memory": with_little_memory,
        "farthest": farthest,
        "other panels": nearest,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    scene = Scene()
    cases = (("compact", "euler"), ("full", "euler"), ("compact", "euler_ancestral"))
    print(json.dumps({f"{storage} {sampler}": measure(scene, storage, sampler) for storage, sampler in cases}))
