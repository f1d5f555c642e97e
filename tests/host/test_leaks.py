"""A server that has drawn many stories is as it was before; see leaks.py."""

import psutil
import pytest

from storybooth.tests.host.bank_story import changed, story
from storybooth.workshop.client import CancelledError

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def measured(measure_within):
    return measure_within("leaks.py")


@pytest.mark.parametrize("what", ["dropped", "cancelled", "twice"])
def test_nothing_is_left_and_twice_is_the_same(measured, what):
    assert measured[what]
    assert all(measured[what].values()), measured[what]


def test_a_cancelled_write_begins_anew(comfy):
    nodes = changed(story(), writer={"steps": 1000, "seed": 77})
    for _ in range(2):
        moves = []
        with pytest.raises(CancelledError):
            for event in comfy.queue(nodes):
                if event.type == "progress" and event.data["node"] == "writer":
                    moves.append(event.data["value"])
                    if len(moves) == 1:
                        comfy.interrupt()
        assert moves[0] == 1  # a bank that is found again moves no bar, one that goes on would begin later
        assert moves[-1] < 1000


def test_thirty_stories_leave_the_server_as_large_as_it_was(comfy):
    server = psutil.Process(comfy.pid)

    def draw(seeds):
        for seed in seeds:
            inputs = {"seed": seed, "steps": 2}
            nodes = story("[id] a ball\n[id] a ball at sea\na house")
            comfy.run(changed(nodes, writer=inputs, panels={**inputs, "at_once": 1 + 2 * (seed % 2)}))
        return server.memory_info().rss

    warm = draw(range(1000, 1006))
    grown = draw(range(1006, 1036)) - warm
    # The pack remembers all banks and panels, as long as they fit: about a megabyte for each story of this size.
    assert grown < 80 * 2**20, f"{grown / 2**20:.0f} MiB more"
