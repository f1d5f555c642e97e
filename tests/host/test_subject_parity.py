"""Which tokens a bank keeps and which of a panel's read it, on ComfyUI's own sampler; see subject_parity.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("subject_parity.py")


def test_agrees_with_dense_masks_over_queries_and_keys(measured):
    assert len(measured["parity"]) == 7
    assert max(measured["parity"].values()) < 1e-5, measured["parity"]


def test_two_banks_whose_subject_reads_agree_with_one_dense_mask(measured):
    stacked = measured["stacked"]
    assert max(*stacked["write"], stacked["read"]) < 1e-5 < 0.005 < min(stacked["effect"]), stacked


def test_where_cross_attention_is_replaced_all_reads_and_that_is_told(measured):
    assert measured["unseen"]["told"] == ["unseen"]
    assert measured["unseen"]["error"] < 1e-5


def test_the_subjects_words_are_found_in_the_prompt(measured):
    assert measured["facts"]["words"] == [[[2, 3]], [[6, 7]], [[2, 3]], [[]], [[]]]


def test_a_panel_without_the_subject_reads_nothing(measured):
    assert measured["facts"]["nobody is plain"]


def test_prompts_that_tell_no_subject_read_everything(measured):
    assert measured["facts"]["unknown is everyone"]


def test_every_choice_draws_another_picture(measured):
    assert measured["facts"]["differ"] == 5


def test_a_bank_of_the_subject_is_smaller(measured):
    sizes = measured["facts"]["sizes"]
    assert sizes["subject"] == sizes["salient"] < sizes["random"] / 2


def test_masks_say_where_the_subject_is(measured):
    # 128 x 96 pixels are 4 x 3 and 8 x 6 tokens. The first mask has the left half of the upper half; the second the
    # middle, whose cells the coarse level has by halves and quarters.
    masked = measured["facts"]["masked"]
    assert masked["64"]["0"] == [y * 8 + x for y in range(3) for x in range(4)]
    middle = {y * 8 + x for y in range(6) for x in range(8) if 24 <= y * 16 + 8 <= 72 and 2 <= x < 6}
    assert set(masked["64"]["1"]) <= middle
    assert set(masked["32"]["0"]) <= {0, 1, 4, 5}
    assert set(masked["32"]["1"]) <= {1, 2, 5, 6}


def test_cond_and_uncond_may_come_in_two_calls(measured):
    assert measured["apart"]["order"]
    assert max(measured["apart"]["write"], measured["apart"]["read"]) < 1e-5, measured["apart"]


def test_every_attention_of_comfyui_agrees(measured):
    assert max(measured["backends"].values()) < 1e-5, measured["backends"]


def test_samplers_that_evaluate_twice_or_add_noise(measured):
    assert all(measured["samplers"].values()), measured["samplers"]
