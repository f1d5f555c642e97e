"""Which banks are on a device, and when they leave it; see residents.py."""

import pytest


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("residents.py")


@pytest.mark.parametrize("what", ["clones", "dynamic", "stores", "errors"])
def test_what_nobody_needs_any_more_leaves(measured, what):
    assert [name for name, value in measured[what].items() if not value] == []
    assert measured[what]


def test_stacked_banks_share_one_room(measured):
    assert measured["stacked"] == {"one": 1, "two": 2}
