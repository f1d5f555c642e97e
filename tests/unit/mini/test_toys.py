"""Toys from the generator: by number, with features kept aside from training, in pictures with captions."""

import numpy as np
import pytest

from storybooth.development.mini.toys import numbered, photos
from storybooth.development.mini.toys.anatomy import KEPT_ASIDE, SOLIDS, build
from storybooth.development.mini.toys.photos import GROUNDS


def kept_aside(features):
    shown = {"ears": features.ears, "fronts": features.front, "tops": features.top}
    return [family for family, values in KEPT_ASIDE.items() if shown[family] in values]


def test_a_number_gives_the_same_toy_and_another_list_another_toy():
    first, again = (build(numbered.features(numbered.TRAINING, 0, 3)) for _ in range(2))
    other = build(numbered.features(numbered.MEASURING, 0, 3))
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in vars(first))
    assert not np.array_equal(first.colour, other.colour)


def test_training_shows_no_feature_that_is_kept_aside_and_half_of_measuring_does():
    for part in (numbered.TRAINING, numbered.SEARCH):
        assert not any(kept_aside(numbered.features(part, 0, index)) for index in range(400))
    found = [bool(kept_aside(numbered.features(numbered.MEASURING, 0, index))) for index in range(40)]
    assert found == [False, True] * 20


def test_toys_have_room_for_all_their_solids():
    counts = [build(numbered.features(numbered.MEASURING, 0, index)).count for index in range(200)]
    assert max(counts) <= SOLIDS and min(counts) > 8


@pytest.fixture
def small(monkeypatch):
    """Pictures of 32 pixels, rendered without a compiler."""
    monkeypatch.setattr(photos, "SIDE", 32)
    monkeypatch.setattr(numbered, "SIDE", 32)
    monkeypatch.setattr(photos, "SUPERSAMPLING", 1)
    monkeypatch.setattr(numbered, "_fast", lambda: None)


def test_pictures_are_the_same_in_any_shard_and_tell_which_toy_and_where(small, emoji):
    made = numbered.pictures(numbered.TRAINING, 1, range(2 * numbered.EACH), emoji)
    part = numbered.pictures(numbered.TRAINING, 1, range(numbered.EACH, 2 * numbered.EACH), emoji)
    for (picture, text), (again, same) in zip(made[numbered.EACH :], part, strict=True):
        assert text == same and np.array_equal(picture, again)
        assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8 and picture.std() > 4
    captions, toys, places = zip(*(text.split("\t") for _, text in made), strict=True)
    assert toys == ("toy 5.1.0",) * numbered.EACH + ("toy 5.1.1",) * numbered.EACH
    assert places[:2] == ("plain", "elsewhere") and not {*places[2 : numbered.EACH]} & {"plain", "elsewhere"}
    assert all(caption.startswith(("a ", "an ")) for caption in captions)


def test_photos_are_on_paper_or_on_some_ground():
    features = numbered.features(numbered.SEARCH, 0, 0)
    grounds = [numbered.choose(numbered.SEARCH, 0, 0, which, 0, features)[0].ground for which in range(numbered.EACH)]
    assert grounds[0] == "paper" and grounds[1] in GROUNDS and set(grounds[2:]) <= set(numbered.PHRASES)
