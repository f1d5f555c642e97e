import copy
import math

import pytest
import torch

from storybooth.consistency.bank import Geometry, Recipe, size_in_bytes, tokens_of
from storybooth.consistency.reader import BankReader
from storybooth.consistency.schedule import COND, UNCOND, Layer, Schedule
from storybooth.consistency.steps import nearest_step, step_of
from storybooth.consistency.writer import BankWriter

from . import dense
from .making import COARSE, GEOMETRY, SIGMAS, features, recipe, write

SDXL = Geometry(
    {Layer(block, index): 1280 for block in range(3) for index in range(10)}
    | {Layer(block, index): 640 for block in range(3, 6) for index in range(2)},
    tokens_of(128, 128),
)


def test_sizes_at_the_report_settings():
    """method.md, section 2, Memory."""
    full = size_in_bytes(recipe(2, Schedule(), steps=50, storage="full", dtype="fp16"), SDXL)
    compact = size_in_bytes(recipe(2, Schedule(), steps=50, dtype="fp16"), SDXL)
    assert full == 22_020_096_000
    assert compact / full == pytest.approx(0.375, abs=0.01)
    assert compact <= 7.8 * 2**30
    assert size_in_bytes(recipe(2, Schedule(), steps=50, dtype="fp8"), SDXL) * 2 == compact


@pytest.mark.parametrize("storage", ["compact", "full"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "fp8"])
def test_the_size_is_known_before_writing(storage, dtype):
    made_with = recipe(3, storage=storage, dtype=dtype)
    assert write(made_with).size == size_in_bytes(made_with, GEOMETRY)


def test_token_counts_round_up_as_the_unet_does():
    assert tokens_of(128, 128) == {64: 4096, 32: 1024}
    assert tokens_of(9, 16) == {64: 5 * 8, 32: 3 * 4}


def test_a_full_bank_holds_everything():
    bank = write(recipe(2, storage="full"))
    for step in range(len(SIGMAS)):
        for layer in GEOMETRY.layers:
            for half in (COND, UNCOND):
                assert torch.equal(bank.features[step, layer, half], features(layer, step, half, 2))


@pytest.mark.parametrize(("dtype", "relative", "least"), [("fp16", 2**-11, 2**-25), ("fp8", 2**-4, 2**-10)])
def test_stored_features_keep_the_bound_that_is_stated(dtype, relative, least):
    exact = torch.cat(
        [torch.logspace(-12, 8.8, 5000, base=2), torch.rand(1000) / 100, torch.zeros(1), torch.randn(1999)]
    )
    exact = torch.cat([exact, -exact]).reshape(1, 1000, 16)
    made_with = recipe(1, storage="full", dtype=dtype, steps=1)
    writer = BankWriter(made_with, Geometry({COARSE: 16}, {32: 1000, 64: 4000}))
    writer.start([1.0], seed=None)
    writer.begin(1.0)
    writer.attend(COARSE, exact, exact, [COND])
    error = (writer.finish(torch.zeros(1)).features[0, COARSE, COND].float() - exact).abs()
    allowed = (relative * exact.abs()).clamp(min=least)
    assert (error <= allowed).all()
    assert (error > 0.9 * allowed).any(), "the bound is tight"


def test_fp8_changes_what_a_panel_sees_by_little():
    """Errors of rounding are independent, so that attention, which averages over tokens, sees less than the bound."""
    torch.manual_seed(0)
    attention = dense.SelfAttention(16, 4).double()
    outputs = []
    for dtype in ("fp32", "fp8"):
        schedule = Schedule(1.0, 1.0, 0, 0, 1.0, 1.0)
        reader = BankReader(write(recipe(2, schedule, dtype=dtype)), schedule)
        reader.begin(SIGMAS[2])
        panel = torch.randn(1, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        (context,) = reader.attend(COARSE, panel, panel, [COND])
        outputs.append(attention(panel[0], context) - attention.to_out.bias)
    exact, rounded = outputs
    assert 0 < (rounded - exact).norm() / exact.norm() < 2**-4


def test_fp8_saturates_instead_of_turning_to_nan():
    writer = BankWriter(recipe(1, storage="full", dtype="fp8", steps=1), GEOMETRY)
    writer.start([1.0], seed=None)
    writer.begin(1.0)
    states = torch.full((1, 12, 16), 1e4)
    writer.attend(COARSE, states, states, [COND])
    assert torch.equal(writer.finish(torch.zeros(1)).features[0, COARSE, COND].float(), torch.full((1, 12, 16), 448.0))


def test_a_bank_is_shared_not_copied():
    bank = write(recipe())
    assert copy.deepcopy({"options": [bank]})["options"][0] is bank


def test_a_recipe_survives_plain_values():
    made_with = recipe(2, seeds=(None, 7))
    assert Recipe.from_dict(made_with.to_dict()) == made_with


def test_a_bank_of_cfg_1_says_so_when_uncond_is_asked():
    reader = BankReader(write(recipe(2, cfg=1.0), halves=(COND,)), Schedule(start_step=1, switch_step=3))
    with pytest.raises(ValueError, match=r"^bank: .*cfg 1 .*no unconditional"):
        for sigma in SIGMAS:
            reader.begin(sigma)
            for layer, channels in GEOMETRY.layers.items():
                reader.attend(layer, *[torch.zeros(2, 3, channels)] * 2, [UNCOND, COND])


def test_the_first_of_several_evaluations_stays():
    writer = BankWriter(recipe(1, storage="full"), GEOMETRY)
    writer.start(SIGMAS, seed=None)
    for sigma in SIGMAS:
        for repeat in (1.0, 2.0):
            # Heun and dpm_2 evaluate again between two steps, or at the next step's noise level.
            writer.begin(sigma / repeat**0.1)
            states = torch.full((1, 12, 16), sigma * repeat)
            writer.attend(COARSE, states, states, [COND])
    bank = writer.finish(torch.zeros(1))
    assert bank.sigmas == tuple(SIGMAS)
    assert [bank.features[step, COARSE, COND].unique().item() for step in range(5)] == pytest.approx(SIGMAS)


def test_a_sampler_that_passes_over_a_step_is_refused():
    writer = BankWriter(recipe(), GEOMETRY)
    writer.start(SIGMAS, seed=None)
    for sigma in SIGMAS[:3] + SIGMAS[4:]:
        writer.begin(sigma)
    with pytest.raises(ValueError, match=r"^sampler \(sampler_name\): .*step 3 of 5"):
        writer.finish(torch.zeros(2))


@pytest.mark.parametrize(("rows", "tokens", "halves"), [(3, 12, [COND]), (4, 6, [UNCOND, COND]), (4, 12, [COND, COND])])
def test_regional_conditioning_is_refused_while_writing(rows, tokens, halves):
    writer = BankWriter(recipe(2, storage="full"), GEOMETRY)
    writer.start(SIGMAS, seed=None)
    writer.begin(SIGMAS[2])
    states = torch.zeros(rows, tokens, 16)
    with pytest.raises(ValueError, match=r"^model: .*2 identity images"):
        writer.attend(COARSE, states, states, halves)


def test_step_of_an_evaluation():
    assert [step_of(sigma, SIGMAS) for sigma in (20.0, 14.0, 13.9, 7.0, 6.9999, 5.0, 0.3, 0.1)] == [
        0,
        0,
        0,
        1,
        1,
        1,
        4,
        4,
    ]


def test_nearest_step_is_logarithmic_and_refuses_more_noise_than_was_written():
    assert [nearest_step(sigma, SIGMAS) for sigma in (28.0, 10.0, 9.8, 5.0, 0.15)] == [0, 0, 1, 1, 4]
    halfway = math.sqrt(SIGMAS[1] * SIGMAS[2])
    assert [nearest_step(halfway * rounding, SIGMAS) for rounding in (1 - 1e-6, 1, 1 + 1e-6)] == [1, 1, 1]
    assert [nearest_step(sigma, SIGMAS) for sigma in (0.14, 1e-3, 0.0)] == [4, 4, 4]
    for far in (28.1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"^bank: .*noise levels"):
            nearest_step(far, SIGMAS)
