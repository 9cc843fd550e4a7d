"""SLIC: tiling must not show, a shift moves nothing, every label is one connected set."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stcli.segmentation import slic as module
from stcli.segmentation.slic import Block, LabelSpace, halo, scaled, slic
from stcli.settings import BandScaling, SlicSettings

KINDS = ("plain", "holes", "stripes", "speckled", "noise")


def components(labels: np.ndarray) -> int:
    """4-connected sets of one label, 0 apart: a graph over pixels, not the source's search."""
    number = np.arange(labels.size).reshape(labels.shape)
    down, right = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    start = np.concatenate([number[:-1][down], number[:, :-1][right]])
    stop = np.concatenate([number[1:][down], number[:, 1:][right]])
    edges = coo_array((np.ones(len(start)), (start, stop)), shape=(labels.size, labels.size))
    marks = connected_components(edges, directed=False)[1].reshape(labels.shape)
    return len(np.unique(marks[labels > 0]))


def assert_connected(labels: np.ndarray, valid: np.ndarray) -> None:
    """Each label is one 4-connected set; 0 exactly where not valid."""
    assert np.array_equal(labels == 0, ~valid)
    assert components(labels) == len(np.unique(labels[valid]))


# --- tiling must not show -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "compactness", "iterations", "tile", "origin"),
    [
        (25, 0.1, 1, 37, (0, 0)),
        (25, 0.0, 3, 50, (-13, 7)),
        (25, 1e-4, 10, 64, (10**9 + 3, -(10**9))),
        (25, 0.1, 3, 33, (2, 3)),
        (16, 2.0, 3, 41, (5, -5)),
        (100, 0.1, 3, 90, (-1, 99)),
        (100, 0.0, 1, 110, (4, 6)),
    ],
)
def test_tiles_give_the_labels_of_the_whole(  # the law, bit for bit
    make_scene, whole, tiled, kind, size, compactness, iterations, tile, origin
):
    settings = SlicSettings(size, compactness, iterations)
    # larger than halo and tile together, so that tiles really lack pixels of the whole
    side = halo(settings) + tile
    values, valid = make_scene(kind, (side + 7, 2 * side // 3 + 50), seed=iterations)
    expected = whole(values, valid, settings, origin)
    assert np.array_equal(tiled(values, valid, settings, tile, origin), expected)
    assert_connected(expected, valid)


def test_a_default_scene_tiled(make_scene, whole, tiled):
    settings = SlicSettings()
    values, valid = make_scene("holes", (701, 403), seed=2)
    assert np.array_equal(
        tiled(values, valid, settings, 300, (77, -8)), whole(values, valid, settings, (77, -8))
    )


def test_without_a_halo_tiling_would_show(make_scene, whole, tiled):
    """The scenes are hard enough: the law's test can fail."""
    settings = SlicSettings(25, 0.01, 3)
    values, valid = make_scene("noise", (160, 160))
    expected = whole(values, valid, settings)
    assert not np.array_equal(tiled(values, valid, settings, 64, around=0), expected)
    assert not np.array_equal(tiled(values, valid, settings, 64, around=10), expected)


@pytest.mark.parametrize("kind", ["holes", "speckled", "noise"])
@pytest.mark.parametrize("shift", [(3, 1), (17, 40)])
def test_a_shifted_crop_moves_nothing_inside(make_scene, whole, kind, shift):
    settings = SlicSettings(16, 0.02, 2)
    origin, around = (-9, 1002), halo(settings)
    values, valid = make_scene(kind, (230, 250))
    rows, cols = slice(shift[0], 226), slice(shift[1], 241)
    corner = (origin[0] + shift[0], origin[1] + shift[1])
    crop = whole(values[:, rows, cols], valid[rows, cols], settings, corner)
    full = whole(values, valid, settings, origin)[rows, cols]
    inside = np.s_[around:-around, around:-around]
    assert crop[inside].size > 2000

    def places(labels, at, shape):
        """Labels as lattice cells, or as lattice pixels for islands."""
        space = LabelSpace(at, shape, settings.step)
        cells = space.cells[0] * space.cells[1]
        cell = np.stack(np.divmod(labels.astype(np.int64) - 1, space.cells[1]))
        pixel = np.stack(np.divmod(labels.astype(np.int64) - 1 - cells, shape[1]))
        first, at = np.array(space.first)[:, None, None], np.array(at)[:, None, None]
        kept = np.where(labels > 0, cell + first, -(10**9))
        return np.where(labels > cells, pixel + at + 10**6, kept)

    assert np.array_equal(
        places(crop, corner, crop.shape)[:, *inside],
        places(full, origin, valid.shape)[:, *inside],
    )


def test_nodata_does_not_change_a_pixel_beyond_the_halo(make_scene, whole):
    settings = SlicSettings(16, 0.02, 2)
    values, valid = make_scene("plain", (40, 220))
    before = whole(values, valid, settings)
    values[:, 20, 10], valid[20, 10] = np.nan, False
    after = whole(values, valid, settings)
    far = 10 + halo(settings) + 1
    assert np.array_equal(before[:, far:], after[:, far:])
    assert after[20, 10] == 0


def test_values_of_nodata_do_not_matter(make_scene, whole):
    settings = SlicSettings(25, 0.05, 3)
    values, valid = make_scene("speckled", (70, 60))
    expected = whole(values, valid, settings)
    for junk in (np.nan, np.inf, -9999.0, 3e38):
        assert np.array_equal(whole(np.where(valid, values, junk), valid, settings), expected)


def test_the_same_input_gives_the_same_labels_twice(make_scene, whole):
    values, valid = make_scene("noise", (80, 80))
    settings = SlicSettings(25, 0.0, 5)
    first = whole(values, valid, settings)
    assert np.array_equal(first, whole(values, valid, settings))


# --- hard cases ---------------------------------------------------------------------------------


def test_a_constant_raster_gives_the_lattice(whole):
    valid = np.ones((40, 60), dtype=bool)
    labels = whole(np.full((2, 40, 60), 0.3), valid, SlicSettings(100, 0.1, 4))
    row, col = np.mgrid[:40, :60] // 10
    assert np.array_equal(labels, row * 6 + col + 1)


def test_a_constant_raster_without_compactness_is_still_connected(whole):
    valid = np.ones((40, 60), dtype=bool)
    labels = whole(np.full((2, 40, 60), 0.3), valid, SlicSettings(100, 0.0, 4))
    assert_connected(labels, valid)


@pytest.mark.parametrize("shape", [(1, 1), (1, 97), (97, 1), (2, 2), (3, 50)])
@pytest.mark.parametrize("origin", [(0, 0), (-3, 8)])
@pytest.mark.parametrize("size", [4, 25, 10_000])
def test_tiny_rasters(make_scene, whole, tiled, shape, origin, size):
    values, valid = make_scene("noise", shape)
    settings = SlicSettings(size, 0.05, 2)
    labels = whole(values, valid, settings, origin)
    assert_connected(labels, valid)
    assert labels.min() >= 1
    assert np.array_equal(tiled(values, valid, settings, 7, origin), labels)


def test_one_valid_pixel(whole):
    valid = np.zeros((30, 30), dtype=bool)
    valid[17, 4] = True
    labels = whole(np.ones((1, 30, 30)), valid, SlicSettings(25))
    assert np.array_equal(labels > 0, valid)


@pytest.mark.parametrize("shape", [(1, 1), (40, 30)])
def test_all_nodata(whole, shape):
    labels = whole(np.full((3, *shape), np.nan), np.zeros(shape, dtype=bool), SlicSettings(25))
    assert not labels.any()
    assert labels.dtype == np.uint32


@pytest.mark.parametrize("bands", [1, 12])
def test_any_number_of_bands(make_scene, whole, tiled, bands):
    settings = SlicSettings(16, 0.05, 2)
    values, valid = make_scene("holes", (110, 130), bands)
    labels = whole(values, valid, settings)
    assert_connected(labels, valid)
    assert np.array_equal(tiled(values, valid, settings, 60), labels)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float64"])
def test_any_dtype_gives_what_float32_gives(make_scene, whole, dtype):
    values, valid = make_scene("plain", (60, 60))
    counts = np.clip(values * 100, 0, 200).round()
    scaling = BandScaling((10.0, 0.0, 5.0), (150.0, 99.0, 211.0))
    settings = SlicSettings(25, 0.05, 3)
    expected = whole(counts.astype(np.float32), valid, settings, scaling=scaling)
    assert np.array_equal(whole(counts.astype(dtype), valid, settings, scaling=scaling), expected)


def test_signed_bands_do_not_wrap(whole):
    values = np.full((1, 20, 20), -30_000, dtype=np.int16)
    values[:, :, 10:] = 30_000
    scaling, valid = BandScaling((-30_000.0,), (30_000.0,)), np.ones((20, 20), dtype=bool)
    assert set(np.unique(scaled(values, valid, scaling))) == {0.0, 1.0}
    labels = whole(values, valid, SlicSettings(36, 0.01, 3), scaling=scaling)
    assert not set(np.unique(labels[:, :10])) & set(np.unique(labels[:, 10:]))


def test_superpixels_follow_an_edge_that_the_lattice_does_not_know(whole):
    row, col = np.mgrid[:80, :80]
    side = (row + 2 * col > 117).astype(np.float32)
    labels = whole(side[None], np.ones((80, 80), dtype=bool), SlicSettings(64, 0.05, 10))
    for number in np.unique(labels):
        assert len(np.unique(side[labels == number])) == 1


def test_sizes_are_about_what_was_asked(make_scene, whole):
    values, valid = make_scene("plain", (200, 200))
    for size in (25, 100, 400):
        labels = whole(values, valid, SlicSettings(size, 0.2, 5))
        count = len(np.unique(labels))
        assert 0.6 * 40_000 / size < count < 1.1 * 40_000 / size + 40_000**0.5


def test_small_segments_are_absorbed(make_scene, whole):
    values, valid = make_scene("plain", (200, 200))
    for share in (0.0, 0.25, 0.5):
        labels = whole(values, valid, SlicSettings(100, 0.1, 3, share))
        small = (np.unique(labels, return_counts=True)[1] < share * 100).mean()
        # what no settled segment touched after one round stays small; there is little of it
        assert small < 0.05
    kept = whole(values, valid, SlicSettings(100, 0.1, 3, 0.0))
    assert (np.unique(kept, return_counts=True)[1] < 50).any()


# --- numbering ----------------------------------------------------------------------------------


def test_labels_are_cells_row_by_row_over_the_raster():
    space = LabelSpace((-3, 7), (10, 10), 5)
    assert space.first == (-1, 1)
    assert space.cells == (3, 3)
    values, valid = np.zeros((1, 10, 10)), np.ones((10, 10), dtype=bool)
    still = SlicSettings(25, 10.0, 1, 0.0)
    labels = slic(Block(values, valid, (-3, 7)), BandScaling((0.0,), (1.0,)), still, space)
    assert labels[0, 0] == 1
    assert labels[0, 9] == 3
    assert labels[9, 0] == 7
    assert labels[9, 9] == 9


def test_islands_are_numbered_after_all_cells_by_their_first_pixel(whole):
    settings = SlicSettings(25, 0.05, 2)
    row, col = np.mgrid[:41, :33]
    valid = (row % 2 == 0) & (col % 2 == 0)  # pixels that touch at no side
    labels = whole(np.zeros((1, 41, 33)), valid, settings)
    assert_connected(labels, valid)
    space = LabelSpace((0, 0), valid.shape, settings.step)
    cells = space.cells[0] * space.cells[1]
    island = labels > cells
    assert 0 < island.sum() == valid.sum() - len(np.unique(labels[valid & ~island]))
    assert np.array_equal(labels[island], cells + 1 + (row * 33 + col)[island])


@pytest.mark.parametrize(
    ("shape", "step", "dtype"),
    [
        ((65_535, 65_535), 10**6, "uint32"),
        ((65_535, 65_536), 10**6, "uint32"),
        ((65_536, 65_536), 10**6, "int64"),
        ((60_000, 65_000), 10, "uint32"),
        ((60_000, 65_000), 3, "int64"),
    ],
)
def test_labels_are_uint32_until_they_do_not_fit(shape, step, dtype):
    space = LabelSpace((0, 0), shape, step)
    assert space.dtype == np.dtype(dtype)
    assert (space.cells[0] * space.cells[1] + shape[0] * shape[1] < 2**32) == (dtype == "uint32")


def test_labels_beyond_uint32_are_right():
    """A block far down a huge raster: the whole of it is never made."""
    settings = SlicSettings(25, 10.0, 1, 0.0)
    space = LabelSpace((0, 0), (500_000, 500_000), settings.step)
    block = Block(np.zeros((1, 5, 5)), np.ones((5, 5), dtype=bool), (499_995, 499_995))
    labels = slic(block, BandScaling((0.0,), (1.0,)), settings, space)
    assert labels.dtype == np.int64
    assert (labels == 100_000 * 100_000).all()


# --- a plain reference --------------------------------------------------------------------------


def reference(features, valid, corner, step, compactness, iterations):
    """SLIC with loops over pixels: cell (row, col) of each pixel, and how near the runner-up was.

    float64 sums, float32 centres and distances, as the paper's formula is read in the module.
    """
    height, width, bands = features.shape
    f = np.float32
    weight = f(bands * (compactness / step) ** 2)
    pixels = [(r, c) for r in range(height) for c in range(width) if valid[r, c]]

    def home(r, c):
        return (r + corner[0]) // step, (c + corner[1]) // step

    chosen = {p: home(*p) for p in pixels}
    centres: dict = {}
    for turn in range(iterations + 1):
        members: dict = {}
        for p, cell in chosen.items():
            members.setdefault(cell, []).append(p)
        for cell, ps in members.items():
            spectrum = np.mean([features[p].astype(np.float64) for p in ps], axis=0)
            place = np.mean(
                np.array(ps, dtype=np.float64) + corner - np.multiply(cell, step), axis=0
            )
            centres[cell] = spectrum.astype(f), place.astype(f)
        if turn == iterations:
            return chosen
        new = {}
        for r, c in pixels:
            cell = home(r, c)
            best = np.inf
            for k in range(9):
                near = cell[0] + k // 3 - 1, cell[1] + k % 3 - 1
                if near not in centres:
                    continue
                spectrum, place = centres[near]
                spectral = f(0)
                for band in range(bands):
                    spectral += (features[r, c, band] - spectrum[band]) ** 2
                down = f(r + corner[0] - cell[0] * step) - (place[0] + f((k // 3 - 1) * step))
                across = f(c + corner[1] - cell[1] * step) - (place[1] + f((k % 3 - 1) * step))
                distance = spectral + weight * (down * down + across * across)
                if distance < best:
                    best, new[r, c] = distance, near
        chosen = new
    return chosen


@pytest.mark.parametrize("kind", ["plain", "noise", "speckled", "stripes"])
@pytest.mark.parametrize("compactness", [0.0, 0.02, 0.2])
@pytest.mark.parametrize(("step", "corner"), [(4, (0, 0)), (5, (3, 1))])
def test_assignment_agrees_with_a_plain_reference(make_scene, kind, compactness, step, corner):
    values, valid = make_scene(kind, (23, 19), 2, seed=5)
    settings = SlicSettings(step**2, compactness, 3)
    scaling = BandScaling((0.0, 0.0), (1.0, 1.0))
    features = scaled(values, valid, scaling)
    choice = module._assign(features, valid, np.array(corner), step, settings)
    expected = np.full(valid.shape, 255)
    chosen = reference(features, valid, np.array(corner), step, compactness, 3)
    for (r, c), cell in chosen.items():
        down, across = cell[0] - (r + corner[0]) // step, cell[1] - (c + corner[1]) // step
        expected[r, c] = 3 * (down + 1) + across + 1
    assert np.array_equal(choice, expected)
    assert len(np.unique(choice)) > 3


def test_iterations_bring_pixels_nearer_to_their_centres(make_scene):
    values, valid = make_scene("plain", (60, 60))
    scaling = BandScaling((0.0,) * 3, (1.0,) * 3)
    features = scaled(values, valid, scaling)

    def spread(iterations):
        settings = SlicSettings(36, 0.05, iterations)
        choice = module._assign(features, valid, np.zeros(2, dtype=np.int64), 6, settings)
        row, col = np.mgrid[:60, :60]
        cell = (row // 6 + choice // 3 - 1) * 10 + col // 6 + choice % 3 - 1
        groups = [features[cell == n] for n in np.unique(cell)]
        return sum(group.var(axis=0).sum() * len(group) for group in groups)

    assert (
        spread(8)
        < spread(1)
        < 0.9
        * sum(
            features[6 * r : 6 * r + 6, 6 * c : 6 * c + 6].reshape(36, 3).var(axis=0).sum() * 36
            for r in range(10)
            for c in range(10)
        )
    )
