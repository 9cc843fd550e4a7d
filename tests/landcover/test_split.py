"""What trains and what validates: blocks, and pixels drawn by their place."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.landcover.split import Split, draw_blocks, draw_folds, draw_pixels

place = st.tuples(st.integers(-60, 60), st.integers(-60, 60))
extent = st.tuples(st.integers(1, 30), st.integers(1, 30))


@given(
    place, extent, st.integers(1, 20), st.sets(st.tuples(st.integers(-4, 4), st.integers(-4, 4)))
)
@settings(max_examples=150, deadline=None)
def test_part_marks_the_pixels_of_held_out_blocks(lattice, shape, side, blocks):
    held = Split(side, frozenset(blocks)).part(lattice, shape)
    for r in range(shape[0]):
        for c in range(shape[1]):
            block = (lattice[0] + r) // side, (lattice[1] + c) // side
            assert held[r, c] == (block in blocks)


def sides(counts, held):
    table = np.stack([counts[key] for key in sorted(counts)])
    inside = np.array([key in held for key in sorted(counts)])
    return table[inside].sum(axis=0), table[~inside].sum(axis=0), table.sum(axis=0)


def possible(counts, number) -> bool:
    """Whether some choice of that many blocks has each class on both sides."""
    for held in combinations(counts, number):
        inside, outside, total = sides(counts, set(held))
        if ((inside > 0) & (outside > 0))[total > 0].all():
            return True
    return False


@given(
    st.lists(
        st.lists(st.sampled_from([0, 0, 1, 40, 300]), min_size=3, max_size=3),
        min_size=2,
        max_size=7,
    ),
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]),
    st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_every_class_is_on_both_sides_when_it_can_be(table, share, seed):
    counts = {(n // 3, n % 3 - 1): np.array(row) for n, row in enumerate(table) if sum(row)}
    if len(counts) < 2:
        return
    held = draw_blocks(counts, share, seed)
    number = min(len(counts) - 1, max(1, round(share * len(counts))))
    assert held <= set(counts)
    assert len(held) == number
    inside, outside, total = sides(counts, held)
    if possible(counts, number):
        assert ((inside > 0) & (outside > 0))[total > 0].all()


def test_shares_are_even_where_there_is_a_choice():
    rng = np.random.default_rng(3)
    counts = {(r, c): rng.integers(0, 200, 4) for r in range(6) for c in range(6)}
    inside, _, total = sides(counts, draw_blocks(counts, 0.25, 0))
    assert (np.abs(inside / total - 0.25) < 0.1).all()


def test_what_lies_in_one_block_is_learnt_and_not_validated():
    counts = {(0, n): np.array([40, 0, 0, 0]) for n in range(6)}
    counts |= {(1, n): np.array([40, *(300 * (n == k) for k in range(3))]) for n in range(3)}
    for seed in range(20):
        _, outside, _ = sides(counts, draw_blocks(counts, 0.25, seed))
        assert (outside > 0).all()


def test_one_block_holds_nothing_out():
    assert draw_blocks({(0, 0): np.array([5, 5])}, 0.25, 0) == frozenset()


def test_the_seed_alone_decides():
    rng = np.random.default_rng(3)
    counts = {(r, c): rng.integers(0, 200, 4) for r in range(6) for c in range(6)}
    turned = dict(reversed(counts.items()))
    assert draw_blocks(counts, 0.25, 1) == draw_blocks(turned, 0.25, 1)
    assert len({draw_blocks(counts, 0.25, seed) for seed in range(4)}) > 1


@given(place, extent, st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_a_pixels_number_depends_on_its_place_and_not_on_the_window(lattice, shape, seed):
    wide = draw_pixels((-70, -70), (200, 200), seed)
    at = lattice[0] + 70, lattice[1] + 70
    inside = wide[at[0] : at[0] + shape[0], at[1] : at[1] + shape[1]]
    assert np.array_equal(draw_pixels(lattice, shape, seed), inside)


@pytest.mark.parametrize("lattice", [(0, 0), (-500, 10**9)])
def test_numbers_are_even_and_unrelated_between_neighbours_and_seeds(lattice):
    a, b = (draw_pixels(lattice, (300, 300), seed) for seed in (0, 1))
    assert ((a >= 0) & (a < 1)).all()
    deviation = 1 / np.sqrt(90_000)  # of the figures below, if the numbers are even
    share = np.histogram(a, 10, (0, 1))[0] / 90_000
    assert (np.abs(share - 0.1) < 5 * 0.3 * deviation).all()
    for x, y in ((a, b), (a[1:], a[:-1]), (a[:, 1:], a[:, :-1]), (a, a.T)):
        off = ~np.eye(*x.shape, dtype=bool)
        assert abs(np.corrcoef(x[off], y[off])[0, 1]) < 6 * deviation


@given(
    st.lists(
        st.lists(st.sampled_from([0, 0, 1, 40]), min_size=3, max_size=3), min_size=4, max_size=9
    ),
    st.integers(2, 4),
    st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_folds_deal_every_block_once_and_evenly(table, number, seed):
    counts = {(0, n // 3, n % 3 - 1): np.array(row) for n, row in enumerate(table) if sum(row)}
    if len(counts) < number:
        return
    folds = draw_folds(counts, number, seed)
    assert sorted(block for fold in folds for block in fold) == sorted(counts)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert folds == draw_folds(counts, number, seed)


def test_no_fold_holds_all_of_a_class_where_that_can_be():
    counts = {(0, 0, n): np.array([100, 20 if n in (3, 4) else 0, 5]) for n in range(12)}
    for seed in range(5):
        folds = draw_folds(counts, 3, seed)
        assert all(not {(0, 0, 3), (0, 0, 4)} <= fold for fold in folds)
