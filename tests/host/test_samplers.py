"""Every sampler and scheduler reads the right step of a bank; see samplers.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("samplers.py")


@pytest.mark.parametrize(("kind", "count"), [("samplers", 30), ("schedulers", 9)])
def test_all_read_the_step_of_their_noise_level(measured, kind, count):
    cases = measured[kind]
    assert len(cases) >= count
    assert {name: case["wrong"] for name, case in cases.items() if case["wrong"]} == {}
    assert {name: case["effect"] for name, case in cases.items() if not 0.01 < case["effect"] < 10} == {}


def test_samplers_that_evaluate_between_steps_do_read(measured):
    evaluations = {name: case["evaluations"] for name, case in measured["samplers"].items()}
    assert evaluations["euler"] == 2
    assert min(evaluations[name] for name in ("heun", "dpm_2", "dpmpp_sde", "seeds_2", "seeds_3")) > 2


def test_samplers_with_a_memory_agree_with_dense_masks_in_one_batch(measured):
    # Mini's trained weights let rounding grow more in some samplers than in others: 1.5e-4 with res_multistep.
    assert max(measured["together"].values()) < 3e-4, measured["together"]


def test_noise_levels_too_far_from_the_bank_are_refused_before_drawing(measured):
    message = measured["far_apart"]["error"]
    assert message.startswith("bank: it was written at noise levels")
    assert "Use the sampler, scheduler and steps of the bank" in message
