"""Accuracy measures against scikit-learn, the estimator against Olofsson et al. 2014."""

from __future__ import annotations

import json
import math
import warnings
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from stcli.errors import InputError, UsageError
from stcli.landcover.accuracy.accuracy import (
    ConfusionMatrix,
    accuracy,
    area_estimates,
    stratified_accuracy,
)

ABC = ("water", "forest", "urban")

# Olofsson et al. 2014, Table 8: 640 sampled points; pixels of 30 m, so 0.09 ha each.
OLOFSSON_CLASSES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
OLOFSSON_COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
OLOFSSON_PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
OLOFSSON = ConfusionMatrix(OLOFSSON_COUNTS, OLOFSSON_CLASSES)


def random_pairs(seed: int, size: int = 400, top: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A map and a reference (uint8, 1..top) that agree more often than by chance."""
    rng = np.random.default_rng(seed)
    reference = rng.choice(np.arange(1, top + 1), size, p=rng.dirichlet(np.ones(top)))
    wrong = rng.random(size) < 0.3
    mapped = np.where(wrong, rng.integers(1, top + 1, size), reference)
    return mapped.astype(np.uint8), reference.astype(np.uint8)


def half_width(estimate) -> float:
    return (estimate.high - estimate.low) / 2


# --- counting -----------------------------------------------------------------------------------


def test_rows_are_the_map_and_columns_the_reference():
    matrix = ConfusionMatrix.empty(ABC).add(np.uint8([1, 1, 3]), np.uint8([2, 2, 1]))
    assert matrix.counts.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert matrix.counts.dtype == np.int64


def test_nodata_is_ignored_and_foreign_values_are_ignored_but_counted():
    mapped, reference = np.uint8([0, 1, 1, 4, 2, 255, 0]), np.uint8([1, 0, 1, 2, 200, 0, 9])
    matrix = ConfusionMatrix.empty(ABC).add(mapped, reference)
    assert matrix.counts.sum() == matrix.counts[0, 0] == 1
    assert matrix.outside == 2  # (4, 2) and (2, 200); the rest has a 0 in one of the two


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_integer_types_count_alike(dtype):
    mapped, reference = random_pairs(3)
    expected = metrics.confusion_matrix(mapped, reference, labels=[1, 2, 3])
    matrix = ConfusionMatrix.empty(ABC).add(mapped.astype(dtype), reference)
    np.testing.assert_array_equal(matrix.counts, expected)


def test_uint8_values_do_not_overflow_with_many_classes():
    classes = tuple(f"class {value}" for value in range(1, 256))
    values = np.arange(1, 256, dtype=np.uint8)
    matrix = ConfusionMatrix.empty(classes).add(values, values[::-1])
    np.testing.assert_array_equal(matrix.counts, np.fliplr(np.eye(255)))


def test_negative_values_do_not_wrap_around():
    matrix = ConfusionMatrix.empty(ABC).add(np.int16([-1, -3]), np.int16([1, 3]))
    assert matrix.counts.sum() == 0
    assert matrix.outside == 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_streaming_by_tile_equals_the_whole(data):
    rows, cols = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    mapped, reference = rng.integers(0, 6, (2, rows, cols), dtype=np.uint8)
    cuts = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=4))})
    tiles = data.draw(st.permutations(list(pairwise(cuts))))
    whole = ConfusionMatrix.empty(ABC).add(mapped, reference)
    streamed, merged = ConfusionMatrix.empty(ABC), ConfusionMatrix.empty(ABC)
    for start, stop in tiles:
        block = mapped[start:stop], reference[start:stop]
        streamed = streamed.add(*block)
        merged = merged + ConfusionMatrix.empty(ABC).add(*block)
    for other in (streamed, merged):
        np.testing.assert_array_equal(other.counts, whole.counts)
        assert other.outside == whole.outside
    brute = [[((mapped == i) & (reference == j)).sum() for j in (1, 2, 3)] for i in (1, 2, 3)]
    assert whole.counts.tolist() == brute


def test_a_matrix_never_changes():
    source = np.ones((3, 3), np.int64)
    matrix = ConfusionMatrix(source, ABC)
    matrix.add(np.uint8([1]), np.uint8([1]))
    source[:] = 7
    assert matrix.counts.tolist() == np.ones((3, 3)).tolist()
    with pytest.raises(ValueError, match="read-only"):
        matrix.counts[0, 0] = 5


@pytest.mark.parametrize(
    ("mapped", "reference"),
    [
        (np.ones(3, np.uint8), np.ones(4, np.uint8)),
        (np.ones(3, np.float32), np.ones(3, np.uint8)),
        (np.ones(3, np.uint8), np.ones(3, bool)),
    ],
)
def test_blocks_that_cannot_be_counted_are_refused(mapped, reference):
    with pytest.raises(InputError, match="integers of one shape"):
        ConfusionMatrix.empty(ABC).add(mapped, reference)


@pytest.mark.parametrize(
    ("counts", "classes"),
    [
        (np.zeros((2, 2), int), ABC),
        (np.zeros((3, 3)), ABC),
        (-np.ones((3, 3), int), ABC),
        (np.zeros((3, 3), int), ("a", "b", "a")),
        (np.zeros((0, 0), int), ()),
    ],
)
def test_matrices_that_make_no_sense_are_refused(counts, classes):
    with pytest.raises(InputError):
        ConfusionMatrix(counts, classes)


def test_matrices_of_other_classes_do_not_merge():
    with pytest.raises(InputError, match="cannot merge"):
        ConfusionMatrix.empty(ABC) + ConfusionMatrix.empty(ABC[::-1])


# --- measures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_measures_equal_those_of_scikit_learn(seed):
    mapped, reference = random_pairs(seed, top=5)
    result = accuracy(ConfusionMatrix.empty(tuple("abcde")).add(mapped, reference))
    labels = sorted(set(mapped) | set(reference))
    rows = [result.classes[label - 1] for label in labels]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        reference, mapped, labels=labels, zero_division=np.nan
    )
    iou = metrics.jaccard_score(reference, mapped, labels=labels, average=None)
    np.testing.assert_allclose([r.precision for r in rows], precision, rtol=1e-12)
    np.testing.assert_allclose([r.recall for r in rows], recall, rtol=1e-12)
    np.testing.assert_allclose([r.f1 for r in rows], f1, rtol=1e-12)
    np.testing.assert_allclose([r.iou for r in rows], iou, rtol=1e-12)
    assert [r.support for r in rows] == support.tolist()
    assert [r.mapped for r in rows] == [(mapped == label).sum() for label in labels]
    assert result.total == 400
    assert result.overall == pytest.approx(metrics.accuracy_score(reference, mapped), rel=1e-12)
    assert result.kappa == pytest.approx(metrics.cohen_kappa_score(reference, mapped), rel=1e-12)
    with warnings.catch_warnings():  # scikit-learn warns of classes only in the map; so be it
        warnings.simplefilter("ignore")
        average = metrics.balanced_accuracy_score(reference, mapped)
    assert result.average == pytest.approx(average, rel=1e-12)
    assert result.mean_iou == pytest.approx(iou.mean(), rel=1e-12)


def test_undefined_measures_are_nan_and_none_but_real_zeros_stay_zero():
    # water: only in the reference; forest: right once; urban: nowhere.
    matrix = ConfusionMatrix(np.array([[0, 0, 0], [2, 1, 0], [0, 0, 0]]), ABC)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = accuracy(matrix)
    water, forest, urban = result.classes
    assert math.isnan(water.precision)
    assert (water.recall, water.f1, water.iou, water.support) == (0, 0, 0, 2)
    assert forest.precision == pytest.approx(1 / 3)
    assert all(math.isnan(v) for v in (urban.precision, urban.recall, urban.f1, urban.iou))
    assert result.average == 0.5  # water 0, forest 1; urban is not in the reference
    assert result.mean_iou == pytest.approx(1 / 6)  # water 0, forest 1/3
    assert result.kappa == 0.0
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert record["classes"][0]["precision"] is None
    assert record["classes"][0]["recall"] == 0.0
    assert record["classes"][2]["iou"] is None
    assert record["classes"][1] | {"f1": 0, "iou": 0, "precision": 0} == {
        "name": "forest", "precision": 0, "recall": 1.0, "f1": 0, "iou": 0,
        "mapped": 3, "support": 1,
    }  # fmt: skip


def test_a_class_only_in_the_map_lowers_the_mean_iou_but_not_the_average_accuracy():
    result = accuracy(ConfusionMatrix(np.array([[6, 0, 0], [0, 3, 0], [2, 0, 0]]), ABC))
    assert result.average == pytest.approx((6 / 8 + 1) / 2)
    assert result.mean_iou == pytest.approx((6 / 8 + 1 + 0) / 3)


def test_nothing_counted_gives_none_everywhere():
    record = accuracy(ConfusionMatrix.empty(ABC)).to_json()
    assert record["total"] == 0
    assert [record[key] for key in ("overall", "average", "kappa", "mean_iou")] == [None] * 4
    json.dumps(record, allow_nan=False)


def test_kappa_is_undefined_when_chance_alone_agrees_fully():
    result = accuracy(ConfusionMatrix(np.diag([5, 0, 0]), ABC))
    assert result.overall == result.average == result.mean_iou == 1.0
    assert math.isnan(result.kappa)


def test_measures_hold_for_rasters_past_the_range_of_squared_int64():
    small, scale = np.array([[40, 3, 2], [5, 30, 1], [0, 4, 15]]), 10**11
    big = accuracy(ConfusionMatrix(small * scale, ABC))
    reference = accuracy(ConfusionMatrix(small, ABC))
    assert big.kappa == pytest.approx(reference.kappa, rel=1e-12)
    assert big.mean_iou == pytest.approx(reference.mean_iou, rel=1e-12)


# --- the stratified estimator -------------------------------------------------------------------


def brute_force(counts, pixels):
    """Equations 1-11 of the paper by plain loops: [(p_.j, S(p_.j), U, S(U), P, S(P))], O, S(O)."""
    size, total = len(counts), sum(pixels)
    row = [sum(r) for r in counts]
    p = [[pixels[i] / total * counts[i][j] / row[i] for j in range(size)] for i in range(size)]
    classes = []
    for j in range(size):
        share = sum(p[i][j] for i in range(size))
        # eq. 10 in its second form: (W_i p_ij - p_ij²) / (n_i. - 1)
        share_variance = sum(
            (pixels[i] / total * p[i][j] - p[i][j] ** 2) / (row[i] - 1) for i in range(size)
        )
        user = counts[j][j] / row[j]
        user_variance = user * (1 - user) / (row[j] - 1)
        producer = p[j][j] / share
        marginal = sum(pixels[i] / row[i] * counts[i][j] for i in range(size))  # N̂_.j
        first = pixels[j] ** 2 * (1 - producer) ** 2 * user * (1 - user) / (row[j] - 1)
        second = 0.0
        for i in range(size):
            if i != j:
                rate = counts[i][j] / row[i]
                second += pixels[i] ** 2 * rate * (1 - rate) / (row[i] - 1)
        producer_variance = (first + producer**2 * second) / marginal**2
        classes.append(
            (share, math.sqrt(share_variance), user, math.sqrt(user_variance),
             producer, math.sqrt(producer_variance))
        )  # fmt: skip
    overall = sum(p[i][i] for i in range(size))
    overall_variance = sum(
        (pixels[i] / total) ** 2 * c[2] * (1 - c[2]) / (row[i] - 1) for i, c in enumerate(classes)
    )
    return classes, overall, math.sqrt(overall_variance)


def test_areas_equal_the_published_ones():
    # Section 5.2.2: hectares ± 95 %; the paper multiplies by 1.96 and rounds, hence ± 1 ha.
    estimates = area_estimates(OLOFSSON, OLOFSSON_PIXELS, pixel_area=0.09)
    assert [e.name for e in estimates] == list(OLOFSSON_CLASSES)
    assert [e.mapped_area for e in estimates] == pytest.approx([18_000, 13_500, 288_000, 580_500])
    published = [(21_158, 6_158), (11_686, 3_756), (285_770, 15_510), (581_386, 16_282)]
    for estimate, (area, margin) in zip(estimates, published, strict=True):
        assert estimate.area.value == pytest.approx(area, abs=0.5)
        assert half_width(estimate.area) == pytest.approx(margin, abs=1)
    # 235,086 pixels ± 68,418 for deforestation
    pixels = area_estimates(OLOFSSON, OLOFSSON_PIXELS, pixel_area=1)[0].area
    assert pixels.value == pytest.approx(235_086, abs=0.5)
    assert 1.96 * pixels.standard_error == pytest.approx(68_418, abs=2)


def test_accuracies_equal_the_published_ones():
    # Section 5.2.1, printed to two decimals. Two printed half-widths of the producer's accuracy
    # (forest gain 0.23, stable non-forest 0.01) do not follow from eq. 7, which gives 0.25 and
    # 0.02; R packages mapac and mapaccuracy agree with eq. 7.
    result = stratified_accuracy(OLOFSSON, OLOFSSON_PIXELS, 0.09)
    users = [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    producers = [(0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)]
    assert round(result.overall.value, 3) == 0.947
    assert round(half_width(result.overall), 3) == 0.018
    for row, user, producer in zip(result.classes, users, producers, strict=True):
        assert (round(row.users.value, 2), round(half_width(row.users), 2)) == user
        assert (round(row.producers.value, 2), round(half_width(row.producers), 2)) == producer
    assert (result.confidence, result.sampled) == (0.95, 640)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_estimates_equal_the_loops_over_the_equations(seed, confidence):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, (4, 4)) + np.diag([5, 9, 20, 60])
    pixels = rng.integers(10_000, 10**7, 4)
    if seed == 0:
        counts, pixels = OLOFSSON_COUNTS, OLOFSSON_PIXELS
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    classes, overall, overall_error = brute_force(counts.tolist(), pixels.tolist())
    matrix = ConfusionMatrix(counts, OLOFSSON_CLASSES)
    result = stratified_accuracy(matrix, pixels, 9.0, confidence)
    assert result.overall.value == pytest.approx(overall, rel=1e-12)
    assert result.overall.standard_error == pytest.approx(overall_error, rel=1e-9)
    for row, expected in zip(result.classes, classes, strict=True):
        found = [v for e in (row.proportion, row.users, row.producers)
                 for v in (e.value, e.standard_error)]  # fmt: skip
        assert found == pytest.approx(expected, rel=1e-9)
        whole = float(pixels.sum()) * 9.0
        assert row.area.value == pytest.approx(expected[0] * whole, rel=1e-12)
        assert row.area.low == pytest.approx((expected[0] - z * expected[1]) * whole, rel=1e-9)
        assert row.area.high == pytest.approx((expected[0] + z * expected[1]) * whole, rel=1e-9)
    assert sum(row.proportion.value for row in result.classes) == pytest.approx(1, rel=1e-12)


def test_standard_errors_are_the_spread_over_repeated_samples():
    """Sample a known truth 1500 times: means, spread and coverage must match what is promised.

    Chosen before the run: the spread of 1500 draws has a relative error of 1.8 %, so 8 % (more
    than 4 of them) on each standard error; coverage has an error of 0.6 %, so 0.925 to 0.975.
    """
    rng = np.random.default_rng(20_140_215)
    truth = np.array([[0.85, 0.05, 0.10], [0.04, 0.90, 0.06], [0.02, 0.05, 0.93]])
    pixels, n = np.array([100_000, 400_000, 500_000]), [300, 400, 500]
    p = pixels[:, None] / pixels.sum() * truth
    expected = np.concatenate([[np.trace(p)], p.sum(0), np.diag(truth), np.diag(p) / p.sum(0)])
    draws = []
    for _ in range(1500):
        counts = np.array([rng.multinomial(k, q) for k, q in zip(n, truth, strict=True)])
        result = stratified_accuracy(ConfusionMatrix(counts, ABC), pixels, 1)
        kinds = ("proportion", "users", "producers")
        each = [getattr(row, kind) for kind in kinds for row in result.classes]
        draws.append([(e.value, e.standard_error, e.low, e.high) for e in (result.overall, *each)])
    value, error, low, high = np.moveaxis(np.array(draws), 2, 0)
    spread = value.std(axis=0, ddof=1)
    assert (np.abs(value.mean(axis=0) - expected) < 5 * spread / math.sqrt(1500)).all()
    np.testing.assert_allclose(np.sqrt((error**2).mean(axis=0)), spread, rtol=0.08)
    coverage = ((low <= expected) & (expected <= high)).mean(axis=0)
    assert ((coverage > 0.925) & (coverage < 0.975)).all()


def test_a_higher_confidence_widens_and_a_larger_pixel_scales():
    narrow = stratified_accuracy(OLOFSSON, OLOFSSON_PIXELS, 0.09, confidence=0.9)
    wide = stratified_accuracy(OLOFSSON, OLOFSSON_PIXELS, 900, confidence=0.99)
    ratio = NormalDist().inv_cdf(0.995) / NormalDist().inv_cdf(0.95)
    assert half_width(wide.overall) == pytest.approx(ratio * half_width(narrow.overall))
    for a, b in zip(narrow.classes, wide.classes, strict=True):
        assert b.area.value == pytest.approx(a.area.value * 10_000)
        assert b.proportion.value == a.proportion.value


@pytest.mark.parametrize(
    ("row", "pixels", "words"),
    [
        ([0, 0, 0], 700, "'forest': 0 sampled points for 700 mapped pixels"),
        ([0, 1, 0], 700, "'forest': 1 sampled points for 700 mapped pixels"),
        ([0, 3, 0], 0, "'forest': 3 sampled points for 0 mapped pixels"),
        ([0, 3, 0], 0.35, "'forest': 3 sampled points for 0.35 mapped pixels"),
    ],
)
def test_a_sample_that_cannot_carry_the_estimator_is_refused_by_name(row, pixels, words):
    matrix = ConfusionMatrix(np.array([[9, 1, 0], row, [1, 0, 9]]), ABC)
    with pytest.raises(InputError, match=words):
        area_estimates(matrix, [500, pixels, 500], 1)


@pytest.mark.parametrize(
    "pixels", [[1, 2], [[500, 500, 500]], [500, -1, 500], [500, math.nan, 500],
               [500, math.inf, 500], [0, 0, 0]]
)  # fmt: skip
def test_pixel_counts_that_do_not_fit_are_refused(pixels):
    with pytest.raises(InputError, match="mapped pixels"):
        area_estimates(ConfusionMatrix(np.full((3, 3), 5), ABC), pixels, 1)


@pytest.mark.parametrize(
    ("pixel_area", "confidence"),
    [(0, 0.95), (-1, 0.95), (math.nan, 0.95), (math.inf, 0.95), (1, 0), (1, 1), (1, 95)],
)
def test_options_out_of_range_are_refused(pixel_area, confidence):
    with pytest.raises(UsageError):
        stratified_accuracy(OLOFSSON, OLOFSSON_PIXELS, pixel_area, confidence)


def test_a_class_that_the_map_does_not_have_keeps_its_area_and_loses_its_users_accuracy():
    matrix = ConfusionMatrix(np.array([[18, 2, 0], [0, 0, 0], [0, 1, 9]]), ABC)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = stratified_accuracy(matrix, [600, 0, 400], 1)
    forest = result.classes[1]
    assert forest.area.value == pytest.approx(600 * 2 / 20 + 400 * 1 / 10)
    assert forest.area.standard_error > 0
    assert (forest.producers.value, forest.producers.standard_error) == (0, 0)
    assert math.isnan(forest.users.value)
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert record["classes"][1]["users"] == dict.fromkeys(
        ("value", "standard_error", "low", "high")
    )
    assert record["overall"]["value"] == pytest.approx(0.6 * 0.9 + 0.4 * 0.9)


def test_a_class_that_no_point_shows_has_area_zero_and_no_producers_accuracy():
    matrix = ConfusionMatrix(np.array([[9, 0, 1], [4, 0, 4], [1, 0, 9]]), ABC)
    forest = area_estimates(matrix, [500, 200, 300], 1)[1]
    assert (forest.area.value, forest.users.value) == (0, 0)
    assert math.isnan(forest.producers.value)
    assert math.isnan(forest.producers.low)


def test_intervals_are_not_clipped():
    # One point in ten of the only large stratum: the normal interval passes below zero.
    matrix = ConfusionMatrix(np.array([[9, 1, 0], [0, 5, 0], [0, 0, 5]]), ABC)
    assert area_estimates(matrix, [1000, 10, 10], 1)[1].area.low < 0


def test_a_class_of_one_pixel_is_known_once_that_pixel_is_sampled():
    matrix = ConfusionMatrix(np.array([[9, 0, 1], [0, 1, 0], [1, 0, 9]]), ABC)
    forest = area_estimates(matrix, [500, 1, 300], 1)[1]
    assert forest.area.value == pytest.approx(1)
    assert forest.area.standard_error == 0
