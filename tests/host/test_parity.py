"""Consistent self-attention on ComfyUI's own sampler; see parity.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("parity.py")


def test_switched_off_is_plain_to_the_bit(measured):
    assert all(measured["off"].values()), measured["off"]


def test_agrees_with_dense_masks_in_one_batch(measured):
    assert len(measured["parity"]) == 7
    assert max(measured["parity"].values()) < 1e-4, measured["parity"]


def test_cond_and_uncond_may_come_in_two_calls(measured):
    assert measured["split"]["chunks"] == 1, "ComfyUI did not split the batch"
    assert max(measured["split"]["write"], measured["split"]["read"]) < 1e-4, measured["split"]


def test_comfyui_is_told_what_memory_a_bank_needs(measured):
    # Of the two levels the upper one needs more: 16 tokens of 128 channels, in fp32; cond and uncond.
    upper = 128 * 4
    assert measured["memory"]["write"] == pytest.approx(2 * 2 * upper * (4 * 2 * 16 + 16), rel=1e-6)
    places = 4 * 2 * 16 * upper  # what is copied to the device ahead: the kept tokens of two images
    assert measured["memory"]["read"] == pytest.approx(2 * upper * (4 * 2 * 16 + 16) + places, rel=1e-6)
    # Shares of one estimate, so that two come out a little above their sum.
    assert 2 * measured["memory"]["read"] <= measured["memory"]["read two"] <= 2.2 * measured["memory"]["read"]
