"""The measures of a story's pictures where the answer is known, and the eye that they look with."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

from storybooth.development.mini import held_out, measures
from storybooth.development.mini.eye import PLACE_NAMES, load_eye
from storybooth.development.mini.measures import Interval


@pytest.fixture(scope="module")
def eye():
    return load_eye()


@pytest.fixture(scope="module")
def photos():
    """The photos (8, 128, 128, 3) of the held-out plushes, by their names."""
    files = {name: sorted((held_out.FOLDER / name).glob("*.jpg")) for name in held_out.PLUSHES}
    return {
        name: torch.stack([torch.from_numpy(np.array(Image.open(file))).float() / 255 for file in found])
        for name, found in files.items()
    }


@pytest.fixture(scope="module")
def codes(eye, photos):
    return {name: measures.look(eye, pictures).subjects for name, pictures in photos.items()}


def copies(picture, count=4):
    return picture[None].expand(count, *picture.shape)


def test_copies_of_a_reference_are_as_alike_as_can_be(eye, photos):
    for pictures in photos.values():
        same = measures.look(eye, copies(pictures[0])).subjects
        assert measures.fidelity(same, same[:1]) == pytest.approx(1, abs=1e-4)
        assert measures.consistency(same) == pytest.approx(1, abs=1e-4)
        assert measures.diversity(copies(pictures[0])) == pytest.approx(0, abs=1e-4)


def test_a_subject_is_alike_in_other_places_and_poses_and_unlike_another(codes):
    same = [measures.fidelity(seen[:4], seen[4:]) for seen in codes.values()]
    other = [measures.fidelity(codes[a], codes[b]) for a, b in itertools.permutations(codes, 2)]
    assert min(same) > max(other) + 0.2, (same, other)


def test_panels_of_one_subject_are_consistent_and_panels_of_several_are_not(codes):
    one = [measures.consistency(seen) for seen in codes.values()]
    several = [measures.consistency(torch.stack([seen[i] for seen in codes.values()])) for i in range(8)]
    assert min(one) > max(several) + 0.2, (one, several)


def test_the_eye_knows_the_places_of_subjects_that_it_never_saw(eye, photos):
    for name, pictures in photos.items():
        named = [scene.place for scene in held_out.scenes(name)]
        scores = measures.look(eye, pictures).places
        assert measures.adherence(scores, named) >= 0.75
        assert measures.adherence(scores, named[::-1]) <= 0.5


def test_adherence_counts_the_panels_that_show_their_place():
    scores = torch.eye(len(PLACE_NAMES))[[0, 1, 2, 3]]
    assert measures.adherence(scores, [*PLACE_NAMES[:3], PLACE_NAMES[0]]) == 0.75


def test_diversity_is_of_composition_not_of_light():
    random = torch.Generator().manual_seed(0)
    picture = torch.rand(64, 64, 3, generator=random)
    lit = torch.stack([picture, 0.5 * picture + 0.3])
    assert measures.diversity(lit) == pytest.approx(0, abs=1e-4)
    assert measures.diversity(torch.stack([picture, picture.flip(1)])) > 0.5
    assert measures.diversity(torch.rand(6, 64, 64, 3, generator=random)) == pytest.approx(1, abs=0.1)


def test_one_panel_cannot_be_compared():
    with pytest.raises(ValueError, match="expected 2 or more"):
        measures.consistency(torch.ones(1, 4))


def test_an_interval_holds_the_mean_and_narrows_with_the_number_of_values():
    draw = np.random.default_rng(0)
    few, many = (measures.interval(draw.normal(3, 1, count)) for count in (10, 1000))
    assert few.low < 3 < few.high and many.low < 3 < many.high
    # Of normal values it is the mean ± 1.96 σ / √n.
    assert (
        many.high - many.low == pytest.approx(2 * 1.96 / 1000**0.5, rel=0.1)
        and many.high - many.low < few.high - few.low
    )
    assert measures.interval([2.0, 2.0, 2.0]) == Interval(2, 2, 2)


def test_an_interval_leaves_out_what_could_not_be_measured():
    unknown, nothing = float("nan"), measures.interval([float("nan")])
    assert measures.interval([1.0, unknown, 2.0, 4.0]) == measures.interval([1.0, 2.0, 4.0])
    assert math.isnan(nothing.mean) and math.isnan(nothing.low) and math.isnan(nothing.high)
    assert measures.difference([1.0, unknown, 3.0], [0.0, 1.0, unknown]) == Interval(1, 1, 1)


def test_a_95_percent_interval_misses_about_one_time_in_twenty():
    draw = np.random.default_rng(1)
    missed = sum(measures.interval(draw.normal(0, 1, 30)).excludes(0) for _ in range(200))
    assert 3 <= missed <= 24


def test_paired_differences_see_what_means_hide():
    draw = np.random.default_rng(2)
    subjects = draw.normal(0, 5, 20)
    before, after = subjects, subjects + 0.3 + draw.normal(0, 0.1, 20)
    paired = measures.difference(after, before)
    assert paired.low > 0.2 and paired.high < 0.4
    assert measures.interval(after).low < np.mean(before) < measures.interval(after).high
    assert not measures.difference(before, before).excludes(0)
    with pytest.raises(ValueError, match="zip"):
        measures.difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("same", "different", "area"),
    [([2, 3], [0, 1], 1), ([0, 1], [2, 3], 0), ([1, 1], [1, 1], 0.5), ([1, 3], [2, 0], 0.75)],
)
def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(same, different, area):
    assert measures.area_under_curve(torch.tensor(same), torch.tensor(different)) == pytest.approx(area)


def scenes(count, seed):
    return torch.rand(count, 16, 16, 3, generator=torch.Generator().manual_seed(seed))


def middle(count):
    """Masks of a subject in the middle, a quarter of the picture."""
    subject = torch.zeros(count, 16, 16, dtype=torch.bool)
    subject[:, 4:12, 4:12] = True
    return subject


def test_one_background_behind_different_subjects_leaks_wholly():
    subject = middle(4)
    panels = torch.where(subject[..., None], scenes(4, 1), copies(scenes(1, 0)[0]))
    assert measures.leakage(panels, subject) == pytest.approx(1)


def test_different_backgrounds_behind_one_subject_leak_nothing():
    subject = middle(8)
    panels = torch.where(subject[..., None], copies(scenes(1, 0)[0], 8), scenes(8, 1))
    assert measures.leakage(panels, torch.zeros_like(subject)) > 0.2
    assert measures.leakage(panels, subject) == pytest.approx(0, abs=0.03)


def test_a_cell_beside_the_subject_is_no_background():
    subject = middle(8)
    around = torch.zeros_like(subject)
    around[:, 3:13, 3:13] = True
    panels = torch.where(around[..., None], copies(scenes(1, 0)[0], 8), scenes(8, 1))
    assert measures.leakage(panels, subject) == pytest.approx(0, abs=0.03)


def test_leakage_of_panels_without_background_is_not_a_number():
    assert np.isnan(measures.leakage(scenes(2, 0), torch.ones(2, 16, 16, dtype=torch.bool)))
