"""Attention back ends, precisions and compiled models write and read banks; see machine.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("machine.py")


def test_every_attention_back_end_agrees_with_dense_masks(measured):
    assert len(measured["backends"]) == 4
    assert max(measured["backends"].values()) < 1e-4, measured["backends"]


def test_weights_of_every_precision_agree_with_dense_masks(measured):
    cases = measured["precisions"]
    in_bf16 = cases.pop("computing in bf16")
    assert [name.split(".")[-1] for name in cases] == ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
    assert [case for case in cases.values() if not case["error"] < 1e-4 < 0.1 < case["effect"]] == []
    # Eight bits of every number in the network: two ways of computing differ as much as either does from fp32.
    assert in_bf16["error"] < 1.5 * in_bf16["rounding"] < in_bf16["effect"]


def test_a_compiled_model_reads_the_bank(measured):
    assert measured["compiled"]["error"] < 1e-4 < 0.1 < measured["compiled"]["effect"]
