"""Weights that are not plain numbers of the model's precision; see quantised.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("quantised.py")


def test_quantised_weights_are_written_read_and_trained_upon(measured):
    found = measured["quantised"]
    assert found["kinds"] == found["expected kinds"]
    assert found["trainer's digest"] == 32
    assert [name for name, value in found.items() if value is False] == []
    assert 0 < found["off by"] < 0.05  # fp8 has three bits after the first


def test_weights_that_nobody_can_read_are_refused_by_name(measured):
    assert (
        "model: its weights are stored as Ggml (diffusion_model.middle_block.1.proj_in.weight)"
        in (measured["unknown"]["error"])
    )
    assert measured["unknown"]["digest"]


def test_weights_that_are_cast_late_are_trained_upon_in_the_models_own_precision(measured):
    found = measured["late"]
    assert found["matrices"] == ["torch.float8_e4m3fn"]
    assert found["others"] == ["torch.bfloat16"]
    assert found["as one that was cast at once"]
    assert not found["as in the file's precision"]


def test_a_vae_that_is_loaded_keeps_its_digest(measured):
    assert measured["late"]["a loaded VAE is the same"]
    assert measured["late"]["the VAE's dtype counts"]
