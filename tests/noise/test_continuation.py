"""Series carried on beyond their ends: what is predicted, and that no end rings."""

import numpy as np
import pytest

from stcli.noise.time.continuation import causal, continued
from stcli.noise.time.frame import frame
from stcli.noise.time.spectrum import evolved, flatten, stationary
from stcli.noise.time.stationary import at_frequencies
from stcli.noise.time.whitening import level_off


def density(memory, bins=513):
    """S of x[t] = memory x[t - 1] + e[t]."""
    turn = np.exp(-1j * np.pi * np.arange(bins) / (bins - 1))
    return 1 / np.abs(1 - memory * turn) ** 2


@pytest.mark.parametrize("samples", [1024, 1025, 4096])
def test_the_causal_filter_is_the_process(samples):
    found = causal(density(0.8), samples)
    assert np.allclose(np.abs(found) ** 2 * at_frequencies(density(0.8), samples), 1)
    taps = np.fft.irfft(found, samples)
    assert np.allclose(taps[:2], [1, -0.8], atol=1e-3)
    assert np.abs(taps[2:]).max() < 1e-3


def test_an_autoregression_decays_by_its_memory():
    x = np.random.default_rng(0).normal(size=(3, 600))
    where = frame(600)
    wide = continued(x, where, density(0.5))
    after = wide[:, where.inside.stop :][:, :6]
    assert np.allclose(after, x[:, -1:] * 0.5 ** np.arange(1, 7), atol=0.01)
    before = wide[:, : where.before][:, :-7:-1]
    assert np.allclose(before, x[:, :1] * 0.5 ** np.arange(1, 7), atol=0.01)


@pytest.mark.parametrize("samples", [8, 9, 64, 365, 4097])
@pytest.mark.parametrize("rows", [None, 2, 6])
def test_the_series_stands_in_its_frame(samples, rows):
    where = frame(samples, rows)
    x = np.random.default_rng(5).normal(size=(2, samples))
    wide = continued(x, where, density(0.8, samples // 2 + 1))
    assert wide.shape == (2, where.tiling.samples)
    assert np.array_equal(wide[:, where.inside], x)
    assert np.isfinite(wide).all()


def test_each_series_is_carried_on_alone_and_in_proportion():
    x = np.random.default_rng(6).normal(size=(4, 200))
    where = frame(200)
    wide = continued(x, where, density(0.9, 101))
    assert np.array_equal(continued(x[1:2], where, density(0.9, 101)), wide[1:2])
    assert np.allclose(continued(-3 * x, where, density(0.9, 101)), -3 * wide)


def test_without_noise_the_padding_is_zero():
    where = frame(20)
    wide = continued(np.ones((1, 20)), where, np.zeros(11))
    assert wide.sum() == 20


def test_no_end_rings():
    """Swell and a sharp line a million times as strong as the rest: ends are as loud as noise."""
    samples, block = 2**15, 256
    f = np.fft.rfftfreq(2 * samples)
    power = 1 + 1e12 / (1 + (f / 0.002) ** 8) + 1e6 * np.exp(-(((f - 0.12) / 2e-4) ** 2))
    rng = np.random.default_rng(1)
    white = rng.normal(size=f.size) + 1j * rng.normal(size=f.size)
    x = np.fft.irfft(white * np.sqrt(power * samples), 2 * samples)[None, :samples]
    x -= np.median(x)
    valid = np.ones(x.shape, bool)
    first = stationary(x, valid, 1.0)
    white = flatten(x, first)
    found = level_off(white, evolved(first, white, valid))
    found = found[0, first.frame.inside].reshape(-1, block).std(axis=1)
    error = 1 / np.sqrt(2 * block)
    assert abs(np.median(found) - 1) < error
    assert np.abs(found[[0, 1, -2, -1]] - 1).max() < 5 * error
