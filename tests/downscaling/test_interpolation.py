"""Interpolation: against scipy, exact on what it must reproduce, the same for every tiling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import zoom

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.interpolation import halo, interpolate, phases, prefilter
from stcli.settings import DownscaleSettings

METHODS = ("nearest", "bilinear", "cubic", "ibp")
each_method = pytest.mark.parametrize("method", METHODS)
each_factor = pytest.mark.parametrize("factor", [2, 3, 4])


def settings(method, factor=2, rounds=10):
    return DownscaleSettings(factor, method, rounds=rounds)


def field(rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(280, 5, (rows, cols))


def back_projected(coarse, factor, rounds):
    """Back-project as it is written down: on the fine grid, round by round."""
    up = settings("cubic", factor)
    fine = interpolate(coarse, up)
    for _ in range(rounds):
        fine += interpolate(coarse - block_mean(fine, factor), up)
    return fine


@each_method
@each_factor
def test_phases_sum_to_one_and_mirror(method, factor):
    taps = phases(method, factor)
    assert np.allclose(taps.sum(axis=1), 1, rtol=0, atol=1e-15)
    assert np.allclose(taps, taps[::-1, ::-1], rtol=0, atol=1e-15)


def test_the_prefilter_inverts_the_spline_at_its_nodes():
    nodes = np.convolve(prefilter(), [1 / 6, 2 / 3, 1 / 6])
    delta = np.zeros_like(nodes)
    delta[len(delta) // 2] = 1
    assert np.abs(nodes - delta).max() < 1e-5


@each_factor
def test_cubic_is_scipys_spline(factor):
    coarse = field(40, 37)
    theirs = zoom(coarse, factor, order=3, mode="nearest", grid_mode=True)
    inside = np.s_[12 * factor : -12 * factor, 12 * factor : -12 * factor]
    ours = interpolate(coarse, settings("cubic", factor))
    assert np.abs(ours - theirs)[inside].max() < 1e-4


@each_factor
def test_bilinear_is_scipys_and_nearest_repeats(factor):
    coarse = field(9, 11)
    theirs = zoom(coarse, factor, order=1, mode="nearest", grid_mode=True)
    assert np.allclose(interpolate(coarse, settings("bilinear", factor)), theirs, rtol=1e-12)
    repeated = coarse.repeat(factor, 0).repeat(factor, 1)
    assert np.array_equal(interpolate(coarse, settings("nearest", factor)), repeated)


@each_method
def test_a_slope_is_reproduced_inside(method):
    if method == "nearest":
        return
    row, col = np.mgrid[:60, :60]
    fine = 3.0 * ((row + 0.5) / 2 - 0.5) - 2.0 * ((col + 0.5) / 2 - 0.5) + 7
    coarse = 3.0 * np.mgrid[:30, :30][0] - 2.0 * np.mgrid[:30, :30][1] + 7
    inside = np.s_[28:-28, 28:-28]
    found = interpolate(coarse, settings(method, rounds=1))
    assert np.abs(found - fine)[inside].max() < 1e-4


@each_factor
def test_rounds_on_the_coarse_grid_are_the_rounds_on_the_fine_grid(factor):
    coarse = field(31, 26)
    found = interpolate(coarse, settings("ibp", factor, rounds=4))
    assert np.abs(found - back_projected(coarse, factor, 4)).max() < 1e-9


def test_back_projection_brings_block_means_closer():
    coarse = field(50, 50)
    gaps = [
        np.abs(block_mean(interpolate(coarse, settings("ibp", rounds=n)), 2) - coarse).max()
        for n in (0, 5, 10)
    ]
    assert gaps[2] < gaps[1] / 5 < gaps[0] / 25


@each_method
@pytest.mark.parametrize("gaps", [False, True])
def test_every_crop_gives_the_same_bits_inside_its_halo(method, gaps):
    coarse, how = field(70, 66), settings(method, 2, rounds=1)
    if gaps:
        coarse[np.random.default_rng(1).random(coarse.shape) < 0.15] = np.nan
        coarse[20:34, 10:60] = np.nan
    around = halo(how)
    whole = interpolate(coarse, how)
    for top, left, size in ((0, 0, 20), (20, 7, 13), (50, 46, 20), (33, 29, 1)):
        low = max(0, top - around), max(0, left - around)
        high = min(70, top + size + around), min(66, left + size + around)
        core = (
            slice(top - low[0], top - low[0] + size),
            slice(left - low[1], left - low[1] + size),
        )
        part = interpolate(coarse[low[0] : high[0], low[1] : high[1]], how, core)
        there = whole[2 * top : 2 * (top + size), 2 * left : 2 * (left + size)]
        assert np.array_equal(part, there, equal_nan=True)


def test_a_smaller_halo_would_show():
    coarse = field(120, 8)
    moved = coarse.copy()
    moved[0] += 1e6
    how = settings("ibp", rounds=2)
    changed = np.abs(interpolate(coarse, how) - interpolate(moved, how)).max(axis=1) > 0
    assert 10 < np.flatnonzero(changed).max() // 2 <= halo(how)


@each_method
@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_nodata_stays_where_it_is(method, share, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.normal(280, 5, (rng.integers(1, 12), rng.integers(1, 12)))
    gaps = rng.random(coarse.shape) < share
    coarse[gaps] = np.nan
    found = interpolate(coarse, settings(method))
    assert np.array_equal(np.isnan(found), gaps.repeat(2, 0).repeat(2, 1))


@each_method
def test_what_stands_in_a_gap_does_not_matter_and_a_constant_stays(method):
    coarse = np.full((17, 13), 281.25)
    coarse[3:9, 2:7] = np.nan
    coarse[16, :] = np.nan
    found = interpolate(coarse, settings(method))
    assert np.nanmax(np.abs(found - 281.25)) < 1e-9


@each_method
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_one_pixel_and_one_row(method, shape):
    coarse = np.arange(1.0, 1 + shape[0] * shape[1]).reshape(shape)
    found = interpolate(coarse, settings(method, 4))
    assert found.shape == (4 * shape[0], 4 * shape[1])
    assert np.isfinite(found).all()
    assert np.isnan(interpolate(np.full(shape, np.nan), settings(method, 4))).all()
