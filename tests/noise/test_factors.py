"""Change in time that rows share: followed where it is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.noise.time.factors import shared_change

ROWS, TIMES = 63, 600


def white(seed=0, rows=ROWS, times=TIMES, degrees=1):
    return np.random.default_rng(seed).chisquare(degrees, (rows, times)) / degrees


def slow(times=TIMES, period=200.0):
    return 2 * np.log(1 + 0.8 * np.sin(2 * np.pi * np.arange(times) / period))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("rows", "times", "degrees"), [(63, 600, 1), (3, 16, 1024), (7, 64, 1)])
def test_chance_is_no_change(seed, rows, times, degrees):
    assert not shared_change(white(seed, rows, times, degrees), degrees).any()


def test_rows_that_move_together_move_as_one():
    power = white()
    power[10:25] *= np.exp(slow())
    found = shared_change(power, 1)
    course = found - found.mean(axis=1, keepdims=True)
    assert not course[30:].any()
    middle = np.median(course[10:25], axis=0)
    alike = np.abs(course[10:25] - middle).max(axis=1) < 1e-9
    assert alike.sum() >= 13
    error = middle - (slow() - slow().mean())
    assert np.sqrt(np.mean(error[25:-25] ** 2)) < 0.15


def test_two_bands_have_two_courses():
    power = white(1)
    power[5:20] *= np.exp(slow())
    power[35:60] *= np.exp(slow(period=140.0))
    found = shared_change(power, 1)
    for rows, period in ((slice(5, 20), 200.0), (slice(35, 60), 140.0)):
        error = found[rows].mean(axis=0) - slow(period=period)
        assert (error - error.mean())[25:-25].std() < 0.2


def test_a_burst_in_all_rows_is_followed_to_its_edges():
    power = white(2)
    power[:, 300:332] *= 9
    found = shared_change(power, 1).mean(axis=0)
    assert np.abs(found[304:328] - np.log(9)).max() < 0.3
    assert np.abs(np.r_[found[200:296], found[336:400]]).max() < 0.3


def test_a_signal_hardly_moves_what_its_rows_share():
    power = white(1)
    power[10:30] *= np.exp(slow())
    before = shared_change(power, 1)
    for k in range(6):
        power[12 + 2 * k : 15 + 2 * k, 320 + k] += 15 * np.exp(slow()[320 + k])
    moved = shared_change(power, 1) - before
    assert np.abs(moved[10:30, 310:336]).mean() < 0.2


def test_what_is_left_has_the_level_of_white_noise():
    power = 3 * white(4, degrees=8)
    power[10:25] *= np.exp(slow())
    left = power / np.exp(shared_change(power, 8))
    assert left[10:25, 25:-25].mean() == pytest.approx(1, abs=0.05)
    assert left[40:].mean() == pytest.approx(3, abs=0.05)
