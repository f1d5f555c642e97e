"""Panels of a cast on ComfyUI's own sampler; see cast_parity.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("cast_parity.py")


def test_one_character_is_drawn_as_in_a_story_of_its_own(measured):
    assert measured["alone"] == {"the bank": True, "the panel": True, "nobody's panel": True}


def test_parts_agree_with_a_computation_without_hooks_and_areas(measured):
    errors = measured["together"]["errors"]
    assert len(errors) == 3
    assert max(errors.values()) < 1e-4, errors


def test_bank_and_lora_of_each_count_in_its_part(measured):
    together = measured["together"]
    counted = ("a bank counts", "a LoRA counts", "of T-LoRAs", "subject reads")
    assert min(together[name] for name in counted) > 0.01, together


def test_a_lora_by_model_is_the_lora_by_name(measured):
    assert measured["together"]["by model"]


def test_pictures_of_parts_in_one_batch(measured):
    assert max(measured["together"]["batch"]) < 1e-4


def test_only_what_changed_is_drawn_again(measured):
    assert measured["again"][:2] == [0, 0]
    assert measured["again"][2] > 0


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("banks", ["bank: that of ann was written by another checkpoint than that of bob", "disconnect one of them"]),
        ("model", ["cast: the model of bob comes from another checkpoint", "LoRA by name"]),
        ("lora", ["cast: the LoRA of bob, odd, changes no layer of this model"]),
        ("network", ["bank: it was written with a LoRA, and the model carries none"]),
    ],
)
def test_what_does_not_belong_together_is_refused(measured, case, says):
    message = measured["refusals"].get(case, "")
    assert [part for part in says if part not in message] == [], message
