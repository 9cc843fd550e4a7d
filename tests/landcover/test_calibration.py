"""Temperature, calibration error and conformal sets against brute force and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.errors import InputError
from stcli.landcover.calibration import (
    TEMPERATURES,
    confidence_temperature,
    conformal_threshold,
    covered,
    cross_fit,
    prediction_sets,
    reliability,
    temper,
    temperature,
)


def drawn(n: int, classes: int = 5, sharper: float = 1.0, seed: int = 0):
    """Probabilities and truth drawn from them; then sharpened, so that they lie by `sharper`."""
    generator = np.random.default_rng(seed)
    honest = generator.dirichlet(np.full(classes, 0.4), n).T
    truth = (generator.random(n) > honest.cumsum(axis=0)).sum(axis=0).clip(max=classes - 1)
    lying = honest.clip(1e-6) ** sharper
    return lying / lying.sum(axis=0), truth


def likelihood(probabilities, truth, value) -> float:
    z = np.log(np.maximum(probabilities, 1e-6)) / value
    each = np.log(np.exp(z).sum(axis=0)) - z[truth, np.arange(len(truth))]
    return float(each.mean())


@pytest.mark.parametrize("sharper", [0.5, 1.0, 3.0])
def test_temperature_is_the_best_of_a_grid_and_undoes_a_sharpening(sharper):
    probabilities, truth = drawn(20_000, sharper=sharper)
    found = temperature(probabilities, truth)
    grid = np.geomspace(0.05, 20, 400)
    best = min(likelihood(probabilities, truth, value) for value in grid)
    assert likelihood(probabilities, truth, found) <= best + 1e-9
    assert found == pytest.approx(sharper, rel=0.05)


def of_confidence(probabilities, truth, value) -> float:
    confidence = temper(probabilities.astype(float), value).max(axis=0)
    right = probabilities.argmax(axis=0) == truth
    return float(-np.log(np.where(right, confidence, 1 - confidence)).mean())


@pytest.mark.parametrize("sharper", [0.5, 1.0, 3.0])
def test_temperature_of_confidence_is_the_best_of_a_grid_and_undoes_a_sharpening(sharper):
    probabilities, truth = drawn(20_000, sharper=sharper)
    found = confidence_temperature(probabilities, truth)
    best = min(of_confidence(probabilities, truth, value) for value in np.geomspace(0.4, 4, 400))
    assert of_confidence(probabilities, truth, found) <= best + 1e-9
    assert found == pytest.approx(sharper, rel=0.05)


def test_what_was_thought_impossible_softens_no_confidence():
    probabilities, truth = drawn(20_000)
    lost = np.arange(20_000) % 20 == 0
    probabilities[:, lost] = np.array([0.6, 0.4, 0, 0, 0])[:, None]
    truth[lost] = np.where(np.arange(1000) % 10 < 6, 0, 4)
    honest = temper(probabilities, confidence_temperature(probabilities, truth))
    soft = temper(probabilities, temperature(probabilities, truth))
    assert reliability(honest, truth).error < 0.015 < 0.05 < reliability(soft, truth).error


@pytest.mark.parametrize("fit", [temperature, confidence_temperature])
def test_temperature_stops_at_its_ends(fit):
    sure = np.tile([[0.9], [0.1]], 50)
    assert fit(sure, np.zeros(50, int)) == pytest.approx(TEMPERATURES[0])
    assert fit(sure, np.ones(50, int)) == pytest.approx(TEMPERATURES[1])


def test_temper_keeps_order_sum_dtype_and_nan():
    probabilities = drawn(100)[0].astype(np.float32)
    probabilities[:, 7] = np.nan
    soft = temper(probabilities, 2.5)
    assert soft.dtype == np.float32
    assert np.isnan(soft[:, 7]).all()
    known = ~np.isnan(probabilities[0])
    np.testing.assert_allclose(soft[:, known].sum(axis=0), 1, rtol=1e-5)
    assert (soft.argmax(axis=0) == probabilities.argmax(axis=0))[known].all()
    assert temper(probabilities, 1) is probabilities


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
def test_calibration_error_by_hand(n, bins, seed):
    probabilities, truth = drawn(n, 3, seed=seed)
    probabilities = probabilities.round(1)  # ties
    found = reliability(probabilities, truth, bins)
    assert found.count.sum() == n
    assert len(found.count) <= bins
    assert found.error == pytest.approx(bins_by_hand(probabilities, truth, bins), abs=1e-9)
    order = np.random.default_rng(seed).permutation(n)
    shuffled = reliability(probabilities[:, order], truth[order], bins)
    assert shuffled.error == pytest.approx(found.error, abs=1e-12)


def test_calibration_error_of_honest_and_of_lying_probabilities():
    assert reliability(*drawn(50_000)).error < 0.01
    assert reliability(*drawn(50_000, sharper=3)).error > 0.1


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_conformal_threshold_is_the_smallest_quantile_that_suffices(n, coverage, seed):
    probabilities, truth = drawn(n, 3, seed=seed)
    found = conformal_threshold(probabilities, truth, coverage)
    scores = sorted(1 - probabilities[y, i] for i, y in enumerate(truth))
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        assert found == 0
    else:
        assert 1 - found == pytest.approx(scores[rank - 1])


def test_conformal_sets_cover_fresh_samples():
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


def test_cross_fit_measures_each_group_by_the_others():
    probabilities, truth = drawn(9_000, sharper=2)
    groups = np.arange(9_000) % 3
    found = cross_fit(probabilities, truth, groups, (0.9,))
    inside, honest = [], np.empty_like(probabilities)
    for group in range(3):
        out, others = groups == group, groups != group
        value = confidence_temperature(probabilities[:, others], truth[others])
        threshold = conformal_threshold(temper(probabilities[:, others], value), truth[others], 0.9)
        honest[:, out] = temper(probabilities[:, out], value)
        inside.append(covered(prediction_sets(honest[:, out], threshold), truth[out]))
    assert found.ece_after == pytest.approx(reliability(honest, truth).error)
    assert found.coverage_found["0.9"] == pytest.approx(np.mean(inside))
    assert found.temperature == confidence_temperature(probabilities, truth)
    assert found.ece_after < 0.02 < found.ece_before
    assert found.to_json()["conformal"].keys() == {"0.9"}


def test_a_lying_group_is_seen_only_because_it_was_left_out():
    probabilities, truth = drawn(6_000)
    groups = np.arange(6_000) % 2
    truth = np.where(groups == 1, (truth + 1) % 5, truth)
    assert cross_fit(probabilities, truth, groups, (0.9,)).coverage_found["0.9"] < 0.85


@pytest.mark.parametrize(
    ("shape", "truth"), [((3, 4), [0, 1, 2]), ((3, 2), [0, 3]), ((3, 1), [-1]), ((3, 0), [])]
)
def test_samples_that_do_not_fit_are_refused(shape, truth):
    with pytest.raises(InputError, match="calibration"):
        temperature(np.ones(shape), np.array(truth, dtype=int))


def test_one_group_is_refused():
    with pytest.raises(InputError, match="one group"):
        cross_fit(*drawn(10), np.zeros(10, int))
