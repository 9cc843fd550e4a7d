"""Tokens and lattice windows: fixed by the lattice, whatever they are cut from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.landcover.legend import colors, rgba
from stcli.landcover.network.tokens import SHAPE_FEATURES, tokenise
from stcli.landcover.network.windows import Scene, centres, cut, square
from stcli.landcover.tally import measure
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, slic
from stcli.settings import BandScaling, NetworkSettings, SlicSettings

STEP = 5


def segments(shape=(60, 70), origin=(-7, 1003), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values, valid = rng.random((2, *shape)) * 0.1, rng.random(shape) < 0.97
    values += np.sin(np.arange(shape[1]) / 6)
    space = LabelSpace(origin, shape, STEP)
    return slic(
        Block(values, valid, origin),
        BandScaling((0, 0), (1, 1)),
        SlicSettings(STEP**2, 1.0, 3),
        space,
    )


# --- tokens -------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 512, 2**40 + 1]), st.integers(0, 99)
)
def test_segments_are_numbered_and_measured_as_one_by_one(rows, cols, apart, seed):
    labels = np.random.default_rng(seed).integers(0, 12, (rows, cols)) * apart
    number, found = measure(labels)
    names = [int(label) for label in dict.fromkeys(labels.ravel().tolist()) if label]
    assert len(found) == len(names)
    assert (number[labels == 0] == len(names)).all()
    for n, label in enumerate(names):
        r, c = np.nonzero(labels == label)
        assert (number[r, c] == n).all()
        boxes = (r.min(), r.max(), c.min(), c.max())
        assert found[n].tolist() == [len(r), r.sum(), c.sum(), *boxes]


def test_a_serpentine_over_the_lattice_by_hand():
    labels = np.repeat(np.repeat(np.arange(1, 10).reshape(3, 3), 5, 0), 5, 1)
    # cell rows 0, 1, 2: the odd one runs backwards
    index = tokenise(labels, (0, 0), 5).index[::5, ::5]
    assert index.tolist() == [[0, 1, 2], [5, 4, 3], [6, 7, 8]]
    # one cell row further down the lattice, all are turned
    index = tokenise(labels, (-5, 100), 5).index[::5, ::5]
    assert index.tolist() == [[2, 1, 0], [3, 4, 5], [8, 7, 6]]


def test_across_is_the_serpentine_of_the_columns():
    labels = np.repeat(np.repeat(np.arange(1, 10).reshape(3, 3), 5, 0), 5, 1)
    tokens = tokenise(labels, (0, 0), 5)
    turned = tokenise(np.ascontiguousarray(labels.T), (0, 0), 5)
    at = {int(i): place for place, i in np.ndenumerate(tokens.index[::5, ::5])}
    across = [at[int(i)] for i in tokens.across]
    wanted = sorted(np.ndenumerate(turned.index[::5, ::5]), key=lambda item: item[1])
    assert across == [(row, col) for (col, row), _ in wanted]


def test_the_hilbert_curve_steps_to_neighbours_and_belongs_to_the_lattice():
    labels = np.arange(1, 257).reshape(16, 16)
    tokens = tokenise(labels, (16, 48), 1, "hilbert")
    at = np.array([np.argwhere(tokens.index == i)[0] for i in range(256)])
    assert (np.abs(np.diff(at, axis=0)).sum(axis=1) == 1).all()
    part = tokenise(labels[4:12, 3:11], (20, 51), 1, "hilbert")
    whole = tokens.index[4:12, 3:11].ravel()
    assert np.array_equal(np.argsort(np.argsort(whole)), part.index.ravel())


def test_shape_features_by_hand():
    labels = np.zeros((12, 12), dtype=np.uint32)
    labels[0:5, 0:5] = 4  # a whole cell
    labels[7, 2:12] = labels[8, 2] = 9  # 11 pixels in a box of 2 x 10
    tokens = tokenise(labels, (0, 0), 5)
    wanted = [[0, 0, 0, 1], [np.log(11 / 25), 2 / 5 - 1, 10 / 5 - 1, 11 / 20]]
    assert tokens.shape.dtype == np.float32
    assert np.allclose(tokens.shape, wanted, atol=1e-6)
    assert tokens.index[0, 0] == 0
    assert tokens.index[11, 11] == tokens.count == 2


def test_index_numbers_every_segment_once():
    labels = segments()
    tokens = tokenise(labels, (-7, 1003), STEP)
    assert tokens.shape.shape == (tokens.count, SHAPE_FEATURES)
    assert np.array_equal(tokens.index == tokens.count, labels == 0)
    pairs = np.unique(np.stack([labels, tokens.index], -1)[labels > 0], axis=0)
    assert len(pairs) == tokens.count == len(np.unique(labels[labels > 0]))
    assert sorted(pairs[:, 1]) == list(range(tokens.count))


@pytest.mark.parametrize("shift", [(1, 0), (0, 3), (13, 22)])
def test_a_shifted_window_keeps_the_order(shift):
    """Of segments that both windows hold whole; their shapes too."""
    labels, at = segments(), (-7, 1003)
    crop = labels[shift[0] : shift[0] + 40, shift[1] : shift[1] + 40]
    full, part = (
        tokenise(labels, at, STEP),
        tokenise(crop, (at[0] + shift[0], at[1] + shift[1]), STEP),
    )
    names = [n for n in np.unique(crop[crop > 0]) if (crop == n).sum() == (labels == n).sum()]
    assert len(names) > 20
    rank_full = [full.index[labels == n][0] for n in names]
    rank_part = [part.index[crop == n][0] for n in names]
    assert np.argsort(rank_full).tolist() == np.argsort(rank_part).tolist()
    assert np.array_equal(full.shape[rank_full], part.shape[rank_part])


def test_numbering_labels_anew_in_their_order_changes_nothing():
    """As a crop does: cells count from another corner, their order stays."""
    labels = segments()
    before = tokenise(labels, (3, 4), STEP)
    after = tokenise(np.where(labels, labels.astype(np.int64) * 3 + 10**12, 0), (3, 4), STEP)
    assert np.array_equal(before.index, after.index)
    assert np.array_equal(before.shape, after.shape)


def test_permuting_labels_changes_nothing_where_no_two_centroids_share_a_cell():
    labels = segments()
    at = np.stack(np.nonzero(labels)) + np.array([[3], [4]])
    names, inverse = np.unique(labels[labels > 0], return_inverse=True)
    cell = [np.bincount(inverse, axis) // np.bincount(inverse) // STEP for axis in at]
    _, first, count = np.unique(np.stack(cell), axis=1, return_index=True, return_counts=True)
    alone = np.isin(labels, names[first[count == 1]])
    labels = np.where(alone, labels, 0)
    permuted = np.random.default_rng(1).permutation(labels.max() + 1)
    permuted[permuted == 0], permuted[0] = permuted[0], 0
    before, after = (tokenise(each, (3, 4), STEP) for each in (labels, permuted[labels]))
    assert before.count > 50
    assert np.array_equal(before.index, after.index)
    assert np.array_equal(before.shape, after.shape)


def test_neighbours_in_the_sequence_are_neighbours_on_the_ground():
    labels = segments((100, 100), (0, 0))
    tokens = tokenise(labels, (0, 0), STEP)
    row, col = np.nonzero(labels)
    rank = tokens.index[row, col]
    centre = np.stack([np.bincount(rank, axis) / np.bincount(rank) for axis in (row, col)])
    steps = np.hypot(*np.diff(centre, axis=1)) / STEP
    assert 0.7 < np.median(steps) < 1.5
    assert steps.max() < 6  # no jump across the window, not even at the turns


@pytest.mark.parametrize("shape", [(1, 1), (8, 8)])
def test_no_segment_is_no_token(shape):
    tokens = tokenise(np.zeros(shape, dtype=np.uint32), (0, 0), STEP)
    assert tokens.count == 0
    assert tokens.shape.shape == (0, SHAPE_FEATURES)
    assert not tokens.index.any()


# --- windows ------------------------------------------------------------------------------------

NETWORK = NetworkSettings(window=16, margin=4)


@given(
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=100, deadline=None)
def test_centres_cover_a_rectangle_once_and_touch_it(lattice, shape):
    seen = np.zeros(shape, dtype=int)
    found = list(centres(lattice, shape, NETWORK))
    for centre in found:
        assert [c % NETWORK.stride for c in centre] == [0, 0]
        inside = square(
            np.ones(shape, dtype=int), [c - at for c, at in zip(centre, lattice, strict=True)], 8
        )
        assert inside.any()
        rows, cols = (np.arange(n) + at for n, at in zip(shape, lattice, strict=True))
        seen += ((rows // 8 == centre[0] // 8)[:, None]) & (cols // 8 == centre[1] // 8)
    assert (seen == 1).all()
    assert found == sorted(found)


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    st.integers(1, 14),
)
@settings(max_examples=150, deadline=None)
def test_square_copies_and_pads_with_zeros(shape, at, side):
    array = np.arange(1, 1 + 2 * shape[0] * shape[1], dtype=np.int16).reshape(2, *shape)
    found = square(array, at, side)
    assert found.shape == (2, side, side)
    assert found.dtype == array.dtype
    for r in range(side):
        for c in range(side):
            row, col = r + at[0], c + at[1]
            inside = 0 <= row < shape[0] and 0 <= col < shape[1]
            assert (found[:, r, c] == (array[:, row, col] if inside else 0)).all()


def test_a_window_is_the_same_whatever_it_is_cut_from():
    rng = np.random.default_rng(0)
    values, valid = rng.random((2, 50, 60)), rng.random((50, 60)) < 0.8
    labels = rng.integers(1, 99, (50, 60))
    whole = cut(Scene(values, valid, labels, (-9, 30)), (8, 48), NETWORK)
    part = np.s_[10:40, 8:50]
    scene = Scene(values[:, *part], valid[part], labels[part], (1, 38))
    again = cut(scene, (8, 48), NETWORK)
    assert whole.lattice == again.lattice == (4, 44)
    for name in ("values", "valid", "segments"):
        assert np.array_equal(getattr(whole, name), getattr(again, name))
    assert np.array_equal(whole.values, values[:, 13:29, 14:30])


def test_a_window_is_a_copy_and_not_valid_beyond_the_raster():
    scene = Scene(np.ones((1, 5, 5)), np.ones((5, 5), bool), np.ones((5, 5), int), (0, 0))
    window = cut(scene, (0, 0), NETWORK)
    assert window.valid.sum() == window.segments.sum() == 25
    window.values[:] = 9
    assert (scene.values == 1).all()


# --- colours ------------------------------------------------------------------------------------

names = st.sampled_from(["Water", "open water", "forest", "tree", "x", "", "Wetland", "urban"])


@given(st.lists(names, max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_two_classes_have_one_colour(classes):
    found = colors(classes)
    assert len(set(found)) == len(found) == len(classes)
    for color in found:
        assert "#{:02x}{:02x}{:02x}".format(*rgba(color)[:3]) == color
        assert rgba(color)[3] == 255


def test_familiar_names_have_familiar_colours():
    assert colors(["Open Water", "dense forest"]) == ("#2f6fb5", "#1f6b3a")
