"""Conservation and coarsening: exact where it can be, honest where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stcli.downscaling.coarsen import block_mean, spread
from stcli.downscaling.conserve import conserve, residual, unreachable

WAYS = ("add", "mult", "scadd")
each_way = pytest.mark.parametrize("how", WAYS)
LIMITS = (0.0, 10.0)


def pair(seed, gaps=0.0, factor=2):
    """Make a fine raster and coarse values that it does not agree with, both within 0 and 10."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 10, (2, rng.integers(1, 6), rng.integers(1, 6)))
    fine = rng.uniform(0, 10, (2, *(n * factor for n in coarse.shape[1:])))
    fine[rng.random(fine.shape) < gaps] = np.nan
    coarse[rng.random(coarse.shape) < gaps] = np.nan
    return fine, coarse


def plain_mean(fine, factor):
    """Coarsen by loops."""
    bands, rows, cols = fine.shape
    out = np.full((bands, rows // factor, cols // factor), np.nan)
    for band, row, col in np.ndindex(out.shape):
        block = fine[band, row * factor :, col * factor :][:factor, :factor]
        if np.isfinite(block).any():
            out[band, row, col] = block[np.isfinite(block)].mean()
    return out


@given(seed=st.integers(0, 999), gaps=st.sampled_from([0, 0.3, 0.9, 1]), factor=st.integers(1, 4))
def test_block_mean_is_the_plain_mean(seed, gaps, factor):
    fine, _ = pair(seed, gaps, factor)
    assert np.allclose(block_mean(fine, factor), plain_mean(fine, factor), equal_nan=True)


def test_spread_repeats_over_blocks():
    assert spread(np.array([[1, 2]]), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


@each_way
@given(seed=st.integers(0, 999), gaps=st.sampled_from([0, 0.3, 0.8]), factor=st.integers(2, 4))
def test_block_means_become_the_coarse_values(how, seed, gaps, factor):
    fine, coarse = pair(seed, gaps, factor)
    found = conserve(fine, coarse, factor, how, LIMITS)
    _, relative = residual(found, coarse, factor)
    both = np.isfinite(coarse) & np.isfinite(block_mean(fine, factor))
    assert np.array_equal(np.isfinite(relative), both)
    assert relative[both].max(initial=0) < 1e-12
    assert np.array_equal(np.isnan(found), np.isnan(fine))
    left = np.isnan(spread(coarse, factor))
    assert np.array_equal(found[left], fine[left], equal_nan=True)
    if how != "add":
        assert np.nanmin(found, initial=0) >= 0
    if how == "scadd":
        assert np.nanmax(found, initial=0) <= 10 + 1e-12


@each_way
def test_what_agrees_already_is_not_changed(how):
    fine, _ = pair(3)
    assert np.allclose(conserve(fine, block_mean(fine, 2), 2, how, LIMITS), fine, rtol=1e-12)


def test_a_second_time_changes_nothing_more():
    fine, coarse = pair(4)
    once = conserve(fine, coarse, 2)
    assert np.allclose(conserve(once, coarse, 2), once, rtol=0, atol=1e-13)


def test_none_changes_nothing_at_all():
    fine, coarse = pair(5, 0.2)
    assert np.array_equal(conserve(fine, coarse, 2, "none"), fine, equal_nan=True)


def test_mult_clears_negatives_and_fills_dry_blocks():
    fine = np.array([[-1.0, 3, 0, 0], [1, 2, 0, np.nan]])
    found = conserve(fine, np.array([[3.0, 6.0]]), 2, "mult")
    assert found.tolist()[0] == [0, 6, 6, 6]
    assert found[1, :3].tolist() == [2, 4, 6]
    assert np.isnan(found[1, 3])


def test_scadd_at_the_limits():
    fine = np.array([[10.0, 10, 0, 0], [10, 10, 0, 0]])
    coarse = np.array([[0.0, 10.0]])
    assert conserve(fine, coarse, 2, "scadd", LIMITS).tolist() == [[0, 0, 10, 10]] * 2


@pytest.mark.parametrize(("how", "value"), [("mult", -1.0), ("scadd", 11.0), ("scadd", -0.5)])
def test_what_cannot_be_reached_is_refused(how, value):
    coarse = np.array([[value, np.nan]])
    assert f"{value:g} found" in unreachable(coarse, how, LIMITS)
    with pytest.raises(ValueError, match="found"):
        conserve(np.ones((2, 4)), coarse, 2, how, LIMITS)
    assert unreachable(coarse, "add") is None


def test_the_residual_is_relative_to_what_rounds():
    fine = np.array([[1.0, 3.0], [5.0, 7.0]])
    absolute, relative = residual(fine, np.array([[3.0]]), 2)
    assert absolute.item() == 1
    assert relative.item() == 0.25
    assert residual(np.zeros((2, 2)), np.zeros((1, 1)), 2)[1].item() == 0
