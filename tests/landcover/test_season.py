"""Seasons, steps, gaps, and the methods on them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import SVC

from stcli.landcover.fusion import fuse
from stcli.landcover.members import Discriminant, Machine
from stcli.landcover.network.windows import Window
from stcli.landcover.series.season import Season, filled, on_steps, season_of
from stcli.landcover.series.series import (
    Recipe,
    Samples,
    folds,
    hold_out_blocks,
    shown,
    train_series,
)
from stcli.landcover.series.series_method import composite, mean_series
from stcli.landcover.series.temporal_member import Network
from stcli.nn.device import compute
from stcli.settings import SeriesSettings, TemporalSettings, TemporalTraining

SEASON = Season(9, 14, (0.0, 16.0, 32.0, 45.0))


def day(text):
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def test_a_date_goes_to_the_nearest_step_and_no_further_than_half_a_gap():
    since = np.array([-9, -8, 0, 7, 8, 9, 24, 38, 39, 53, 54])
    begin = SEASON.begin(2020)
    assert begin == day("2020-09-14")
    assert SEASON.places(since + begin, begin).tolist() == [-1, 0, 0, 0, 0, 1, 1, 2, 3, 3, -1]


def test_the_fullest_season_is_taken_and_of_equals_the_earliest():
    one = np.array([day("2018-09-14"), day("2018-09-30"), day("2019-09-14"), day("2019-10-16")])
    assert SEASON.fullest(one) == day("2018-09-14")
    assert SEASON.fullest(np.append(one, day("2019-10-29"))) == day("2019-09-14")


def test_the_season_of_samples_is_that_of_most():
    begins = [day("2013-09-14"), day("2014-09-14"), day("2015-09-13")]
    days = np.concatenate([b + np.array([0, 16, 30]) for b in begins] + [[day("2016-01-01")]])
    owner = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
    assert season_of(days, owner) == Season(9, 14, (0.0, 16.0, 30.0))


def test_steps_are_means_of_whole_dates():
    values = np.array([[1, 2], [3, np.nan], [5, 6], [9, 9]], np.float32)[:, :, None]
    found = on_steps(values, np.array([0, 0, 0, -1]), 2)[:, :, 0]
    assert found[0].tolist() == [3, 4]  # the date with a gap in one band counts in none
    assert np.isnan(found[1]).all()


def test_gaps_are_lines_over_days_and_ends_the_nearest_step():
    series = np.full((2, 4, 1), np.nan, np.float32)
    series[0, [1, 3], 0] = 1, 5
    found = filled(series, np.array([0.0, 10.0, 40.0, 50.0]))[:, :, 0]
    assert found[0].tolist() == [1, 1, 4, 5]
    assert found[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_methods_decide_as_those_that_trained_them(count):
    rng = np.random.default_rng(count)
    x = rng.normal(size=(200, 6))
    truth = x[:, :count].argmax(axis=1)
    x += 0.5 * rng.normal(size=x.shape)
    z = (x - x.mean(0)) / x.std(0)
    svc = SVC(C=Machine.PRICE, gamma=1 / 6, decision_function_shape="ovo").fit(z, truth)
    machine = Machine.fit(x, truth, 0)
    decided = svc.decision_function(z).reshape(200, -1) * (1 if count > 2 else -1)
    assert np.abs(machine.decisions(x) - decided).max() < 1e-9
    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(z, truth)
    discriminant = Discriminant.fit(x, truth, 0)
    assert np.abs(discriminant.probabilities(x).T - analysis.predict_proba(z)).max() < 1e-9
    for method in (machine, discriminant):
        again = type(method).of(method.state()).probabilities(x)
        assert np.array_equal(again, method.probabilities(x))
        assert np.allclose(again.sum(axis=0), 1)


@pytest.fixture
def samples():
    """Two classes that differ, a third in one block alone."""
    rng = np.random.default_rng(1)
    truth = np.concatenate([np.arange(60) % 2, np.full(6, 2)])
    groups = np.concatenate([np.arange(60) // 6, np.full(6, 10)])
    level = np.array([0.2, 0.5, 0.8])[truth]
    series = level[:, None, None] + rng.normal(0, 0.05, (66, 5, 2))
    series[rng.random((66, 5)) < 0.1] = np.nan
    offsets = np.arange(5) * 20.0
    return Samples(series.astype(np.float32), truth, groups, offsets, 3)


def test_a_class_that_lies_in_one_fold_is_not_learnable_there(samples):
    held = hold_out_blocks(samples, Recipe(SeriesSettings(folds=4)), compute("cpu"))
    assert np.array_equal(held.learnable, samples.truth != 2)
    for group in range(11):
        assert len(np.unique(held.fold[samples.groups == group])) == 1
    for p in held.each.values():
        assert (p[2, ~held.learnable] == 0).all()


def test_more_folds_than_samples_of_a_class_are_as_many_as_these(samples):
    alone = replace(samples, groups=np.arange(66))
    fold = folds(alone, SeriesSettings(folds=10**9))
    assert len(np.unique(fold)) == 30


@pytest.mark.long
def test_the_network_learns_and_skips_gaps(samples):
    recipe = Recipe(
        SeriesSettings("network", folds=2),
        TemporalSettings(width=8, state=4, layers=1),
        TemporalTraining(epochs=25, batch=32),
    )
    one = train_series(samples, recipe, compute("cpu"))
    right = (one.probabilities.argmax(axis=0) == samples.truth)[one.held.learnable]
    assert right.mean() > 0.9
    gaps = samples.series[:1].copy()
    gaps[:, 2] = np.nan
    other = gaps.copy()
    other[:, 2, 0] = 7.0  # a step of which a band is missing is a gap, whatever the others say
    mine, others = (one.model.probabilities(shown(s, samples.offsets)) for s in (gaps, other))
    assert np.array_equal(mine, others)


def test_the_network_is_repeatable(samples):
    settings = (TemporalSettings(width=8, state=4, layers=1), TemporalTraining(epochs=2))
    first, second = (
        Network.fit(samples.series, samples.truth, samples.offsets, settings, compute("cpu"))
        for _ in range(2)
    )
    for name, array in first.state().items():
        assert np.array_equal(array, second.state()[name])


# --- on stacks ----------------------------------------------------------------------------------


def test_superpixels_have_the_mean_of_their_seen_pixels():
    segments = np.array([[0, 7, 7], [3, 3, 7]])
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)  # two steps of two bands
    values[:2, 0, 1] = np.nan  # the first step of one pixel of segment 7
    values[2:, 1, :2] = np.nan  # the second step of segment 3
    window = Window(values, segments > 0, segments, (0, 0))
    index, series = mean_series(window, 2)
    assert index.tolist() == [[2, 1, 1], [0, 0, 1]]
    assert series[1, 0].tolist() == [(2 + 5) / 2, (8 + 11) / 2]
    assert np.allclose(series[1, 1], [np.mean([13, 14, 17]), np.mean([19, 20, 23])])
    assert np.isnan(series[0, 1]).all()


def test_the_composite_is_mean_and_deviation_over_what_was_seen():
    steps = np.array([[1, 2], [10, np.nan], [3, np.nan], [30, np.nan]], np.float32)[..., None]
    found = composite(steps, 2)[..., 0]
    assert found.tolist() == [[2, 2], [20, 0], [1, 0], [10, 0]]


def test_equal_dates_give_the_first_and_large_tau_the_mean():
    p = np.array([[[0.9]], [[0.1]]], np.float32)
    q = p[::-1].copy()
    fused, best = fuse([p, q], 1e5)
    assert np.allclose(fused, 0.5, atol=1e-5)
    assert best.item() == 1
    gone = np.full_like(p, np.nan)
    fused, best = fuse([gone, q], 0.01)
    assert np.array_equal(fused, q)
    assert best.item() == 2
    fused, best = fuse([gone, gone], 0.01)
    assert np.isnan(fused).all()
    assert best.item() == 0
