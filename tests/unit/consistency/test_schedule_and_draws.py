import itertools

import pytest
import torch

from storybooth.consistency.draws import is_consistent, kept_tokens, layer_draw, token_order
from storybooth.consistency.schedule import Layer, Schedule

LAYERS = [Layer(block, index) for block in range(3) for index in range(10)]
LAYERS += [Layer(block, index) for block in range(3, 6) for index in range(2)]


def test_the_report_schedule():
    schedule = Schedule()
    assert [schedule.probability(step) for step in (0, 4, 5, 19, 20, 49)] == [0, 0, 0.7, 0.7, 0.9, 0.9]
    assert schedule.kept(32, 1024) == 512
    assert schedule.kept(64, 4096) == 2048


def test_levels_are_the_two_resolutions_of_the_up_blocks():
    assert [Layer(block, 0).level for block in range(6)] == [32, 32, 32, 64, 64, 64]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("strength_32", 1.01),
        ("strength_64", -0.1),
        ("early_probability", 2),
        ("late_probability", -1),
        ("start_step", -1),
    ],
)
def test_a_setting_out_of_range_is_named(setting, value):
    with pytest.raises(ValueError, match=rf"^[a-z ]+ \({setting}\): got {value}"):
        Schedule(**{setting: value})


def test_a_smaller_strength_keeps_a_subset():
    more = kept_tokens(7, 3, 64, 2, 100, 60)
    fewer = kept_tokens(7, 3, 64, 2, 100, 25)
    assert torch.equal(more[:, :25], fewer)
    assert all(len(set(row.tolist())) == 60 for row in more)


def test_draws_differ_with_every_part_of_the_key():
    orders = [
        tuple(token_order(seed, step, level, image, 30).tolist())
        for seed, step, level, image in itertools.product((0, 1), (0, 1), (32, 64), (0, 1))
    ]
    assert len(set(orders)) == len(orders)
    draws = {layer_draw(seed, step, layer) for seed in (0, 1) for step in range(50) for layer in LAYERS}
    assert len(draws) == 2 * 50 * len(LAYERS)


def test_draws_read_no_shared_stream():
    torch.manual_seed(0)
    first = token_order(42, 0, 32, 0, 64)
    torch.rand(10)
    state = torch.random.get_rng_state()
    assert torch.equal(token_order(42, 0, 32, 0, 64), first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_draws_stay_what_they_are():
    """Saved banks depend on them."""
    assert token_order(42, 5, 32, 0, 8).tolist() == [6, 0, 3, 4, 2, 7, 1, 5]
    assert layer_draw(42, 5, Layer(0, 0)) == 0.922390492147384


def test_layers_are_consistent_as_often_as_the_schedule_says():
    schedule = Schedule()
    for steps, probability in ((range(5), 0.0), (range(5, 20), 0.7), (range(20, 50), 0.9)):
        taken = [is_consistent(schedule, seed, step, layer) for seed in range(8) for step in steps for layer in LAYERS]
        # Five standard deviations of a binomial share.
        spread = 5 * (probability * (1 - probability) / len(taken)) ** 0.5
        assert abs(sum(taken) / len(taken) - probability) <= spread


def test_a_smaller_probability_takes_a_subset():
    more, fewer = Schedule(late_probability=0.9), Schedule(late_probability=0.3)
    for seed, layer in itertools.product(range(20), LAYERS):
        assert is_consistent(more, seed, 30, layer) or not is_consistent(fewer, seed, 30, layer)


@pytest.mark.parametrize(
    "settings",
    [{"strength_32": 0, "strength_64": 0}, {"early_probability": 0, "late_probability": 0}, {"start_step": 50}],
)
def test_settings_that_never_act(settings):
    assert Schedule(**settings).never_acts(50)


def test_the_report_settings_act():
    assert not Schedule().never_acts(50)


@pytest.mark.parametrize(
    ("asked", "setting"),
    [
        ({"strength_32": 0.6}, "strength_32"),
        ({"strength_64": 1.0}, "strength_64"),
        ({"start_step": 4}, "start_step"),
        ({"early_probability": 0.8}, "early_probability"),
        ({"late_probability": 0.95}, "late_probability"),
        ({"switch_step": 10}, "late_probability"),
    ],
)
def test_asking_for_more_than_was_written_names_the_setting(asked, setting):
    with pytest.raises(ValueError, match=rf"^[a-z ]+ \({setting}\): .*write the bank again"):
        Schedule(**asked).require_within(Schedule(), 50)


@pytest.mark.parametrize(
    "asked",
    [{}, {"strength_32": 0.2}, {"start_step": 9}, {"switch_step": 30}, {"early_probability": 0}, {"start_step": 60}],
)
def test_asking_for_less_is_fine(asked):
    Schedule(**asked).require_within(Schedule(), 50)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"strength_32": 0, "strength_64": 0}, "strength_32, strength_64"),
        ({"start_step": 1, "early_probability": 0, "late_probability": 0}, "late_probability"),
        ({"start_step": 4}, "Set it to 3 or less"),
        ({"start_step": 0, "early_probability": 0}, "probability"),
    ],
)
def test_a_bank_that_was_written_empty_is_named_as_such_and_no_more_of_it_advised(settings, says):
    written = Schedule(**settings)
    assert says in written.why_never(4)
    with pytest.raises(ValueError, match=r"^bank: it was written empty.*Identity Bank Writer\.$"):
        Schedule(start_step=0).require_within(written, 4)
    written.require_within(written, 4)
