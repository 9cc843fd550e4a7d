"""SLIC: tiling must not show, a shift moves nothing, every label is one connected set."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.cells import Layout
from stcli.segmentation.superpixels.reference import reference, scaled
from stcli.segmentation.superpixels.slic import Block, choose, halo, slic
from stcli.segmentation.superpixels.team import Team
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


@pytest.mark.parametrize(("dtype", "offset"), [("uint32", 1_700_000_000), ("float64", 1e12)])
def test_a_large_offset_hides_nothing(make_scene, whole, dtype, offset):
    values, valid = make_scene("plain", (60, 60))
    counts, settings = np.clip(values.astype(float) * 20, 0, 40).round(), SlicSettings(25, 0.05, 3)
    low, high = np.zeros(3), np.full(3, 30.0)
    plain = BandScaling(tuple(low), tuple(high))
    moved = BandScaling(tuple(low + offset), tuple(high + offset))
    expected = whole(counts.astype(np.float32), valid, settings, scaling=plain)
    found = whole((counts + offset).astype(dtype), valid, settings, scaling=moved)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("power", [700, 130, -130, -700])
def test_spans_beyond_float32_hide_nothing(make_scene, whole, power):
    values, valid = make_scene("plain", (60, 60))
    wide, settings = values.astype(float) * 2.0**power, SlicSettings(25, 0.05, 3)
    low, high = np.zeros(3), np.full(3, 1.5)
    expected = whole(values, valid, settings, scaling=BandScaling(tuple(low), tuple(high)))
    moved = BandScaling(tuple(low), tuple(high * 2.0**power))
    assert np.array_equal(whole(wide, valid, settings, scaling=moved), expected)


def test_signed_bands_do_not_wrap(whole):
    values = np.full((1, 20, 20), -30_000, dtype=np.int16)
    values[:, :, 10:] = 30_000
    scaling, valid = BandScaling((-30_000.0,), (30_000.0,)), np.ones((20, 20), dtype=bool)
    assert set(np.unique(scaled(Block(values, valid, (0, 0)), scaling))) == {0.0, 1.0}
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


def chosen(choice, layout):
    """Choice of each pixel (row, col), unpacked without the kernels."""
    rows, cols = layout.cells
    step = layout.step
    square = choice[:, :, : step**2].reshape(rows, cols, step, step).transpose(0, 2, 1, 3)
    whole = square.reshape(rows * step, cols * step)
    return whole[layout.corner[0] :, layout.corner[1] :][: layout.shape[0], : layout.shape[1]]


def choices(block, scaling, settings, threads=1):
    corner = tuple(at % settings.step for at in block.lattice)
    choice = choose(block, scaling, settings, Team(threads))
    return chosen(choice, Layout(block.valid.shape, corner, settings.step))


def referred(block, scaling, settings):
    """The reference's cells as choices: 3 · rows + columns away from a pixel's own."""
    cell = reference(block, scaling, settings)
    place = np.indices(block.valid.shape) + np.array(block.lattice)[:, None, None]
    down, across = cell - place // settings.step + 1
    return np.where(block.valid, 3 * down + across, 255)


@pytest.mark.parametrize("kind", ["plain", "noise", "speckled", "stripes"])
@pytest.mark.parametrize("compactness", [0.0, 0.02, 0.2, "auto"])
@pytest.mark.parametrize(
    ("step", "corner", "bands"), [(4, (0, 0), 2), (5, (3, 1), 2), (5, (-7, 9), 17), (2, (1, 1), 4)]
)
def test_kernels_are_the_plain_reference(make_scene, kind, compactness, step, corner, bands):
    values, valid = make_scene(kind, (43, 39), bands, seed=5)
    settings = SlicSettings(step**2, compactness, 4)
    scaling = BandScaling((0.1,) * bands, (0.8,) * bands)
    block = Block(values, valid, corner)
    expected = referred(block, scaling, settings)
    assert len(np.unique(expected)) > 3
    for threads in (1, 3):
        assert np.array_equal(choices(block, scaling, settings, threads), expected)


def test_values_far_out_are_held_and_still_equal_the_reference(make_scene):
    values, valid = make_scene("holes", (43, 61), 2, seed=3)
    values[:, ::7, ::5] *= 1e7
    block, scaling = Block(values, valid, (2, 3)), BandScaling((0.0, 0.0), (1.0, 1.0))
    settings = SlicSettings(25, 0.1, 4)
    assert np.array_equal(choices(block, scaling, settings), referred(block, scaling, settings))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [2, 5, 1000])
def test_threads_that_share_a_block_do_not_show(make_scene, whole, kind, threads):
    values, valid = make_scene(kind, (101, 87), seed=4)
    settings, space = SlicSettings(25, 0.02, 5), LabelSpace((-3, 4), (101, 87), 5)
    block, scaling = Block(values, valid, (-3, 4)), BandScaling((0.0,) * 3, (1.0,) * 3)
    expected = whole(values, valid, settings, (-3, 4))
    assert np.array_equal(slic(block, scaling, settings, space, threads), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_compactness_is_tiled_without_a_seam(make_scene, whole, tiled, kind):
    settings = SlicSettings(25, "auto", 4)
    values, valid = make_scene(kind, (halo(settings) + 60, 190), seed=6)
    expected = whole(values, valid, settings, (7, -2))
    assert np.array_equal(tiled(values, valid, settings, 50, (7, -2)), expected)
    assert_connected(expected, valid)


def test_auto_compactness_suits_strong_and_weak_contrast_alike(make_scene, whole):
    """Halves whose contrasts differ by ten: a given compactness suits one of them only."""
    row, col = np.mgrid[:80, :160]
    side = (row + 2 * (col % 80) > 117).astype(np.float32)
    values = (side * np.where(col < 80, 1.0, 0.1))[None]
    valid = np.ones((80, 160), dtype=bool)

    def mixed(compactness):
        labels = whole(values, valid, SlicSettings(64, compactness, 10))[:, 80:]
        return sum(len(np.unique(side[:, 80:][labels == n])) > 1 for n in np.unique(labels))

    assert mixed("auto") == 0 < mixed(0.5)


def test_iterations_bring_pixels_nearer_to_their_centres(make_scene):
    values, valid = make_scene("plain", (60, 60))
    scaling, block = BandScaling((0.0,) * 3, (1.0,) * 3), Block(values, valid, (0, 0))
    features = np.moveaxis(scaled(block, scaling), 0, -1)

    def spread(iterations):
        settings = SlicSettings(36, 0.05, iterations)
        choice = choices(block, scaling, settings)
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
