"""Write and read against dense masks in float64."""

import random

import pytest
import torch

from storybooth.consistency.bank import Geometry
from storybooth.consistency.draws import is_consistent, kept_tokens
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Schedule
from storybooth.consistency.writer import BankWriter

from . import dense
from .making import COARSE, FINE, GEOMETRY, SIGMAS, recipe, write

ALWAYS = {"start_step": 0, "switch_step": 0, "early_probability": 1.0, "late_probability": 1.0}


@pytest.mark.parametrize("images", [1, 2, 3, 4])
@pytest.mark.parametrize("layer", [COARSE, FINE])
@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("storage", ["compact", "full"])
def test_write_then_read_equals_the_dense_mask(images, layer, strength, storage):
    torch.manual_seed(images)
    tokens, channels = GEOMETRY.tokens[layer.level], GEOMETRY.layers[layer]
    attention = dense.SelfAttention(channels, heads=4).double()
    schedule = Schedule(strength_32=strength, strength_64=strength, **ALWAYS)
    made_with = recipe(images, schedule, storage=storage)
    x = {half: torch.randn(images, tokens, channels, dtype=torch.float64) for half in (UNCOND, COND)}

    writer = BankWriter(made_with, Geometry({layer: channels}, GEOMETRY.tokens))
    writer.start(SIGMAS, seed=None)
    for sigma in SIGMAS:
        writer.begin(sigma)
        states = torch.cat([x[UNCOND], x[COND]])
        contexts = writer.attend(layer, states, states, [UNCOND, COND])
        step = SIGMAS.index(sigma)
        flags = flags_of(schedule, made_with.seed, step, layer, images, tokens)
        for half, rows in zip((UNCOND, COND), contexts.chunk(2), strict=True):
            got = torch.stack([attention(x[half][row], rows[row]) for row in range(images)])
            torch.testing.assert_close(got, dense.write(attention, x[half], flags), rtol=1e-12, atol=1e-12)
    bank = writer.finish(torch.zeros(images, 4, 8, 8))

    # A panel of another size, in a batch of two, its halves in either order, in one call or in two.
    reader = BankReader(bank, schedule)
    reader.start(SIGMAS, seed=99)
    panel = torch.randn(2, 7, channels, dtype=torch.float64)
    for halves in ([UNCOND, COND], [COND, UNCOND], [UNCOND], [COND]):
        for step, sigma in enumerate(SIGMAS):
            reader.begin(sigma)
            contexts = reader.attend(layer, *[torch.cat([panel] * len(halves))] * 2, halves).chunk(len(halves))
            seed = 99 if storage == "full" else made_with.seed
            flags = flags_of(schedule, seed, step, layer, images, tokens)
            for half, rows in zip(halves, contexts, strict=True):
                # The bank stores fp32.
                identity = x[half].float().double()
                for row in range(2):
                    expected = dense.read(attention, panel[row], identity, flags)
                    torch.testing.assert_close(attention(panel[row], rows[row]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("storage", ["compact", "full"])
def test_random_settings_equal_the_dense_mask(seed, storage):
    """Every number of images, both levels at strengths of their own, cond and uncond; read with less than written."""
    draw, images = random.Random(seed), 1 + seed % 4
    torch.manual_seed(seed)
    first, second = sorted((draw.random(), draw.random()), reverse=True)
    written = Schedule(draw.random(), draw.random(), draw.randrange(3), draw.randrange(5), first, draw.random())
    asked = Schedule(
        written.strength_32 * draw.random(),
        written.strength_64 * draw.choice([0.5, 1.0]),
        written.start_step + draw.randrange(2),
        written.switch_step,
        written.early_probability * second,
        written.late_probability,
    )
    made_with = recipe(images, written, storage=storage, seed=seed)
    attentions = {layer: dense.SelfAttention(channels, 4).double() for layer, channels in GEOMETRY.layers.items()}
    hidden = {
        (step, layer, half): torch.randn(images, GEOMETRY.tokens[layer.level], channels, dtype=torch.float64)
        for step in range(len(SIGMAS))
        for layer, channels in GEOMETRY.layers.items()
        for half in (UNCOND, COND)
    }

    def flags(schedule, drawn_with, step, layer):
        """Keep flags (M, N), all False where the layer is not consistent."""
        acts = is_consistent(schedule, drawn_with, step, layer)
        return flags_of(schedule, drawn_with, step, layer, images, GEOMETRY.tokens[layer.level]) & acts

    writer = BankWriter(made_with, GEOMETRY)
    writer.start(SIGMAS, seed=None)
    for step, sigma in enumerate(SIGMAS):
        writer.begin(sigma)
        for layer, attention in attentions.items():
            states = torch.cat([hidden[step, layer, half] for half in (UNCOND, COND)])
            rows = writer.attend(layer, states, states, [UNCOND, COND])
            got = torch.stack([attention(own, context) for own, context in zip(states, rows, strict=True)])
            keep = flags(written, seed, step, layer)
            expected = [dense.write(attention, hidden[step, layer, half], keep) for half in (UNCOND, COND)]
            torch.testing.assert_close(got, torch.cat(expected), rtol=1e-12, atol=1e-12)
    reader = BankReader(writer.finish(torch.zeros(images, 4, 8, 8)), asked)
    reader.streamed = frozenset({"cpu"})  # by way of the places that a device would have
    reader.start(SIGMAS, seed=99)
    for step, sigma in enumerate(SIGMAS):
        reader.begin(sigma)
        for layer, attention in attentions.items():
            panel = torch.randn(4, 7, GEOMETRY.layers[layer], dtype=torch.float64)
            rows = reader.attend(layer, panel, panel, [COND, UNCOND])
            keep = flags(asked, 99 if storage == "full" else seed, step, layer)
            for row, half in enumerate((COND, COND, UNCOND, UNCOND)):
                identity = hidden[step, layer, half].float().double()  # the bank stores fp32
                expected = dense.read(attention, panel[row], identity, keep)
                torch.testing.assert_close(attention(panel[row], rows[row]), expected, rtol=1e-12, atol=1e-12)


def flags_of(schedule, seed, step, layer, images, tokens):
    kept = kept_tokens(seed, step, layer.level, images, tokens, schedule.kept(layer.level, tokens))
    return dense.keep_flags(kept, tokens)


@pytest.mark.parametrize("asked", [0.0, 0.2, 0.5])
def test_a_compact_bank_reads_any_smaller_strength(asked):
    torch.manual_seed(0)
    tokens, channels = GEOMETRY.tokens[64], GEOMETRY.layers[FINE]
    made_with = recipe(2, Schedule(strength_64=0.5, **ALWAYS))
    x = torch.randn(2, tokens, channels)
    writer = BankWriter(made_with, GEOMETRY)
    writer.start(SIGMAS, seed=None)
    for sigma in SIGMAS:
        writer.begin(sigma)
        writer.attend(FINE, x, x, [COND])
    bank = writer.finish(torch.zeros(2, 4, 8, 8))
    reader = BankReader(bank, Schedule(strength_64=asked, **ALWAYS))
    reader.begin(SIGMAS[2])
    kept = kept_tokens(made_with.seed, 2, 64, 2, tokens, round(asked * tokens))
    expected = torch.cat([x[image, kept[image]] for image in range(2)])
    panel = torch.zeros(1, 5, channels)
    assert torch.equal(reader.attend(FINE, panel, panel, [COND])[0, 5:], expected)


def test_layers_and_steps_follow_the_schedule():
    schedule = Schedule(start_step=1, switch_step=3, early_probability=0.4, late_probability=0.8)
    made_with = recipe(2, schedule)
    bank = write(made_with)
    reader = BankReader(bank, schedule)
    acted = set()
    for step, sigma in enumerate(SIGMAS):
        reader.begin(sigma)
        for layer, channels in GEOMETRY.layers.items():
            panel = torch.zeros(2, 3, channels)
            extended = reader.attend(layer, panel, panel, [UNCOND, COND])
            assert (extended is panel) != is_consistent(schedule, made_with.seed, step, layer)
            if extended is not panel:
                acted.add((step, layer))
    assert {(step, layer) for step, layer, _ in bank.features} == acted
    assert not any(step == 0 for step, _ in acted)
