"""The estimators of Stehman 2014 against his example, plain sums over points, and a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stcli.errors import InputError, UsageError
from stcli.landcover.accuracy.accuracy import ConfusionMatrix, stratified_accuracy
from stcli.landcover.accuracy.strata import Strata, strata_accuracy

KINDS = ("proportion", "users", "producers")
# Table 2 of the paper: ten points in each of four strata of 40 000, 30 000, 20 000, 10 000 pixels.
SIZES = np.array([40_000, 30_000, 20_000, 10_000])
MAP = ["AAAAAAABBB", "ABBBBBBBBB", "BBCCCCCCBB", "DDDDDDDDDD"]
TRUTH = ["AAAAACBABC", "ABBBBBAABB", "CCCCCDDBBA", "DDDDDDDCCB"]


def strata_of(stratum, mapped, truth, sizes, classes):
    """Count points, given as numbers from 0."""
    counts = np.zeros((len(sizes), len(classes), len(classes)), np.int64)
    np.add.at(counts, (stratum, mapped, truth), 1)
    names = tuple(f"s{k}" for k in range(len(sizes)))
    return Strata(names, np.asarray(sizes, float), counts, tuple(classes))


def points_of_the_example():
    mapped, truth = (np.array([ord(c) - ord("A") for c in "".join(t)]) for t in (MAP, TRUTH))
    return np.repeat(np.arange(4), 10), mapped, truth


def example():
    return strata_of(*points_of_the_example(), SIZES, "ABCD")


def flat(result):
    """Give (value, standard error) of the whole and of each class's figures."""
    each = [getattr(row, kind) for kind in KINDS for row in result.classes]
    return np.array([(e.value, e.standard_error) for e in (result.overall, *each)])


def by_points(stratum, mapped, truth, sizes, classes):
    """Horvitz-Thompson sums over points, variances from sample (co)variances of indicators."""
    n = np.bincount(stratum)
    weight = (sizes / n)[stratum]

    def ratio(y, x):
        share = (weight * y).sum() / (weight * x).sum()
        residual = y - share * x
        total = sum(
            sizes[h] ** 2 * np.var(residual[stratum == h], ddof=1) / n[h] for h in range(len(n))
        )
        return share, math.sqrt(total) / (weight * x).sum()

    one, right = np.ones(len(stratum)), mapped == truth
    rows = [ratio(right, one)]
    rows += [ratio((truth == c).astype(float), one) for c in range(classes)]
    rows += [ratio(right & (mapped == c), mapped == c) for c in range(classes)]
    rows += [ratio(right & (truth == c), truth == c) for c in range(classes)]
    return np.array(rows)


def test_the_example_of_the_paper():
    """Its points, counted by hand: share by share of the strata 0.4, 0.3, 0.2 and 0.1."""
    result = strata_accuracy(example(), np.array([30_000, 40_000, 20_000, 10_000]), 1)
    a, b, c, _ = result.classes
    assert result.overall.value == pytest.approx(0.4 * 0.5 + 0.3 * 0.8 + 0.2 * 0.6 + 0.1 * 0.7)
    assert a.proportion.value == pytest.approx(0.4 * 0.6 + 0.3 * 0.3 + 0.2 * 0.1)
    assert c.area.value == pytest.approx(20_000)
    right = 0.4 * 0.1 + 0.3 * 0.7 + 0.2 * 0.1
    assert b.users.value == pytest.approx(right / (0.4 * 0.3 + 0.3 * 0.9 + 0.2 * 0.4))
    assert b.producers.value == pytest.approx(right / (0.4 * 0.2 + 0.3 * 0.7 + 0.2 * 0.2 + 0.01))
    assert (result.method, result.strata, result.sampled) == ("Stehman 2014", 4, 40)
    assert c.mapped_area == 20_000
    wanted = by_points(*points_of_the_example(), SIZES, 4)
    np.testing.assert_allclose(flat(result), wanted, rtol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_estimates_equal_sums_over_points(seed):
    rng = np.random.default_rng(seed)
    stratum = np.repeat(np.arange(5), rng.integers(30, 60, 5))
    mapped = rng.integers(0, 3, len(stratum))
    truth = np.where(rng.random(len(stratum)) < 0.6, mapped, rng.integers(0, 3, len(stratum)))
    sizes = rng.integers(1000, 10**6, 5)
    whole = int(sizes.sum())
    mapped_pixels = np.array([whole // 2, whole // 3, whole - whole // 2 - whole // 3])
    result = strata_accuracy(strata_of(stratum, mapped, truth, sizes, "abc"), mapped_pixels, 0.5)
    np.testing.assert_allclose(
        flat(result), by_points(stratum, mapped, truth, sizes, 3), rtol=1e-10
    )
    for row in result.classes:
        assert row.area.value == pytest.approx(row.proportion.value * whole / 2)
        assert row.area.standard_error == pytest.approx(row.proportion.standard_error * whole / 2)


@pytest.mark.parametrize("seed", range(4))
def test_strata_that_are_the_classes_give_the_numbers_of_olofsson(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 30, (3, 3)) + np.diag([20, 30, 40])
    sizes = rng.integers(10_000, 10**6, 3)
    apart = np.zeros((3, 3, 3), np.int64)
    apart[range(3), range(3)] = counts
    strata = Strata(("a", "b", "c"), sizes.astype(float), apart, ("a", "b", "c"))
    found = strata_accuracy(strata, sizes, 0.09)
    wanted = stratified_accuracy(ConfusionMatrix(counts, ("a", "b", "c")), sizes, 0.09)
    np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-12)
    assert [row.mapped_area for row in found.classes] == [r.mapped_area for r in wanted.classes]


def test_standard_errors_are_the_spread_over_repeated_samples():
    """Draw a known map 1500 times in strata of class and doubt, unevenly.

    Chosen before the run, as for the strata of the map: 8 % on standard errors, 0.925 to 0.975 of
    the intervals; a mean within 5 of its errors.
    """
    rng = np.random.default_rng(20_140_630)
    pixels, n = 300_000, np.array([150, 250, 300, 150, 250, 300])
    truth = (rng.random(pixels) < 0.3).astype(int)
    doubt = rng.random(pixels) ** 2
    mapped = np.where(rng.random(pixels) < 0.6 * doubt, 1 - truth, truth)
    stratum = 3 * mapped + np.minimum((3 * doubt).astype(int), 2)
    sizes, members = np.bincount(stratum), [np.flatnonzero(stratum == h) for h in range(6)]
    right = mapped == truth
    expected = [right.mean(), *(np.mean(truth == c) for c in (0, 1))]
    expected += [right[m == c].mean() for m in (mapped, truth) for c in (0, 1)]
    draws, low, high = [], [], []
    for _ in range(1500):
        points = np.concatenate([rng.choice(m, k, False) for m, k in zip(members, n, strict=True)])
        sample = strata_of(*(a[points] for a in (stratum, mapped, truth)), sizes, "ab")
        result = strata_accuracy(sample, np.bincount(mapped), 1)
        draws.append(flat(result))
        each = [result.overall, *(getattr(r, kind) for kind in KINDS for r in result.classes)]
        low.append([e.low for e in each])
        high.append([e.high for e in each])
    value, error = np.moveaxis(np.array(draws), 2, 0)
    spread = value.std(axis=0, ddof=1)
    assert (np.abs(value.mean(axis=0) - expected) < 5 * spread / math.sqrt(1500)).all()
    np.testing.assert_allclose(np.sqrt((error**2).mean(axis=0)), spread, rtol=0.08)
    coverage = ((np.array(low) <= expected) & (np.array(high) >= expected)).mean(axis=0)
    assert ((coverage > 0.925) & (coverage < 0.975)).all()


def few(points, size, mapped=1000):
    """A stratum with these points and pixels, beside one that is well."""
    counts = np.zeros((2, 2, 2), np.int64)
    counts[0, 0, 0], counts[1, 1, 1] = 9, points
    strata = Strata(("1, sure", "2, unsure"), np.array([1000.0 - size, size]), counts, ("a", "b"))
    return strata_accuracy(strata, np.array([mapped - size, size]), 1)


@pytest.mark.parametrize(("points", "size"), [(0, 3), (1, 3), (4, 3)])
def test_a_stratum_that_cannot_carry_the_estimator_is_refused_by_name(points, size):
    words = f"stratum 2, unsure: {points} sampled points for {size} pixels found, at least 2"
    with pytest.raises(InputError, match=words):
        few(points, size)


def test_a_stratum_of_a_single_pixel_is_known_once_it_is_sampled():
    assert few(1, 1).classes[1].area.standard_error == 0


def test_strata_that_are_not_the_map_are_refused():
    with pytest.raises(InputError, match="its strata hold 1000 pixels and 1200 are mapped"):
        few(5, 300, 1200)


def test_a_class_that_is_nowhere_has_no_accuracy_and_no_area():
    counts = np.zeros((1, 2, 2), np.int64)
    counts[0, 0, 0] = 5
    result = strata_accuracy(
        Strata(("s",), np.array([9.0]), counts, ("a", "b")), np.array([9, 0]), 1
    )
    b = result.classes[1]
    assert (b.area.value, b.area.standard_error) == (0, 0)
    assert all(math.isnan(e.value) and math.isnan(e.standard_error) for e in (b.users, b.producers))


def test_options_out_of_range_are_refused():
    with pytest.raises(UsageError, match="pixel area 0: want"):
        strata_accuracy(example(), SIZES, 0)
    with pytest.raises(UsageError, match="confidence 1, pixel area 1"):
        strata_accuracy(example(), SIZES, 1, 1)
