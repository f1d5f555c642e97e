"""System memory that banks lie in. Without a card pinning is refused, as on a system that pins no more."""

import gc

import pytest
import torch

from storybooth.consistency import bank as bank_module
from storybooth.consistency.host_memory import SLAB, HostMemory, give_back

from .making import recipe, write

CUDA = torch.device("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="pinning works here")
def test_memory_that_cannot_be_pinned_is_taken_as_it_is(caplog):
    memory = HostMemory(CUDA)
    pieces = [memory.take(SLAB), memory.take(100), memory.take(100)]
    assert [len(piece) for piece in pieces] == [SLAB, 100, 100]
    assert caplog.text.count("no more memory can be pinned") == 1, "and is asked for no more"


def test_no_more_is_pinned_than_is_allowed(caplog):
    assert len(HostMemory(CUDA, pinned=SLAB - 1).take(10)) == 10
    assert caplog.text == ""


def test_a_bank_that_is_written_on_a_processor_asks_for_no_cuda(caplog):
    write(recipe(2))
    give_back()
    assert caplog.text == ""
    assert not torch.cuda.is_initialized()


def test_pieces_do_not_overlap():
    memory = HostMemory(torch.device("cpu"))
    pieces = [memory.take(size).fill_(index) for index, size in enumerate((1, 100, 63, SLAB, 64))]
    assert all(bool((piece == index).all()) for index, piece in enumerate(pieces))


def test_the_memory_of_a_dropped_bank_is_given_back(monkeypatch):
    given = []
    bank = write(recipe(2))
    monkeypatch.setattr(bank_module, "give_back", lambda: given.append(True))
    gc.collect()
    del bank
    assert given == [True]
