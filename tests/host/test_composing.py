"""A bank beside everything else that ComfyUI can do to a sampling run: guidance.py and neighbours.py."""

import pytest


def require_exact(cases: dict[str, dict[str, float]], count: int) -> None:
    """Every case shows the bank, and agrees with the dense reader."""
    assert len(cases) >= count
    unseen = {name: case for name, case in cases.items() if not 3e-3 < case["effect"] < 10}
    wrong = {name: case for name, case in cases.items() if not case["error"] < 1e-4}
    assert (unseen, wrong) == ({}, {})


def test_guiders_and_guidance_nodes_read_the_right_half(measure_within):
    require_exact(measure_within("guidance.py"), 13)


@pytest.fixture(scope="module")
def neighbours(measure_within):
    return measure_within("neighbours.py")


def test_regions_controlnet_batches_and_other_sizes_read(neighbours):
    require_exact(neighbours["conditionings"], 11)


def test_patches_of_other_nodes_before_and_after(neighbours):
    require_exact(neighbours["patches"], 12)


def test_two_banks_are_both_read_in_one_model_or_each_in_its_region(neighbours):
    require_exact(neighbours["two_banks"], 5)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("several GPUs", ("model:", "MultiGPU CFG Split")),
        ("area while writing", ("storyboard:", "regions", "on panels")),
        ("mask while writing", ("storyboard:", "regions", "on panels")),
    ],
)
def test_what_cannot_be_says_so(neighbours, case, says):
    assert [part for part in says if part not in neighbours["refusals"][case]] == [], neighbours["refusals"][case]
