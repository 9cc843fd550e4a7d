"""The search for a lattice of jumps."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.checks.seams import FEWEST, SHORTEST, Seams, find_seams, jumps


def texture(shape, seed, smooth=3):
    """Noise with some correlation, as a landscape has."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    return gaussian_filter(rng.normal(size=shape), smooth) * 10 * smooth


def search(block, classes=False, valid=None, period=None):
    block = np.asarray(block)[None]
    valid = np.ones(block.shape[1:], bool) if valid is None else valid
    across = jumps(block, valid, classes)
    down = jumps(np.swapaxes(block, 1, 2), valid.T, classes)
    return find_seams(across, down, period)


def steps(shape, period, offset, seed=1):
    rng = np.random.default_rng(seed)
    rows, cols = ((np.arange(n) - o) // period + 1 for n, o in zip(shape, offset, strict=True))
    return rng.normal(size=(rows.max() + 1, cols.max() + 1))[rows[:, None], cols]


def test_jumps_against_a_loop():
    rng = np.random.default_rng(0)
    block = rng.integers(0, 4, (1, 70, 9))
    valid = rng.random((70, 9)) > 0.2
    found = jumps(block, valid, True)
    assert found.shape == (1, 2, 9)
    for c in range(1, 9):
        both = valid[:, c] & valid[:, c - 1]
        assert found[0, 1, c] == both.sum()
        assert found[0, 0, c] == (block[0, both, c] != block[0, both, c - 1]).sum()


def test_continuous_jumps_against_a_loop():
    rng = np.random.default_rng(0)
    block = rng.normal(size=(1, 70, 50))
    valid = rng.random((70, 50)) > 0.2
    found = jumps(block, valid, False, start=20)  # cells begin at rows 0, 12, 44
    cells = np.full((2, 3, 50), np.nan)
    for c in range(1, 50):
        both = valid[:, c] & valid[:, c - 1]
        d = np.where(both, block[0, :, c] - block[0, :, c - 1], 0)
        for k, rows in enumerate((slice(0, 12), slice(12, 44), slice(44, 70))):
            if both[rows].sum() >= 16:
                cells[0, k, c] = np.sqrt(abs(d[rows])).sum() / both[rows].sum()
                cells[1, k, c] = np.sqrt(abs(d[rows].sum() / both[rows].sum()))
    for c in (1, 9, 30, 49):
        around = cells[:, :, max(1, c - 16) : c + 17]
        share = cells[:, :, c] / (cells[:, :, c] + np.nanmean(around, 2))
        assert found[:, 0, c] == pytest.approx(np.nansum(share, 1))
        assert (found[:, 1, c] == np.isfinite(share).sum(1)).all()
    assert (found[..., 0] == 0).all()


@pytest.mark.parametrize(("period", "offset"), [(64, (0, 0)), (100, (17, 63)), (130, (129, 1))])
def test_the_lattice_is_found(period, offset):
    shape = (600, 640)
    found = search(texture(shape, 5) + steps(shape, period, offset))
    assert found.period == period
    assert found.offset == tuple(o % period for o in offset)
    assert found.score >= 3


def test_seams_of_one_direction_are_found():
    shape = (500, 800)
    bands = np.random.default_rng(2).normal(size=9)[np.arange(800) // 90]
    found = search(texture(shape, 6) + bands)
    assert (found.period, found.offset) == (90, (None, 0))


def test_classes():
    shape = (640, 640)
    smooth = texture(shape, 7, 6) / 10
    whole = np.digitize(smooth, (-1, 0, 1))
    cut = np.digitize(smooth + 0.5 * steps(shape, 96, (40, 8)), (-1, 0, 1))
    assert search(whole, True).score < 3
    found = search(cut, True)
    assert (found.period, found.offset) == (96, (40, 8))


@pytest.mark.long
def test_false_alarms_are_rare():
    alarms = [search(texture((300, 320), seed)).score >= 3 for seed in range(30)]
    assert sum(alarms) <= 1


def test_short_lattices_are_texture():
    shape = (400, 420)
    rows, cols = (np.arange(n)[:, None] % 8 == 3 for n in shape)
    ridged = texture(shape, 8) + 3 * (rows | cols.T)
    assert search(ridged).score < 3
    both = ridged + 2 * steps(shape, 50, (9, 21))
    assert search(both).period == 50


def test_nodata_is_left_out():
    shape = (500, 520)
    values = texture(shape, 9)
    valid = np.ones(shape, bool)
    valid[:, 100:400:100] = valid[60:90] = False
    values[~valid] = 1e9
    assert search(values, valid=valid).score < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2, 2), (FEWEST * SHORTEST, 20)])
def test_too_small_says_nothing(shape):
    assert search(np.zeros(shape)) == Seams(0, (None, None), 0.0, 0.0)


def test_constant_and_empty():
    assert search(np.zeros((300, 300))).score == 0
    assert search(np.ones((300, 300)), valid=np.zeros((300, 300), bool)).score == 0
