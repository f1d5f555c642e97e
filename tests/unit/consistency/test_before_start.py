"""Start and switch step as shares of a run, and StoryDiffusion's own way before the start."""

import pytest
import torch

from storybooth.consistency.bank import size_in_bytes
from storybooth.consistency.bank_file import load, save
from storybooth.consistency.draws import is_consistent, kept_tokens
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Schedule
from storybooth.consistency.writer import BankWriter

from . import dense
from .making import GEOMETRY, SIGMAS, features, recipe, write

EVERYTHING = Schedule(0.5, 0.3, 2, 4, 0.7, 0.9, before_start="everything")


@pytest.mark.parametrize("storage", ["compact", "full"])
@pytest.mark.parametrize("keep", ["random", "subject"])
def test_before_the_start_a_panel_reads_all_tokens(storage, keep, tmp_path):
    torch.manual_seed(0)
    made_with = recipe(2, EVERYTHING, storage=storage, keep=keep)
    bank = write(made_with)
    assert keep == "subject" or bank.size == size_in_bytes(made_with, GEOMETRY)
    save(bank, tmp_path / "bank.safetensors")
    for made in (bank, load(tmp_path / "bank.safetensors")):
        reader = BankReader(made, EVERYTHING)
        reader.streamed = frozenset({"cpu"})  # by way of the places that a device would have
        reader.start(SIGMAS, seed=99)
        for step, sigma in enumerate(SIGMAS):
            reader.begin(sigma)
            for layer, channels in GEOMETRY.layers.items():
                attention = dense.SelfAttention(channels, 4).double()
                tokens, seed = GEOMETRY.tokens[layer.level], 99 if storage == "full" else 42
                if step < 2:
                    flags = torch.ones(2, tokens, dtype=torch.bool)
                else:  # no cross-attention was seen, so that all is the subject
                    drawn = 42 if keep == "subject" else seed
                    kept = kept_tokens(drawn, step, layer.level, 2, tokens, EVERYTHING.kept(layer.level, tokens))
                    flags = dense.keep_flags(kept, tokens) & is_consistent(EVERYTHING, seed, step, layer)
                panel = torch.randn(2, 7, channels, dtype=torch.float64)
                rows = reader.attend(layer, panel, panel, [COND, UNCOND])
                for row, half in enumerate((COND, UNCOND)):
                    identity = features(layer, step, half, 2).double()
                    expected = dense.read(attention, panel[row], identity, flags)
                    torch.testing.assert_close(attention(panel[row], rows[row]), expected, rtol=1e-12, atol=1e-12)


def test_identity_images_are_drawn_plainly_before_the_start():
    writer = BankWriter(recipe(2, EVERYTHING), GEOMETRY)
    writer.start(SIGMAS, seed=None)
    for sigma in SIGMAS[:2]:
        writer.begin(sigma)
        for layer, channels in GEOMETRY.layers.items():
            states = torch.randn(4, GEOMETRY.tokens[layer.level], channels)
            assert writer.attend(layer, states, states, [UNCOND, COND]) is states


def test_what_a_bank_does_not_store_is_refused():
    nothing = write(recipe(2, Schedule(0.5, 0.3, 2, 4, 0.7, 0.9)))
    with pytest.raises(ValueError, match=r"before the start \(before_start\): step 0 is to read everything"):
        BankReader(nothing, EVERYTHING)
    everything = write(recipe(2, EVERYTHING))
    with pytest.raises(ValueError, match=r"before the start \(before_start\): step 2"):
        BankReader(everything, Schedule(0.5, 0.3, 3, 4, 0.7, 0.9, before_start="everything"))
    BankReader(everything, Schedule(0.5, 0.3, 2, 4, 0.7, 0.9))
    with pytest.raises(ValueError, match=r"before the start \(before_start\): got 'all', expected one of: nothing"):
        Schedule(before_start="all")


def test_everything_before_the_start_counts_as_reading():
    assert not Schedule(0.0, 0.0, before_start="everything").never_acts(50)
    assert not Schedule(start_step=60, before_start="everything").never_acts(50)
    assert Schedule(0.0, 0.0, start_step=0, before_start="everything").never_acts(50)


@pytest.mark.parametrize(("steps", "start", "switch"), [(50, 5, 20), (25, 3, 10), (8, 1, 4), (4, 1, 2), (1, 1, 1)])
def test_percent_is_a_share_of_the_run(steps, start, switch):
    schedule = Schedule(start_step=10, switch_step=40).in_steps("percent", steps)
    assert (schedule.start_step, schedule.switch_step) == (start, switch)
    assert schedule.strength_32 == 0.5
    assert Schedule().in_steps("steps", steps) == Schedule()
    for step in range(steps):
        assert (step < start) == (step / steps < 0.10)


def test_more_than_all_of_the_run_is_refused():
    with pytest.raises(ValueError, match=r"switch step \(switch_step\): got 101 percent, expected 0 to 100"):
        Schedule(switch_step=101).in_steps("percent", 50)


def test_old_banks_say_nothing_of_it():
    assert "before_start" not in recipe(2).to_dict()["schedule"]
    made = recipe(2, EVERYTHING)
    assert type(made).from_dict(made.to_dict()) == made
