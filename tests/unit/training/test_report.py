"""What a run looks like: curves, plots, and the timesteps that are shown are those that were trained on."""

import math
from itertools import pairwise

import numpy as np
import pytest

from storybooth.tests.unit.training.conftest import CPU
from storybooth.training.curve import outline, smooth, top
from storybooth.training.plotting import FILL, INK, PAPER, STRONG, Plot, side_by_side
from storybooth.training.report import describe, draw_losses, draw_report, draw_timesteps, drawn_timesteps
from storybooth.training.settings import Options, Settings
from storybooth.training.timesteps import DISTRIBUTIONS, cumulative, density, sample
from storybooth.training.trainer import Trainer

BARS = 10_000
"""Pixels in the colour of bars, if there are any: the soft edge of a line has that colour, too."""


def near(image, code):
    """Where a picture has a colour, but for soft edges: (row, column) of each pixel."""
    colour = [int(code[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere(np.abs(np.asarray(image).astype(int) - colour).max(-1) < 16)


def test_smoothing_is_the_mean_over_a_tenth_of_the_run():
    losses = np.random.default_rng(0).random(200)
    smoothed = smooth(losses)
    assert smoothed.shape == (200,)
    assert smoothed[100] == pytest.approx(losses[90:111].mean())
    assert smoothed[0] == pytest.approx(losses[:11].mean())
    assert smooth([0.5, 0.3]).tolist() == pytest.approx([0.5, 0.3])


def test_a_short_curve_is_drawn_whole():
    assert outline([0.5, 0.25], 10) == [(1, 0.5), (2, 0.25)]


def test_a_long_curve_keeps_its_peaks_in_few_points():
    losses = np.full(10_000, 0.1)
    losses[[77, 5003, 9999]] = 0.9, 0.01, 0.8
    points = outline(losses, 240)
    assert len(points) <= 240
    assert {(78, 0.9), (5004, 0.01), (10_000, 0.8)} <= set(points)
    assert [step for step, _ in points] == sorted(step for step, _ in points)


def test_outliers_do_not_flatten_the_curve():
    losses = [0.1] * 100
    assert top(losses) == pytest.approx(0.115)
    losses[50] = 50.0
    assert top(losses) < 0.15 * 50
    losses[10] = 0.3
    assert top([*losses[:50], *[0.3] * 50]) == pytest.approx(0.345)
    assert top([0.0]) > 0


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_cumulative_distribution_is_the_integral_of_the_density(distribution):
    edges = np.linspace(0.02, 0.98, 25)
    for low, high in pairwise(edges):
        u = np.linspace(low, high, 2001)
        integral = np.trapezoid(density(distribution, u, -0.7, 1.1), u)
        below_low, below_high = cumulative(distribution, np.array([low, high]), -0.7, 1.1)
        assert below_high - below_low == pytest.approx(integral, rel=1.1e-3)
    ends = cumulative(distribution, np.array([1e-12, 1 - 1e-12]))
    assert ends == pytest.approx([0, 1], abs=1.1e-3)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_cumulative_distribution_counts_what_is_drawn(distribution):
    drawn = sample(distribution, 200_000, np.random.default_rng(3), -0.7, 1.1)
    for t in (1, 100, 500, 900, 998):
        expected = cumulative(distribution, np.array([t / 999]), -0.7, 1.1)[0]
        assert np.mean(drawn < t) == pytest.approx(expected, abs=0.004)


def test_the_cumulative_distribution_names_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"timestep_sampling.*'cosine'"):
        cumulative("cosine", np.array([0.5]))


@pytest.mark.parametrize("options", [Options(), Options(noise_offset=0.1, flip=True, text_dropout=0.3)])
def test_the_timesteps_shown_are_those_that_were_trained_on(make_unet, examples, options):
    settings = Settings(steps=5, batch_size=2, gradient_accumulation=3, resolution=64, options=options)
    unet = make_unet(**vars(settings))
    seen = []
    unet.register_forward_pre_hook(lambda module, args: seen.extend(args[1].tolist()))
    trainer = Trainer(unet, examples[:7], settings, CPU)
    for _ in range(settings.steps):
        trainer.advance()
    buckets = [example.latent_mean.shape for example in examples[:7]]
    assert drawn_timesteps(settings, settings.steps, buckets).tolist() == seen
    assert len(seen) == 7 + 7 + 6  # three batches, then one that ends the data, twice; three of two


def test_a_run_of_the_report_saw_so_many_images():
    assert len(drawn_timesteps(Settings(), 1450, [0] * 10)) == 4834


def test_a_distribution_is_described_by_the_published_numbers():
    assert describe(Settings()) == "median 425; 11.8% below 100; 5.9% at 900 and above"
    assert describe(Settings(timestep_sampling="uniform")) == "median 499; 10.0% below 100; 10.0% at 900 and above"
    assert describe(Settings(mu=30.0)) == "median 998; 0.0% below 100; 100.0% at 900 and above"


def test_the_report_shows_loss_histogram_and_density():
    losses = np.random.default_rng(0).random(50).tolist()
    report = draw_report(Settings(batch_size=4), losses, [0] * 10)
    assert report.size == (1280, 480)
    assert all(len(near(report, colour)) for colour in (PAPER, STRONG, INK))
    assert len(near(report, FILL)) > BARS > len(near(draw_losses(losses), FILL))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(("mu", "sigma"), [(-0.3, 1.6), (10.0, 0.05), (-10.0, 10.0)])
def test_every_setting_can_be_plotted(distribution, mu, sigma):
    plot = draw_timesteps(Settings(timestep_sampling=distribution, mu=mu, sigma=sigma))
    assert plot.size == (640, 480)
    assert len(near(plot, STRONG))
    assert len(near(plot, FILL)) < BARS


def test_the_curve_of_the_plot_is_where_the_formula_says():
    blue = near(draw_timesteps(Settings(timestep_sampling="uniform")), STRONG)
    rows = blue[(blue[:, 1] > 100) & (blue[:, 1] < 600)][:, 0]
    lower, upper = 480 - 56, 72  # of the axes; density 1 lies at 1 / 1.15 of the height
    assert rows.mean() == pytest.approx(lower - (lower - upper) / 1.15, abs=1)


def test_a_run_of_one_step_is_seen():
    assert len(near(draw_losses([0.5]), STRONG))


def test_what_lies_above_the_top_is_cut_off():
    plot = Plot((320, 240), right=1, top=1)
    plot.line([(0, 5), (1, math.inf)], STRONG, 2)
    rows = near(plot.finish("", "", "", ""), STRONG)[:, 0]
    assert len(rows) and set(rows) <= {71, 72, 73}


def test_plots_stand_side_by_side():
    row = side_by_side([Plot((320, 240), 1, 1).finish("", "", "", "")] * 3)
    assert row.size == (960, 240)
