"""Where tensors lie when a card computes: tensors with shape, precision and device, and without numbers."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Schedule
from storybooth.consistency.writer import BankWriter

from .making import GEOMETRY, SIGMAS, recipe, write

ALWAYS = Schedule(0.5, 0.5, 0, 0, 1.0, 1.0)
HALVES = [UNCOND, COND]


@pytest.fixture
def card(monkeypatch):
    """A mode in which `cuda` is a device like any other, though nothing can be pinned or copied on a stream."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.device("cuda", 0)


def states(device: torch.device, layer, dtype: torch.dtype, rows: int) -> torch.Tensor:
    tokens = GEOMETRY.tokens[layer.level]
    return torch.empty(rows, tokens, GEOMETRY.layers[layer], dtype=dtype, device=device)


@pytest.mark.parametrize("storage", ["compact", "full"])
@pytest.mark.parametrize("dtype", ["fp16", "fp8", "fp32"])
def test_a_bank_is_written_from_a_card_into_system_memory(card, storage, dtype):
    writer = BankWriter(recipe(3, ALWAYS, storage=storage, dtype=dtype), GEOMETRY, pinned=0)
    writer.start(SIGMAS, seed=None)
    writer.begin(SIGMAS[1])
    for layer in GEOMETRY.layers:
        given = states(card, layer, torch.bfloat16, 6)
        context = writer.attend(layer, given, given, HALVES)
        assert (context.device, context.dtype) == (card, torch.bfloat16)
        assert context.shape[1] > given.shape[1]
    assert {feature.device.type for feature in writer._features.values()} == {"cpu"}


@pytest.mark.parametrize("storage", ["compact", "full"])
@pytest.mark.parametrize("dtype", ["fp16", "fp8", "fp32"])
def test_a_card_reads_a_bank_in_its_own_precision(storage, dtype):
    bank = write(recipe(3, ALWAYS, storage=storage, dtype=dtype))
    reader = BankReader(bank, ALWAYS)
    reader.streamed = frozenset()
    with FakeTensorMode(allow_non_fake_inputs=True):
        card = torch.device("cuda", 0)
        reader.start(SIGMAS, seed=1)
        reader.begin(SIGMAS[1])
        for layer in GEOMETRY.layers:
            given = states(card, layer, torch.bfloat16, 4)
            context = reader.attend(layer, given, given, HALVES)
            assert (context.device, context.dtype) == (card, torch.bfloat16)
            assert context.shape[1] > given.shape[1]
