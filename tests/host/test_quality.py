"""What a bank is for, on pictures that Mini draws: one subject throughout the story, in the places that it names.

See quality.py; development/benchmarks/quality.py measures the same at length.
"""

import pytest

from storybooth.development.mini.measures import difference
from storybooth.workshop.host import NEWEST

# Both releases draw the same pixels (test_mini.py): one of them is enough.
pytestmark = pytest.mark.parametrize("comfyui_folder", [NEWEST], indirect=True)


@pytest.fixture(scope="module")
def measured(measure_within, comfyui_folder):
    return measure_within("quality.py")


def compared(measured, measure):
    """The paired difference that a bank makes, over seeds."""
    with_bank, without = ([row[measure] for row in measured[name]] for name in ("with", "without"))
    return difference(with_bank, without)


def test_with_a_bank_panels_are_more_alike_in_subject(measured):
    assert compared(measured, "consistency").low > 0, measured


def test_with_a_bank_panels_still_show_the_places_that_they_name(measured):
    without = [row["adherence"] for row in measured["without"]]
    assert sum(without) / len(without) > 0.7, measured
    assert compared(measured, "adherence").mean > -0.1, measured
