"""Spectra, whitening and its inverse, dates on a lattice, and the checks of a whitened result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.noise.time.dates import in_order, lattice
from stcli.noise.time.diagonal import measure, verdict
from stcli.noise.time.frame import frame
from stcli.noise.time.groups import unwhiten_group, whiten_group
from stcli.noise.time.spectrum import evolved, flatten, stationary
from stcli.noise.time.whitening import centred, levels, whiten
from stcli.settings import WhitenSettings


def red(rng, series, samples, memory=0.8):
    """Autoregressive noise of order one with a one-sided density known in closed form."""
    x = rng.normal(size=(series, samples + 200))
    for k in range(1, x.shape[1]):
        x[:, k] += memory * x[:, k - 1]
    return x[:, 200:]


def estimate(x, valid, step, *, evolving=True, share=1):
    """Estimate the spectrum of series as a group's is."""
    found = stationary(x, valid, step, share=share)
    return evolved(found, flatten(x, found), valid) if evolving else found


def all_valid(x):
    return np.ones(x.shape, bool)


def test_the_density_has_its_unit():
    x = red(np.random.default_rng(0), 400, 256)
    for step in (1.0, 0.25):
        found = estimate(x, all_valid(x), step, share=400, evolving=False)
        f = np.linspace(0, 0.5, found.density.size)
        wanted = 2 * step / np.abs(1 - 0.8 * np.exp(-2j * np.pi * f)) ** 2
        off = found.density[2:-1] / wanted[2:-1] - 1  # each with an error of 1 / sqrt(400)
        assert np.abs(off).max() < 5 / np.sqrt(400)
        assert abs(off.mean()) < 5 / np.sqrt(400 * off.size)
        assert (found.relative == 1).all()


@pytest.mark.parametrize("samples", [64, 100, 1000])
def test_red_noise_comes_out_white(samples):
    x = red(np.random.default_rng(1), 300, samples)
    spectrum = estimate(x, all_valid(x), 1.0, share=300)
    y = whiten(x, spectrum)
    found = verdict(measure(y, all_valid(x), spectrum))
    assert abs(found["variance"] - 1) < 0.08
    assert found["autocorrelation"] < 0.08
    assert abs(found["kurtosis"] - 3) < 0.2


def test_change_in_time_is_found_only_where_there_is_one():
    rng = np.random.default_rng(2)
    t = np.arange(2**15)
    gain = 1 + 0.8 * np.sin(2 * np.pi * t / 2**13)
    noise = rng.normal(size=(1, t.size))
    steady = estimate(noise, all_valid(noise), 1.0)
    assert (np.abs(np.log(steady.relative)) < 0.1).mean() > 0.97
    truth = noise.reshape(32, -1).std(axis=1)
    errors = []
    for evolving in (True, False):
        found = estimate(noise * gain, all_valid(noise), 1.0, evolving=evolving)
        y = whiten(noise * gain, found)[:, found.frame.inside]
        errors.append(np.log(y.reshape(32, -1).std(axis=1) / truth).std())
    assert errors[1] > 0.3
    assert errors[0] < errors[1] / 10


def test_a_short_signal_is_not_erased():
    rng = np.random.default_rng(3)
    x = rng.normal(size=2**15)
    j = np.arange(2**15)
    tone = 3 * np.exp(-(((j - 16000) / 150) ** 2)) * np.sin(0.3 * j)
    series = (x + tone)[None]
    spectrum = estimate(series, all_valid(series), 1.0)
    y = whiten(series, spectrum)[0, spectrum.frame.inside]
    kept = (y @ tone) / np.sqrt(tone @ tone)
    assert kept > 0.95 * (series[0] @ tone) / np.sqrt(tone @ tone)


@given(st.integers(8, 90), st.integers(1, 5), st.integers(0, 2**16), st.booleans())
@settings(max_examples=40, deadline=None)
def test_unwhitening_gives_the_dates_back(samples, series, seed, gaps):
    rng = np.random.default_rng(seed)
    x = 100 + red(rng, series, samples).T
    if gaps:
        x[rng.random(x.shape) < 0.3] = np.nan
        x[0] = 100.0  # the lattice begins and ends at dates that some series has
    dates = in_order(np.arange(samples, dtype=float))
    how = WhitenSettings(share=2, evolving=bool(seed % 2))
    found = whiten_group(x, dates, how)
    assert np.array_equal(np.isnan(found.values), np.isnan(x))
    back = unwhiten_group(found.values, (found.level, found.rest), dates, found.spectrum)
    assert np.array_equal(np.isnan(back), np.isnan(x))
    assert np.nanmax(np.abs(back - x), initial=0) < 1e-8


def test_a_gap_touches_its_own_series_only():
    rng = np.random.default_rng(4)
    x = red(rng, 9, 64).T
    dates, how = in_order(np.arange(64.0)), WhitenSettings(share=3)
    spectrum = whiten_group(x, dates, how).spectrum
    before = whiten_group(x, dates, how, spectrum).values
    holed = x.copy()
    holed[20:30, 4] = np.nan
    after = whiten_group(holed, dates, how, spectrum).values
    others = np.arange(9) != 4
    assert np.array_equal(before[:, others], after[:, others])
    assert np.isnan(after[20:30, 4]).all()
    assert np.isfinite(after[np.r_[0:20, 30:64], 4]).all()


def test_a_constant_group_has_no_spectrum():
    found = whiten_group(np.full((32, 4), 7.0), in_order(np.arange(32.0)), WhitenSettings(share=2))
    assert found.spectrum.silent
    assert found.sums is None
    assert (found.values == 0).all()


def test_levels_of_series_without_data():
    x = np.array([[1.0, 3.0, 8.0], [np.nan, np.nan, np.nan]])
    valid = np.isfinite(x)
    assert levels(x, valid).tolist() == [3.0, 0.0]
    assert centred(x, valid, levels(x, valid)).tolist() == [[-2.0, 0.0, 5.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("samples", [8, 9, 64, 365, 4097])
@pytest.mark.parametrize("rows", [None, 2, 6])
def test_a_frame_holds_its_series(samples, rows):
    where = frame(samples, rows)
    assert min(where.before, where.after) >= where.tiling.rows
    assert where.before + samples + where.after == where.tiling.samples


def test_dates_on_a_lattice():
    jitter = np.array([0, 518451, 1036801, 2073600, 2592010.0])
    found = lattice(jitter)
    assert found.places == (0, 1, 2, 4, 5)
    assert found.step == pytest.approx(518400, rel=1e-3)
    months = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30.0])
    assert lattice(months).places == tuple(range(12))
    assert lattice(np.array([0, 7, 8, 16, 17, 33, 40.0])) is None
    assert lattice(np.array([0, 1, 100.0])) is None
    assert in_order(np.array([0, 7, 8.0])).places == (0, 1, 2)


def test_the_verdict_tells_white_from_not():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(50, 512))
    spectrum = estimate(x, all_valid(x), 1.0, share=50)
    white = verdict(measure(whiten(x, spectrum), all_valid(x), spectrum))
    assert white["failed"] == []
    assert white["max_correlation"] < white["correlation_floor"] + 0.02
    flat = estimate(x, all_valid(x), 1.0, share=50)
    jump = np.where(np.arange(512) < 256, 1.0, 5.0)
    wrong = verdict(measure(whiten(red(rng, 50, 512) * jump, flat), all_valid(x), flat))
    many = {"variance_error", "autocorrelation_above_floor", "kurtosis_error"}
    assert many <= set(wrong["failed"])
    assert wrong["max_correlation"] > wrong["correlation_floor"] + 0.1


@pytest.mark.parametrize("length", [512, 1024, 4096])
def test_a_short_white_series_is_white_and_a_red_one_is_not(length):
    """A hundred lags of 1024 samples show a tenth by chance; the verdict must not count that."""
    rng = np.random.default_rng(length)
    for _ in range(8):
        x = rng.normal(size=(1, length))
        spectrum = estimate(x, all_valid(x), 1.0, share=1)
        found = verdict(measure(whiten(x, spectrum), all_valid(x), spectrum))
        assert found["failed"] == []
        assert 2.5 / length**0.5 < found["autocorrelation_floor"] < 4.5 / length**0.5
        red_one = verdict(measure(whiten(red(rng, 1, length), spectrum), all_valid(x), spectrum))
        assert "autocorrelation_above_floor" in red_one["failed"]
        loud = verdict(measure(1.25 * whiten(x, spectrum), all_valid(x), spectrum))
        assert "variance_error" in loud["failed"]
