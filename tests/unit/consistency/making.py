"""Small banks for the tests: random features written through the real writer."""

import torch

from storybooth.consistency.bank import Geometry, IdentityBank, Recipe
from storybooth.consistency.schedule import COND, UNCOND, Layer, Schedule
from storybooth.consistency.writer import BankWriter

COARSE, FINE = Layer(0, 0), Layer(3, 1)
GEOMETRY = Geometry({COARSE: 16, FINE: 8}, {32: 12, 64: 48})
SIGMAS = [14.0, 7.0, 3.0, 1.0, 0.3]


def recipe(images: int = 2, schedule: Schedule | None = None, **changes: object) -> Recipe:
    values = {
        "model": "m",
        "lora": "",
        "prompts": tuple(f"image {index}" for index in range(images)),
        "seeds": (None,) * images,
        "width": 128,
        "height": 96,
        "steps": len(SIGMAS),
        "cfg": 5.0,
        "sampler_name": "ddim",
        "scheduler": "ddim_uniform",
        "seed": 42,
        "schedule": schedule or Schedule(start_step=1, switch_step=3),
        "storage": "compact",
        "dtype": "fp32",
    }
    return Recipe(**{**values, **changes})


def features(layer: Layer, step: int, half: int, images: int) -> torch.Tensor:
    """Hidden states (M, N, C) that differ for every layer, step and half."""
    generator = torch.Generator().manual_seed(hash((layer, step, half)) % 2**31)
    shape = (images, GEOMETRY.tokens[layer.level], GEOMETRY.layers[layer])
    return torch.randn(shape, generator=generator)


def write(made_with: Recipe, halves: tuple[int, ...] = (UNCOND, COND)) -> IdentityBank:
    writer = BankWriter(made_with, GEOMETRY)
    writer.start(SIGMAS, seed=None)
    images = len(made_with.prompts)
    for step, sigma in enumerate(SIGMAS):
        writer.begin(sigma)
        for layer in GEOMETRY.layers:
            states = torch.cat([features(layer, step, half, images) for half in halves])
            writer.attend(layer, states, states, list(halves))
    return writer.finish(torch.zeros(images, 4, 12, 16))
