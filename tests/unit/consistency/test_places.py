"""Where somebody is in a picture: the box of a map, and which steps are looked at."""

import pytest
import torch

from storybooth.consistency.places import PlaceWatcher, box_of
from storybooth.consistency.schedule import COND, Layer

SIGMAS = [10.0, 8.0, 6.0, 4.0, 2.0]


def test_the_box_holds_what_is_bright():
    cells = torch.full((10, 20), 0.1)
    cells[2:6, 5:15] = 0.9
    assert box_of(cells) == pytest.approx((0.275, 0.22, 0.725, 0.58))  # a twentieth of it beyond each side


def test_a_little_that_is_far_away_does_not_count():
    cells = torch.full((10, 20), 0.1)
    cells[2:6, 5:15] = 0.9
    cells[9, 19] = 0.9
    assert box_of(cells)[2] < 0.75


def test_what_is_everywhere_has_no_box():
    assert box_of(torch.ones(4, 4)) is None
    almost = torch.ones(4, 4)
    almost[0, 0] = 0.0
    assert box_of(almost) is None


def look(watcher: PlaceWatcher, level: int, bright: slice) -> None:
    """One layer whose queries, where `bright`, read the second of four words, and else the first."""
    q = torch.zeros(2, level, 4)
    q[..., 0] = 20.0
    q[:, bright] = torch.tensor([0.0, 20.0, 0.0, 0.0])
    k = torch.eye(4).expand(2, 4, 4)
    watcher.watch((level, 0), q, k, 1, ())


def test_only_the_middle_of_a_run_is_looked_at():
    watcher = PlaceWatcher()
    watcher.look_for([((4, (1,)), (4, ())), ((4, (3,)), (4, (0,)))], 16, 16)
    assert watcher.watches
    watcher.start(SIGMAS, 0)
    looked_at = []
    for sigma in SIGMAS:
        watcher.begin(sigma)
        looked_at.append(watcher.watches)
        look(watcher, 64, slice(16, 24) if watcher.watches else slice(0, 64))
    watcher.stop()
    assert looked_at == [False, True, True, True, False]
    assert watcher.watches
    first, second = watcher.boxes(0), watcher.boxes(1)
    assert first[0] == pytest.approx((0.05, 0.25, 0.95, 0.375), abs=0.01)
    assert second[0] is None  # no such word in its prompt
    assert second[1] is None  # everywhere but in one row


def test_a_run_that_was_not_seen_has_no_boxes():
    watcher = PlaceWatcher()
    watcher.look_for([((4, (1,)),)], 16, 16)
    watcher.start(SIGMAS, 0)
    watcher.begin(6.0)
    watcher.stop()
    assert watcher.boxes(0) == [None]


def test_a_context_stays_as_it_is():
    context = torch.zeros(2, 4, 8)
    assert PlaceWatcher().attend(Layer(0, 0), context, context, [COND]) is context
