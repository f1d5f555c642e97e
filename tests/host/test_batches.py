"""Panels drawn several to a batch; see batches.py."""

import pytest

from storybooth.tests.host.bank_story import changed, refused, story


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("batches.py")


@pytest.mark.once
@pytest.mark.parametrize("case", ["compact euler", "full euler", "compact euler_ancestral"])
def test_panels_at_once_are_those_drawn_alone(measured, case):
    result = measured[case]
    # Seven lines: two are equal, one has a seed of its own, two are plain.
    assert result["alone"] == [1] * 6
    assert result["together"] == ([1] * 6 if "ancestral" in case else [3, 2, 1])
    assert result["with little memory"] == result["together"]
    assert result["farthest"] < 1e-4 < result["other panels"]


def test_a_story_at_once(comfy):
    run = comfy.run(changed(story("[id] a ball\n[id] a ball at sea\na tower\na barn"), panels={"at_once": 4}))
    assert len(run.images("save")) == 4
    refused(comfy, changed(story(), panels={"at_once": 0}), "at_once", "0")
