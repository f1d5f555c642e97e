"""Drawn timesteps against the numbers of their formulas, worked out by hand or by integrating the density."""

import math

import numpy as np
import pytest

from storybooth.training.timesteps import DISTRIBUTIONS, density, sample

COUNT = 200_000


def draw(distribution, **parameters):
    return sample(distribution, COUNT, np.random.default_rng(7), **parameters)


def normal_cdf(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_log_normal_has_the_published_quantiles():
    t = draw("log_normal")
    assert np.median(t) == pytest.approx(425, abs=4)
    assert np.mean(t < 100) == pytest.approx(0.118, abs=0.004)
    assert np.mean(t >= 500) == pytest.approx(0.426, abs=0.005)
    assert np.mean(t >= 900) == pytest.approx(0.059, abs=0.003)
    assert t.min() >= 0 and t.max() <= 998


@pytest.mark.parametrize(("mu", "sigma"), [(-0.3, 1.6), (1.0, 0.5), (-2.0, 1.0)])
def test_log_normal_follows_its_cumulative_distribution(mu, sigma):
    t = draw("log_normal", mu=mu, sigma=sigma)
    for threshold in (50, 250, 500, 900):
        u = threshold / 999
        expected = normal_cdf((math.log(u / (1 - u)) - mu) / sigma)
        assert np.mean(t < threshold) == pytest.approx(expected, abs=0.005)


def test_log_normal_is_densest_near_78():
    u = np.linspace(0.001, 0.999, 9981)
    assert 999 * u[np.argmax(density("log_normal", u))] == pytest.approx(78, abs=2)


def test_an_extreme_sigma_stays_within_the_schedule():
    t = draw("log_normal", mu=0.0, sigma=40.0)
    assert t.min() >= 0 and t.max() <= 999


def test_uniform_covers_every_timestep_alike():
    counts = np.bincount(draw("uniform"), minlength=1000)
    assert len(counts) == 1000
    assert counts.min() > 100 and counts.max() < 320


@pytest.mark.parametrize(("distribution", "mean"), [("beta", 0.7 / 2.7), ("power", 1.8 / 2.8)])
def test_beta_and_power_have_their_means(distribution, mean):
    assert draw(distribution).mean() == pytest.approx(999 * mean - 0.5, abs=2)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_density_predicts_the_histogram(distribution):
    t = draw(distribution)
    edges = np.linspace(0.1, 0.9, 9)
    drawn, _ = np.histogram((t + 0.5) / 999, bins=edges)
    for low, high, found in zip(edges, edges[1:], drawn, strict=False):
        u = np.linspace(low, high, 1001)
        expected = density(distribution, u).mean() * (high - low)
        assert found / COUNT == pytest.approx(expected, rel=0.04)


def test_the_same_seed_draws_the_same_timesteps():
    for distribution in DISTRIBUTIONS:
        assert np.array_equal(draw(distribution), draw(distribution))


@pytest.mark.parametrize("call", [lambda name: draw(name), lambda name: density(name, np.array([0.5]))])
def test_an_unknown_distribution_is_named(call):
    with pytest.raises(ValueError, match=r"timestep_sampling.*'cosine'.*log_normal"):
        call("cosine")
