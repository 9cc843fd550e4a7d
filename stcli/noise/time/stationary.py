"""The stationary power spectrum of a group of series (Welch 1967, doi:10.1109/TAU.1967.1161901).

All densities are one-sided, in the square of the series' unit per cycle per unit of time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, median_filter, uniform_filter1d

#: Periodograms that a density is averaged over, at least.
AVERAGES = 8
#: Periodograms from which on a density is not smoothed in frequency.
MANY = 64
#: Bins that smoothing in frequency averages; the background is a median over twice as many.
SMOOTH = 17
#: Robust standard deviations above or below the background at which a line begins.
LINE = 3.0
#: Density below which, relative to the largest, nothing is believed.
FLOOR = 1e-14


def segment_length(samples: int, series: int) -> int:
    """Longest even segment that gives `AVERAGES` half-overlapping periodograms."""
    length = samples - samples % 2
    while length > 16 and (2 * samples // length - 1) * series < AVERAGES:
        length = length // 4 * 2
    return length


def welch(
    x: NDArray[Any], valid: NDArray[np.bool_], step: float, length: int
) -> NDArray[np.float64]:
    """Estimate the one-sided density of a group of series that share one.

    Parameters
    ----------
    x : ndarray, (series, N)
        Level taken off, 0 where not valid.
    valid : ndarray of bool, (series, N)
        A periodogram counts by the share of its window that is valid; less than half is dropped.
    step : float
        Between samples.
    length : int
        L, samples of a segment, even.

    Returns
    -------
    ndarray, (L/2 + 1,)
        At 0 … Nyquist. The median of a single series' periodograms, corrected for its bias, so
        that a transient weighs little; the mean over several series. All 0 for constant series.
    """
    window = np.hanning(length + 1)[:-1]
    power, weight = _periodograms(x, valid, window)
    if not weight.any():
        return np.zeros(length // 2 + 1)
    kept, shares = power[weight > 0], weight[weight > 0]
    if len(x) == 1 and len(kept) >= AVERAGES:
        density = np.median(kept / shares[:, None], axis=0) / _median_bias(len(kept))
    else:
        density = kept.sum(axis=0) / shares.sum()
    density *= 2 * step / (window**2).sum()
    if len(kept) < MANY and density.size >= 8 * SMOOTH:
        density = settled(density)
    # with the level gone and Hann's window the lowest bins are those of their neighbour
    density[0] = max(density[0], density[1])
    floored: NDArray[np.float64] = np.maximum(density, FLOOR * density.max())
    return floored


def settled(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth a density of few periodograms in frequency, lines apart.

    A density that follows its own chance follows the signal too, and costs it. The background is
    a running median of ln S; bins that leave it by `LINE` robust standard deviations, and two
    beside them, are lines and stay; the others take a running mean that leaves lines out.
    """
    log = np.log(np.maximum(density, np.finfo(float).tiny))
    background = median_filter(log, 2 * SMOOTH - 1, mode="nearest")
    apart = np.abs(log - background)
    line = binary_dilation(apart > LINE * np.median(apart) / 0.6745, iterations=2)
    weight = uniform_filter1d((~line).astype(float), SMOOTH, mode="nearest")
    mean = uniform_filter1d(np.where(line, 0.0, log), SMOOTH, mode="nearest")
    smooth = np.where(weight > 0.2, mean / np.maximum(weight, 0.2), background)
    # the mean of a logarithm lies below the logarithm of the mean: half its variance
    offset = (1.4826 * np.median(apart)) ** 2 / 2
    found: NDArray[np.float64] = np.exp(np.where(line, log, smooth + offset))
    return found


def _periodograms(
    x: NDArray[Any], valid: NDArray[np.bool_], window: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return |FFT|² of every segment, (segments, bins), and the share of it that is valid."""
    length = window.size
    starts = range(0, x.shape[1] - length + 1, length // 2)
    power, weight = [], []
    for start in starts:
        part = slice(start, start + length)
        spectrum = scipy.fft.rfft(x[:, part] * window)
        power.append(spectrum.real**2 + spectrum.imag**2)
        share = valid[:, part] @ window**2 / (window**2).sum()
        weight.append(np.where(share >= 0.5, share, 0))
    return np.concatenate(power), np.concatenate(weight)


def _median_bias(count: int) -> float:
    """Median over mean of `count` periodograms (Allen et al. 2012, gr-qc/0509116, app. B)."""
    terms = 2 * np.arange(1, (count - 1) // 2 + 1)
    return float(1 + (1 / (terms + 1) - 1 / terms).sum())


def gain(density: NDArray[np.float64], samples: int, step: float) -> NDArray[np.float64]:
    """Amplitude that whitens each frequency of so many samples: sqrt(2 / (S · rate)).

    Parameters
    ----------
    density : ndarray, (L/2 + 1,)
        One-sided and positive, at 0 … Nyquist.
    samples : int
        Of the Fourier transform that it is for.
    step : float
        Between samples.

    Returns
    -------
    ndarray, (samples // 2 + 1,)
    """
    amplitude: NDArray[np.float64] = np.sqrt(2 * step / at_frequencies(density, samples))
    return amplitude


def at_frequencies(density: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Interpolate a density, linearly in its logarithm, at the frequencies of so many samples.

    Parameters
    ----------
    density, samples
        As in `gain`.

    Returns
    -------
    ndarray, (samples // 2 + 1,)
    """
    wanted, known = scipy.fft.rfftfreq(samples), np.linspace(0, 0.5, density.size)
    found: NDArray[np.float64] = np.exp(np.interp(wanted, known, np.log(density)))
    return found
