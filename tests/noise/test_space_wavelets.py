"""Undecimated wavelets, holes and edges: inverse, gains, tiles, references."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.errors import UsageError
from stcli.noise.space.edges import FILL_REACH, fill, surround
from stcli.noise.space.separable import correlate, join, split
from stcli.noise.space.wavelets import DETAILS, analyse, bank, diagonal, synthesise

NAMES = ("haar", "db4", "sym8", "coif2")


def round_trip(plane, name, levels):
    filters, kept = bank(name), []
    for level in range(1, levels + 1):
        plane, details = analyse(plane, filters, level)
        kept.append(details)
    for level in range(levels, 0, -1):
        plane = synthesise(plane, kept[level - 1], filters, level)
    return plane


@pytest.mark.parametrize("name", NAMES)
def test_synthesis_undoes_analysis_beyond_the_halo(name):
    levels = 2
    halo = bank(name).halo(levels)
    plane = np.random.default_rng(1).normal(size=(2 * halo + 9, 2 * halo + 14))
    back = round_trip(plane, name, levels)
    inner = np.s_[halo:-halo, halo:-halo]
    assert np.abs(back - plane)[inner].max() < 1e-11  # as many digits as tabulated taps have
    assert np.abs(back - plane).max() > 1e-3  # the halo is needed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [1, 2, 3])
def test_gains_are_those_of_white_noise(name, level):
    plane = np.random.default_rng(level).normal(size=(420, 420))
    filters = bank(name)
    for j in range(1, level + 1):
        smooth, details = analyse(plane, filters, j)
        plane = smooth
    cut = filters.reach(level)
    inner = np.s_[cut : 420 - cut, cut : 420 - cut]
    for kind, detail in zip(DETAILS, details, strict=True):
        assert detail[inner].std() == pytest.approx(filters.gain(level, kind), rel=0.08)


def test_the_planes_are_those_of_pywavelets_but_for_their_place():
    """`pywt.swt2` with ``norm`` has the same coefficients on a periodic plane, shifted."""
    plane = np.random.default_rng(0).normal(size=(64, 64))
    (_, (_, _, theirs)) = pywt.swt2(plane, "db4", level=1, norm=True)[0]
    ours = diagonal(np.pad(plane, 32, mode="wrap"), bank("db4"), 1)[0][32:-32, 32:-32]
    shifts = [(r, c) for r in range(-8, 9) for c in range(-8, 9)]
    best = min(np.abs(np.roll(ours, by, axis=(0, 1)) - theirs).max() for by in shifts)
    assert best < 1e-13


@pytest.mark.parametrize("name", NAMES)
def test_coefficients_stand_where_their_cause_does(name):
    plane = np.zeros((201, 201))
    plane[100, 100] = 1
    for hh in diagonal(plane, bank(name), 3):
        energy = np.square(hh)
        centre = [float((energy.sum(axis=1 - k) @ np.arange(201)) / energy.sum()) for k in (0, 1)]
        assert np.abs(np.array(centre) - 100).max() < 4


@pytest.mark.parametrize("shape", [(11, 13), (9, 53), (1, 16), (40, 1)])
@pytest.mark.parametrize("apart", [1, 2, 8])
def test_correlation_is_the_plain_sum(shape, apart):
    plane = np.random.default_rng(3).integers(-99, 99, shape).astype(float)  # sums are exact
    down, across = ((0.5, -1.0, 2.0), -1), ((3.0, 1.0, -2.0, 0.25, 1.0), 1)
    expected = np.zeros_like(plane)
    for row, col in np.ndindex(*shape):
        for (k, tap), (j, pat) in product(enumerate(down[0]), enumerate(across[0])):
            r, c = row + (down[1] + k) * apart, col + (across[1] + j) * apart
            if 0 <= r < shape[0] and 0 <= c < shape[1]:
                expected[row, col] += tap * pat * plane[r, c]
    assert np.array_equal(correlate(plane, down, across, apart), expected)


@pytest.mark.parametrize("shape", [(70, 83), (5, 7), (1, 40), (33, 3)])
def test_splitting_and_joining_are_correlations_and_each_other_s_adjoint(shape):
    rng, filters, apart = np.random.default_rng(4), bank("db4"), 2
    low, high = filters.step(0), filters.step(1)
    plane, smooth = rng.normal(size=shape), rng.normal(size=shape)
    details = rng.normal(size=(3, *shape))
    parts = split(plane, low, high, apart)
    alone = [correlate(plane, *pair, apart) for pair in ((low, high), (high, low), (high, high))]
    assert np.abs(parts[0] - correlate(plane, low, low, apart)).max() < 1e-14
    assert np.abs(np.stack(parts[1]) - np.stack(alone)).max() < 1e-14
    back = [(taps[::-1], 1 - len(taps) - first) for taps, first in (low, high)]
    there = (parts[0] * smooth).sum() + (np.stack(parts[1]) * details).sum()
    assert (plane * join(smooth, details, *back, apart)).sum() == pytest.approx(there, abs=1e-11)


@pytest.mark.parametrize("name", ["bior2.2", "nonsense", "db20", "mexh"])
def test_other_wavelets_are_refused(name):
    with pytest.raises(UsageError, match=name):
        bank(name)


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    cut=st.tuples(st.integers(0, 39), st.integers(1, 40)),
    halo=st.integers(0, 60),
)
def test_a_completed_tile_is_a_part_of_the_completed_raster(size, cut, halo):
    rows, cols = size
    start, stop = min(cut[0], rows - 1), rows
    stop = min(rows, start + cut[1])
    plane = np.arange(rows * cols, dtype=float).reshape(size)
    whole = surround(size, (slice(0, rows), slice(0, cols)), (5, 7), halo).reflect(plane)
    low, high = max(0, start - halo), min(rows, stop + halo)
    trim = (slice(start - low, stop - low), slice(0, cols))
    part = surround((high - low, cols), trim, (5 + low, 7), halo)
    assert part.corner == (5 + start - halo, 7 - halo)
    assert np.array_equal(part.reflect(plane[low:high]), whole[start : stop + 2 * halo])


def test_holes_are_filled_from_nearby_and_values_stay():
    plane = np.add.outer(np.arange(90.0), np.arange(90.0))
    valid = np.ones(plane.shape, dtype=bool)
    valid[40:44, 40:44] = False
    filled = fill(np.where(valid, plane, -1e9), valid)
    assert np.array_equal(filled[valid], plane[valid])
    assert np.abs(filled - plane)[~valid].max() < 4


def test_nothing_is_filled_from_beyond_the_reach():
    plane, valid = np.zeros((200, 200)), np.zeros((200, 200), dtype=bool)
    plane[100, 100], valid[100, 100] = 7.0, True
    filled = fill(plane, valid)
    rows, cols = np.nonzero(filled)
    assert set(filled[filled != 0].round(9)) == {7.0}
    assert max(np.abs(rows - 100).max(), np.abs(cols - 100).max()) == FILL_REACH
