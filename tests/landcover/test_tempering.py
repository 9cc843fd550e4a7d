"""Temperatures, and ones that grow, against grids, known answers and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stcli.errors import InputError
from stcli.landcover.accuracy.calibration import reliability
from stcli.landcover.accuracy.tempering import (
    GROWTH,
    TEMPERATURES,
    choose,
    confidence_temperature,
    growing_temperature,
    temper,
    temperature,
)
from stcli.nn.card import CalibrationCard


def likelihood(probabilities, truth, value) -> float:
    z = np.log(np.maximum(probabilities, 1e-6)) / value
    each = np.log(np.exp(z).sum(axis=0)) - z[truth, np.arange(len(truth))]
    return float(each.mean())


@pytest.mark.parametrize("sharper", [0.5, 1.0, 3.0])
def test_temperature_is_the_best_of_a_grid_and_undoes_a_sharpening(drawn, sharper):
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


@pytest.mark.long
@pytest.mark.parametrize("sharper", [0.5, 1.0, 3.0])
def test_temperature_of_confidence_is_the_best_of_a_grid_and_undoes_a_sharpening(drawn, sharper):
    probabilities, truth = drawn(20_000, sharper=sharper)
    found = confidence_temperature(probabilities, truth)
    best = min(of_confidence(probabilities, truth, value) for value in np.geomspace(0.4, 4, 400))
    assert of_confidence(probabilities, truth, found) <= best + 1e-9
    assert found == pytest.approx(sharper, rel=0.05)


def test_what_was_thought_impossible_softens_no_confidence(drawn):
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
    assert fit(sure, np.zeros(50, int)) == 1  # nothing is wrong: no reason to be surer
    assert fit(sure, np.ones(50, int)) == pytest.approx(TEMPERATURES[1])


def test_temper_keeps_order_sum_dtype_and_nan(drawn):
    probabilities = drawn(100)[0].astype(np.float32)
    probabilities[:, 7] = np.nan
    soft = temper(probabilities, 2.5)
    assert soft.dtype == np.float32
    assert np.isnan(soft[:, 7]).all()
    known = ~np.isnan(probabilities[0])
    np.testing.assert_allclose(soft[:, known].sum(axis=0), 1, rtol=1e-5)
    assert (soft.argmax(axis=0) == probabilities.argmax(axis=0))[known].all()
    assert temper(probabilities, 1) is probabilities


@pytest.mark.parametrize(
    ("shape", "truth"), [((3, 4), [0, 1, 2]), ((3, 2), [0, 3]), ((3, 1), [-1]), ((3, 0), [])]
)
def test_samples_that_do_not_fit_are_refused(shape, truth):
    with pytest.raises(InputError, match="calibration"):
        temperature(np.ones(shape), np.array(truth, dtype=int))


def grown(n: int, value: float, growth: float, seed: int = 0):
    """Probabilities, and truth drawn from what temperature and growth make of them."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(5, 0.5), n).T
    honest = temper(probabilities, value, growth)
    return probabilities, (generator.random(n) > honest.cumsum(axis=0)).sum(axis=0).clip(max=4)


@pytest.mark.parametrize(("value", "growth"), [(1.0, 0.3), (2.5, 0.2), (0.8, 0.0)])
def test_temperature_and_growth_are_found_again(value, growth):
    found = growing_temperature(*grown(60_000, value, growth))
    assert found[0] == pytest.approx(value, rel=0.05)
    assert found[1] == pytest.approx(growth, abs=0.03)


def of_growth(probabilities, truth, value, growth) -> float:
    confidence = temper(probabilities, value, growth).max(axis=0)
    right = probabilities.argmax(axis=0) == truth
    return float(-np.log(np.where(right, confidence, np.maximum(1 - confidence, 1e-12))).mean())


@pytest.mark.parametrize("seed", range(4))
def test_temperature_and_growth_are_the_best_of_a_grid(seed):
    given = grown(300, 1.5, 0.1 * seed, seed)
    best = min(
        of_growth(*given, value, growth)
        for value in np.geomspace(0.3, 10, 80)
        for growth in np.linspace(0, 1, 41)
    )
    assert of_growth(*given, *growing_temperature(*given)) <= best + 1e-6


def test_no_growth_below_zero_is_fitted(drawn):
    probabilities, truth = drawn(20_000)
    sure = probabilities.max(axis=0) > 0.9  # these are right no more often than others
    truth = np.where(sure & (np.arange(20_000) % 3 == 0), (truth + 1) % 5, truth)
    assert growing_temperature(probabilities, truth)[1] == 0
    assert choose(probabilities, truth, np.arange(20_000) % 4)[1] == 0


def by_hand(p, value, growth):
    """Temper one sample (K,) as the formula says."""
    p = np.maximum(p, 1e-6)
    c = min(p.max(), 1 - 1e-6)
    power = (c / (1 - c)) ** growth / value
    power = min(max(power, 1 / TEMPERATURES[1]), 1 / TEMPERATURES[0])
    return p**power / (p**power).sum()


@given(st.integers(2, 16), st.floats(0.1, 10), st.floats(0, GROWTH), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_growth_by_hand_keeps_the_best_class_and_is_the_temperature_at_zero(k, value, growth, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.full(k, 0.3), 50).T
    found = temper(probabilities, value, growth)
    wanted = np.stack([by_hand(p, value, growth) for p in probabilities.T], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(found.sum(axis=0), 1)
    best = np.take_along_axis(found, probabilities.argmax(axis=0)[None], axis=0)[0]
    assert (best == found.max(axis=0)).all()
    np.testing.assert_array_equal(temper(probabilities, value, 0.0), temper(probabilities, value))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=15),
    st.floats(*TEMPERATURES),
    st.floats(0, GROWTH),
)
@settings(max_examples=150, deadline=None)
def test_the_surer_stays_the_surer_whatever_the_shares_of_the_others(shares, value, growth):
    """The confidence never falls while c rises from where it is the largest to 1 itself."""
    rest = np.array(shares) + 1e-9
    rest /= rest.sum()
    least = rest.max() / (1 + rest.max())
    near = 1 - np.geomspace(1e-9, 1 - least, 400)[::-1]
    c = np.concatenate([np.linspace(least, 1, 400), near, [1.0]])
    c = np.unique(c)
    found = temper(np.concatenate([c[None], rest[:, None] * (1 - c)]), value, growth)[0]
    assert np.diff(found).min() >= -1e-12


def test_a_temperature_that_grows_keeps_dtype_and_nan_pixel_by_pixel(drawn):
    probabilities = drawn(600)[0].astype(np.float32).reshape(5, 20, 30)
    probabilities[:, 3, 4] = np.nan
    probabilities[:, 0, 0] = [1, 0, 0, 0, 0]
    found = temper(probabilities, 1.0, 0.2)
    assert found.dtype == np.float32
    assert np.isnan(found[:, 3, 4]).all()
    assert np.isnan(found).sum() == 5
    np.testing.assert_array_equal(found[:, 5:9, 11:], temper(probabilities[:, 5:9, 11:], 1.0, 0.2))


def test_growth_is_chosen_by_what_groups_left_out_say():
    probabilities, truth = grown(6_000, 2.0, 0.3)
    groups = np.arange(6_000) % 3
    assert choose(probabilities, truth, groups) == growing_temperature(probabilities, truth)
    even = confidence_temperature(probabilities, truth)
    assert choose(probabilities, truth, np.zeros(6_000, int)) == (even, 0.0)


def test_growth_that_one_group_alone_wants_is_not_taken():
    steep, flat = grown(2_000, 2.0, 0.4), grown(2_000, 2.0, 0.0, 1)
    sure = flat[0].max(axis=0) > 0.8  # and here those that are sure are wrong
    flat[1][sure] = (flat[0].argmax(axis=0)[sure] + 1) % 5
    probabilities = np.concatenate([np.repeat(steep[0], 4, axis=1), flat[0]], axis=1)
    truth = np.concatenate([np.repeat(steep[1], 4), flat[1]])
    groups = np.repeat([0, 1], (8_000, 2_000))
    assert growing_temperature(probabilities[:, groups == 0], truth[groups == 0])[1] > 0.3
    assert choose(probabilities, truth, groups)[1] == 0


@pytest.mark.parametrize("fit", [confidence_temperature, growing_temperature])
def test_fits_to_confidence_refuse_samples_that_do_not_fit(fit):
    with pytest.raises(InputError, match="calibration"):
        fit(np.ones((3, 2)), np.array([0, 3]))


def test_a_card_without_growth_means_none_and_others_are_refused():
    old = CalibrationCard.model_validate({"temperature": 1.5})
    assert old.growth == 0
    for growth in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError):
            CalibrationCard.model_validate({"temperature": 1.5, "growth": growth})
