"""Objects of a block against brute force: exact sums, outlines, borders, polygons, texture."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stcli.segmentation.numbering import number
from stcli.segmentation.objects.adjacency import Borders, neighbours
from stcli.segmentation.objects.exact import (
    accumulators,
    add,
    add_integer,
    add_square,
    deviation,
    merge,
    total,
)
from stcli.segmentation.objects.percentiles import PixelStore
from stcli.segmentation.objects.polygons import CornerStore
from stcli.segmentation.objects.shapes import CORNERS, borders, corners, shape_sums
from stcli.segmentation.objects.statistics import band_sums
from stcli.segmentation.objects.texture import figures, pair_sums

label_rasters = hnp.arrays(
    np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 3)
)
floats = st.floats(-1e30, 1e30, allow_subnormal=False) | st.floats(-1e-20, 1e-20)


def weights(rows):
    """Distinct weights of rows."""
    area = np.arange(1, rows + 1) * 7
    return area, np.arange(1, rows + 2) * 11, np.arange(1, rows + 1) * 13


def sum_of(values, order):
    digits, top = accumulators((1, 1))
    for value in np.asarray(values)[order]:
        add(digits, top, 0, 0, value)
    return digits, top


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=1, max_size=40), st.randoms())
def test_sums_do_not_depend_on_the_order_and_are_exact(values, random):
    order = list(range(len(values)))
    digits, top = sum_of(values, order)
    random.shuffle(order)
    cut = random.randint(0, len(values))
    one, other = sum_of(values, order[:cut]), sum_of(values, order[cut:])
    merge(*one, np.array([0]), *other)
    assert one[0].tobytes() == digits.tobytes()
    assert one[1].tobytes() == top.tobytes()
    exact = sum(Fraction(v) for v in values)
    found = sum(Fraction(v) for v in total(digits, top, 0, 0))
    largest = max(abs(Fraction(v)) for v in values)
    assert abs(found - exact) <= len(values) * largest / 2**90 + Fraction(2) ** -900


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62), max_size=20))
def test_sums_of_integers_are_exact(values):
    digits, top = accumulators((1, 1))
    for value in values:
        add_integer(digits, top, 0, 0, value)
    # the digits hold them exactly; the two floats round them
    held = sum(int(d) << (30 * (2 - k)) for k, d in enumerate(digits[0, 0, :3]))
    assert held == sum(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.sampled_from([0.0, 1e8, -1e12]))
@example([3.366753605720416e-49], 0.0)
def test_mean_and_deviation_survive_an_offset(values, offset):
    values = [offset + v for v in values]
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    spread = sum((v - mean) ** 2 for v in exact)
    digits, top = accumulators((1, 2))
    for value in values:
        add(digits, top, 0, 0, value)
        add_square(digits, top, 0, 1, value)
    found = deviation(total(digits, top, 0, 0), total(digits, top, 0, 1), len(values))
    largest = max(abs(v) for v in exact)
    assert abs(Fraction(found[0]) - mean) <= largest / 2**52 + Fraction(2) ** -900
    # of each square and of its rest less than 2**-90 of the largest is cut off (BITS * (LIMBS - 1))
    bound = len(values) * largest**2 / 2**89 + spread / 2**50 + Fraction(1, 2**900)
    assert abs(Fraction(found[1]) - spread) <= bound


@settings(max_examples=100, deadline=None)
@given(label_rasters)
def test_numbers_name_the_labels(labels):
    numbers, distinct = number(labels)
    assert np.array_equal(np.append(distinct, 0)[numbers], labels)
    assert len(set(distinct.tolist())) == distinct.size


def test_many_labels_outgrow_the_first_table():
    labels = np.random.default_rng(0).permutation(np.arange(1, 40_001)).reshape(200, 200) * 977
    numbers, distinct = number(labels)
    assert np.array_equal(distinct[numbers], labels)
    pairs, _ = borders(numbers, (0, 200, 0, 200), 0, weights(200)[1:])
    assert len(pairs) == 2 * 200 * 199


def brute(labels, label):
    """Area, outline across and down by row weights, corners, limits of one label."""
    rows = len(labels)
    area, across, down = weights(rows)
    inside = np.pad(labels == label, 1)
    r, c = np.nonzero(inside)
    found = [0, 0, 0]
    for row, col in zip(r - 1, c - 1, strict=True):
        found[0] += area[row]
        found[1] += across[row] * (not inside[row, col + 1])
        found[1] += across[row + 1] * (not inside[row + 2, col + 1])
        found[2] += down[row] * (not inside[row + 1, col])
        found[2] += down[row] * (not inside[row + 1, col + 2])
    return r - 1, c - 1, found


@settings(max_examples=100, deadline=None)
@given(label_rasters)
def test_geometry_equals_brute_force(labels):
    rows, cols = labels.shape
    numbers, distinct = number(labels)
    sums, limits = shape_sums(numbers, (0, rows, 0, cols), (0, 0), weights(rows))
    for i, label in enumerate(distinct):
        r, c, (area, across, down) = brute(labels, label)
        assert sums[i, :6].tolist() == [r.size, r.sum(), c.sum(), area, across, down]
        assert limits[i].tolist() == [r.min(), r.max(), c.min(), c.max()]


@settings(max_examples=100, deadline=None)
@given(label_rasters)
def test_borders_equal_brute_force(labels):
    rows, cols = labels.shape
    _, across, down = weights(rows)
    expected: dict[tuple[int, int], list[int]] = {}
    for row in range(rows):
        for col in range(cols):
            for side, (r, c) in enumerate(((row + 1, col), (row, col + 1))):
                if r < rows and c < cols and labels[row, col] and labels[r, c]:
                    a, b = sorted((int(labels[row, col]), int(labels[r, c])))
                    if a != b:
                        length = down[row] if side else across[row + 1]
                        expected.setdefault((a, b), [0, 0])[side] += int(length)
    numbers, distinct = number(labels)
    index = np.searchsorted(np.unique(distinct), distinct)
    known = Borders(distinct.size)
    half = rows // 2
    for core in ((0, half, 0, cols), (half, rows, 0, cols)):
        pairs, lengths = borders(numbers, core, 0, (across, down))
        known.add(index[pairs], lengths)
    pairs, lengths = known.table()
    names = np.unique(distinct)
    found = {
        (int(names[a]), int(names[b])): length.tolist()
        for (a, b), length in zip(pairs, lengths, strict=True)
    }
    assert found == expected
    counts = neighbours(pairs, distinct.size)
    for i, label in enumerate(names):
        assert counts[i] == sum(label in pair for pair in expected)


def polygons_of(labels):
    rows, cols = labels.shape
    numbers, distinct = number(labels)
    sums, _ = shape_sums(numbers, (0, rows, 0, cols), (0, 0), weights(rows))
    store = CornerStore(sums[:, CORNERS])
    quarters = [
        (a, b, c, d)
        for a, b in ((0, rows // 2), (rows // 2, rows))
        for c, d in ((0, cols // 2), (cols // 2, cols))
    ]
    for core in reversed(quarters):  # corners may come in any order
        store.add(np.arange(distinct.size), *corners(numbers, core, (0, 0)))
    found = store.polygons(0, distinct.size)
    shapes = shapely.from_ragged_array(
        shapely.GeometryType.MULTIPOLYGON,
        found.vertices[:, ::-1].astype(float),
        (found.rings, found.parts, found.objects),
    )
    return distinct, shapes


@settings(max_examples=150, deadline=None)
@given(label_rasters.filter(lambda labels: labels.any()))
def test_polygons_are_valid_and_equal_the_pixels(labels):
    distinct, shapes = polygons_of(labels)
    for label, shape in zip(distinct, shapes, strict=True):
        assert shapely.is_valid(shape), shapely.is_valid_reason(shape)
        r, c = np.nonzero(labels == label)
        pixels = shapely.union_all(
            [shapely.box(x, y, x + 1, y + 1) for y, x in zip(r, c, strict=True)]
        )
        assert shapely.equals(shape, pixels)
        for ring in shapely.get_rings(shapely.get_parts(shape)):
            turns = shapely.get_coordinates(ring)
            steps = np.diff(np.vstack([turns, turns[1]]), axis=0) != 0
            assert (steps.sum(axis=1) == 1).all()
            assert (steps[1:] != steps[:-1]).all()  # no vertex without a corner
    assert sum(shape.area for shape in shapes) == (labels > 0).sum()


def test_rings_inside_rings():
    labels = np.zeros((15, 15), np.uint32)
    for k in range(7):
        labels[k : 15 - k, k : 15 - k] = 1 + k % 2
    distinct, shapes = polygons_of(labels)
    for label, shape in zip(distinct, shapes, strict=True):
        assert shapely.is_valid(shape)
        assert shape.area == (labels == label).sum()
    assert [len(shape.geoms) for shape in shapes] == [4, 3]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_band_sums_equal_brute_force(dtype):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, (20, 30)).astype(np.uint32)
    block = (rng.random((2, 20, 30)) * 250).astype(dtype)
    valid = rng.random((20, 30)) > 0.2
    numbers, distinct = number(labels)
    sums = band_sums(numbers, block, valid, distinct.size)
    means, deviations = sums.moments()
    for i, label in enumerate(distinct):
        for band in range(2):
            own = block[band][(labels == label) & valid].astype(np.float64)
            assert sums.count[i] == own.size
            assert means[i, band] == pytest.approx(own.mean(), rel=1e-14)
            assert deviations[i, band] == pytest.approx(((own - own.mean()) ** 2).sum(), rel=1e-12)
            assert (sums.low[i, band], sums.high[i, band]) == (own.min(), own.max())


@pytest.mark.parametrize(
    ("dtype", "offset"), [("uint32", 1_700_000_000), ("float64", 1e12), ("int64", -(10**12))]
)
def test_a_deviation_survives_an_offset_of_its_band(dtype, offset):
    values = np.random.default_rng(6).normal(0, 5, (1, 9, 9)).round() + offset
    block, numbers = values.astype(dtype), np.zeros((9, 9), np.int32)
    sums = band_sums(numbers, block, np.ones((9, 9), bool), 1)
    own = block.astype(np.float64) - offset
    assert sums.moments()[1][0, 0] == pytest.approx(((own - own.mean()) ** 2).sum(), rel=1e-9)


def test_an_object_without_a_valid_pixel_has_no_moments():
    numbers = np.zeros((2, 2), np.int32)
    sums = band_sums(numbers, np.ones((1, 2, 2)), np.zeros((2, 2), bool), 1)
    assert np.isnan(sums.moments()).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_percentiles_are_those_of_numpy(dtype):
    rng = np.random.default_rng(4)
    objects = rng.integers(-1, 6, 500).astype(np.int32)
    values = (rng.random(500) * 200).astype(dtype)
    wanted = (0.0, 7.0, 25.0, 50.0, 90.0, 100.0)
    counts = np.bincount(objects[objects >= 0], minlength=7)
    store = PixelStore(counts, np.dtype(dtype))
    for part in np.array_split(rng.permutation(500), 3):
        store.add(objects[part], values[part])
    found = store.percentiles(wanted)
    for i in range(6):
        own = values[objects == i].astype(np.float64)
        assert found[i] == pytest.approx(np.percentile(own, wanted), rel=1e-12)
    assert np.isnan(found[6]).all()


def test_texture_is_that_of_scikit_image():
    from skimage.feature import graycomatrix, graycoprops

    grey = np.random.default_rng(5).integers(0, 32, (13, 17)).astype(np.uint8)
    sums = pair_sums(
        np.zeros(grey.shape, np.int32), grey, np.ones(grey.shape, bool), (0, 13, 0, 17)
    )
    # pairs of the four directions weigh alike here: their matrices are added before they are
    # normalised
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(grey, [1], angles, 32, symmetric=True).sum(axis=3, keepdims=True)
    for name, values in figures(sums).items():
        assert values[0] == pytest.approx(graycoprops(matrix, name)[0, 0], rel=1e-7)


def test_texture_of_a_flat_object_and_of_one_pixel():
    numbers = np.array([[0, 0], [-1, 1]], np.int32)
    sums = pair_sums(numbers, np.full((2, 2), 9, np.uint8), np.ones((2, 2), bool), (0, 2, 0, 2))
    flat = {name: values[0] for name, values in figures(sums).items()}
    assert flat == {"contrast": 0, "dissimilarity": 0, "homogeneity": 1, "correlation": 1}
    assert all(np.isnan(values[1]) for values in figures(sums).values())
