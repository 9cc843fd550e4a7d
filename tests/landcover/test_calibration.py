"""Calibration error, conformal sets and cross-fits against brute force and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.errors import InputError
from stcli.landcover.accuracy.calibration import (
    by_others,
    conformal_threshold,
    covered,
    cross_fit,
    prediction_sets,
    reliability,
)
from stcli.landcover.accuracy.tempering import choose, confidence_temperature, temper
from stcli.landcover.learning import Held


def bins_by_hand(probabilities, truth, bins):
    """Expected calibration error, sample by sample: a bin ends where a quantile is reached."""
    confidence, n = probabilities.max(axis=0), len(truth)
    ordered = sorted(confidence)
    edges = sorted({ordered[i * n // bins] for i in range(1, bins)})
    held: dict[int, list[int]] = {}
    for i in range(n):
        held.setdefault(sum(edge <= confidence[i] for edge in edges), []).append(i)
    error = 0.0
    for inside in held.values():
        right = sum(probabilities[:, i].argmax() == truth[i] for i in inside)
        error += abs(sum(confidence[i] for i in inside) - right)
    return error / n


@given(st.integers(1, 80), st.integers(1, 15), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_calibration_error_by_hand(drawn, n, bins, seed):
    probabilities, truth = drawn(n, 3, seed=seed)
    probabilities = probabilities.round(1)  # ties
    found = reliability(probabilities, truth, bins)
    assert found.count.sum() == n
    assert len(found.count) <= bins
    assert found.error == pytest.approx(bins_by_hand(probabilities, truth, bins), abs=1e-9)
    order = np.random.default_rng(seed).permutation(n)
    shuffled = reliability(probabilities[:, order], truth[order], bins)
    assert shuffled.error == pytest.approx(found.error, abs=1e-12)


def test_calibration_error_of_honest_and_of_lying_probabilities(drawn):
    assert reliability(*drawn(50_000)).error < 0.01
    assert reliability(*drawn(50_000, sharper=3)).error > 0.1


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_conformal_threshold_is_the_smallest_quantile_that_suffices(drawn, n, coverage, seed):
    probabilities, truth = drawn(n, 3, seed=seed)
    found = conformal_threshold(probabilities, truth, coverage)
    scores = sorted(1 - probabilities[y, i] for i, y in enumerate(truth))
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        assert found == 0
    else:
        assert 1 - found == pytest.approx(scores[rank - 1])


def test_conformal_sets_cover_fresh_samples(drawn):
    fit, fresh = drawn(20_000, sharper=2), drawn(20_000, sharper=2, seed=1)
    for coverage in (0.8, 0.9, 0.97):
        sets = prediction_sets(fresh[0], conformal_threshold(*fit, coverage))
        # the most probable class belongs anyway, so small coverages are exceeded
        assert coverage - 0.01 <= covered(sets, fresh[1]) <= max(coverage, 0.85) + 0.01


def test_sets_hold_the_best_class_and_nothing_where_nothing_is_known():
    probabilities = np.array([[0.5, 0.9, np.nan], [0.3, 0.1, np.nan], [0.2, 0.0, np.nan]])
    sets = prediction_sets(probabilities, 0.95)
    assert sets.tolist() == [[True, True, False], [False, False, False], [False, False, False]]
    assert prediction_sets(probabilities, 0.3)[:, 0].tolist() == [True, True, False]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_cross_fit_measures_each_group_by_what_the_others_choose(drawn, count):
    probabilities, truth = drawn(9_000, sharper=2)
    groups = np.arange(9_000) % count
    found = cross_fit(probabilities, truth, groups, (0.9,))
    inside, honest = [], np.empty_like(probabilities)
    for group in range(count):
        out, others = groups == group, groups != group
        fit = choose(probabilities[:, others], truth[others], groups[others])
        threshold = conformal_threshold(temper(probabilities[:, others], *fit), truth[others], 0.9)
        honest[:, out] = temper(probabilities[:, out], *fit)
        inside.append(covered(prediction_sets(honest[:, out], threshold), truth[out]))
    assert found.ece_after == pytest.approx(reliability(honest, truth).error)
    assert found.coverage_found["0.9"] == pytest.approx(np.mean(inside))
    wanted = choose(probabilities, truth, groups if count > 2 else np.zeros(9_000, int))
    assert (found.temperature, found.growth) == wanted
    assert found.ece_after < 0.02 < found.ece_before
    assert found.to_json()["conformal"].keys() == {"0.9"}
    everywhere = np.ones(9_000, bool)
    np.testing.assert_array_equal(by_others(probabilities, truth, groups, everywhere), honest)


def test_two_groups_cannot_choose_a_growth_and_three_can(drawn):
    probabilities, _ = drawn(6_000)
    honest = temper(probabilities, 2.0, 0.4).cumsum(axis=0)
    truth = (np.random.default_rng(1).random(6_000) > honest).sum(axis=0).clip(max=4)
    two, three = (cross_fit(probabilities, truth, np.arange(6_000) % n) for n in (2, 3))
    assert two.growth == 0
    assert two.temperature == confidence_temperature(probabilities, truth)
    assert three.growth == pytest.approx(0.4, abs=0.1)
    assert three.ece_after < 0.02 < two.ece_after


def test_samples_out_of_use_are_tempered_and_fit_nothing(drawn):
    probabilities, truth = drawn(3_000, sharper=2)
    groups, use = np.arange(3_000) % 3, np.arange(3_000) % 7 > 0
    lying = np.where(use, truth, (truth + 1) % 5)
    found = by_others(probabilities, lying, groups, use)
    np.testing.assert_array_equal(found, by_others(probabilities, truth, groups, use))


def test_a_lying_group_is_seen_only_because_it_was_left_out(drawn):
    probabilities, truth = drawn(6_000)
    groups = np.arange(6_000) % 2
    truth = np.where(groups == 1, (truth + 1) % 5, truth)
    assert cross_fit(probabilities, truth, groups, (0.9,)).coverage_found["0.9"] < 0.85


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (6, "6 labels held out, too few to promise a coverage of 0.9, 0.95, 0.99: "),
        (98, "of 0.99: s"),
    ],
)
def test_too_few_samples_for_a_coverage_are_told(drawn, caplog, count, told):
    found = cross_fit(*drawn(count), np.arange(count) % 3)
    assert told in caplog.text
    assert "such sets hold every class, and the temperature rests on little; label " in caplog.text
    assert found.conformal["0.99"] == 0


def test_as_many_samples_as_the_coverages_want_are_no_matter(drawn, caplog):
    cross_fit(*drawn(99), np.arange(99) % 3)
    assert not caplog.text


def test_one_group_is_refused(drawn):
    with pytest.raises(InputError, match="one group"):
        cross_fit(*drawn(10), np.zeros(10, int))


def test_held_out_blocks_of_a_single_split_are_dealt_into_five_groups_whole():
    place = np.stack(np.mgrid[0:40, 0:60], axis=-1).reshape(-1, 2)
    held = Held(np.empty((2, len(place)), np.float32), place[:, 0], place, None)
    groups, block = held.groups(20), place[:, 0] // 20 * 3 + place[:, 1] // 20
    assert [set(groups[block == b]) for b in range(6)] == [{0}, {1}, {2}, {3}, {4}, {0}]
