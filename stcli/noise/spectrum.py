"""The evolutionary power spectrum S(t, f) of a group of series, on WDM cells.

S(t, f) = S0(f) · R(t, f): a stationary density, finely resolved in frequency, where lines live
(`stcli.noise.stationary`), times a relative power on WDM cells, where change in time lives. R is
1 wherever the data do not prove otherwise:

1. the frame is whitened by S0, transformed, and squared; powers are averaged over the series;
2. *broad*: in each time cell, the trimmed mean over bands of log power relative to the band's
   median over time, smoothed in time;
3. *bands*: what is left, band by band, smoothed in time.

Each smoothing is a running trimmed mean, so neither a transient of a few cells nor a line moves
it. Its width is chosen from a few by leaving the middle cell out and predicting it. The gate:
unless that beats a constant by `SIGNIFICANCE` standard errors, alone or together with the
neighbouring bands, nothing is changed and S is S0. Without the gate a whitener follows chance
and erases signals. What is changed is calibrated: the power left over is 1 again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stcli.noise.frame import Frame, frame, pad
from stcli.noise.stationary import gain, segment_length, welch
from stcli.noise.wdm import forward

#: Standard errors by which a change in time must show.
SIGNIFICANCE = 3.0
#: Cells on either side of one that, like itself, have no say in its band's power: a signal that
#: short does not whiten itself away.
GUARD = 3
#: Bands that are judged together.
NEIGHBOURHOOD = 5
#: Share of a window that is left out at each end.
TRIM = 0.2
#: Widths in time cells that smoothing chooses from.
BROAD_WIDTHS = (7, 13, 25)
BAND_WIDTHS = (13, 25)
#: Rows of a band, in the broad and in the band step.
BROAD_ROWS = 8
BAND_ROWS = 2


@dataclass(frozen=True)
class Spectrum:
    """What whitens a group of series.

    Attributes
    ----------
    density : ndarray, (L/2 + 1,)
        S0, one-sided, in unit² per cycle per unit of time, at 0 … Nyquist; 0 throughout for a
        group without noise, which is not whitened.
    relative : ndarray, (Nf, Nt)
        R, mean near 1 and positive.
    frame : Frame
    step : float
        Between samples, in units of time.
    """

    density: NDArray[np.float64]
    relative: NDArray[np.float64]
    frame: Frame
    step: float

    @property
    def silent(self) -> bool:
        """Tell whether there is no noise at all."""
        return not self.density.any()

    def on_cells(self) -> NDArray[np.float64]:
        """Return S(t, f) on WDM cells, (Nf, Nt), one-sided."""
        bins = np.linspace(0, 1, self.density.size)
        rows = (np.arange(self.frame.tiling.rows) + 0.5) / self.frame.tiling.rows
        coarse = np.interp(rows, bins, self.density)
        cells: NDArray[np.float64] = coarse[:, None] * self.relative
        return cells


def estimate(
    x: NDArray[np.float64],
    valid: NDArray[np.bool_],
    step: float,
    *,
    rows: int | None = None,
    evolving: bool = True,
    share: int = 1,
) -> Spectrum:
    """Estimate the spectrum that a group of series shares.

    Parameters
    ----------
    x : ndarray, (series, N)
        Level taken off, 0 where not valid.
    valid : ndarray of bool, (series, N)
    step : float
        Between samples, in units of time.
    rows : int, optional
        Frequency rows Nf, even.
    evolving : bool
        False for the stationary spectrum.
    share : int
        Series that share a spectrum, nominally: the resolution of S0 depends on it alone.
    """
    where = frame(x.shape[1], rows)
    density = welch(x, valid, step, segment_length(x.shape[1], share))
    flat = np.ones((where.tiling.rows, where.tiling.times))
    if evolving and density.any():
        flat = _relative(x, valid, gain(density, where, step), where)
    return Spectrum(density, flat, where, step)


def _relative(
    x: NDArray[np.float64], valid: NDArray[np.bool_], amplitude: NDArray[np.float64], where: Frame
) -> NDArray[np.float64]:
    white = scipy.fft.irfft(scipy.fft.rfft(pad(x, where)) * amplitude, where.tiling.samples)
    cells = forward(white, where.tiling)
    power = _mean_power(cells**2, _shares(valid, where))
    inside = _inside(where)
    log_gain = np.zeros(power.shape)
    log_gain[:, inside] = _log_gain(power[:, inside], len(x))
    # the padding mirrors the series: its gain is that of the nearest cell inside
    log_gain[:, : inside.start] = log_gain[:, inside.start, None]
    log_gain[:, inside.stop :] = log_gain[:, inside.stop - 1, None]
    return np.exp(log_gain)


def _inside(where: Frame) -> slice:
    """Time cells whose centre lies in the series."""
    rows = where.tiling.rows
    return slice(-(-where.before // rows), (where.inside.stop - 1) // rows + 1)


def _shares(valid: NDArray[np.bool_], where: Frame) -> NDArray[np.float64]:
    """Share of valid samples under each time cell, (series, Nt); less than half counts as none."""
    wide = np.pad(valid.astype(float), ((0, 0), (where.before, where.after)), mode="reflect")
    half = where.tiling.rows // 2
    centred = np.roll(wide, half, axis=1).reshape(len(valid), where.tiling.times, -1)
    share = centred.mean(axis=2)
    return np.where(share >= 0.5, share, 0)


def _mean_power(power: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average power over series, (Nf, Nt); cells without data take the row's median over time."""
    seen = (share > 0)[:, None, :]
    total = (power * seen).sum(axis=0)
    weight = share.sum(axis=0)
    mean = total / np.where(weight > 0, weight, 1)
    if (weight == 0).any():
        known = np.median(mean[:, weight > 0], axis=1, keepdims=True) if weight.any() else 1.0
        mean = np.where(weight > 0, mean, known)
    floor = np.finfo(float).tiny
    floored: NDArray[np.float64] = np.maximum(mean, floor)
    return floored


def _log_gain(power: NDArray[np.float64], series: int) -> NDArray[np.float64]:
    """Find log R from mean powers (Nf, Nt) of so many series.

    Row 0 holds the level: it follows its neighbour.
    """
    power = np.concatenate([power[1:2], power[1:]])
    bands = _banded(power, BROAD_ROWS)
    bands = bands - np.median(bands, axis=1, keepdims=True)
    broad = smooth(_trimmed(bands.T)[None], BROAD_WIDTHS)
    left = power / np.exp(broad)
    if broad.any():
        broad = broad + np.median(_excess(left, BROAD_ROWS, series))
        left = power / np.exp(broad)
    fine = smooth(_banded(left, BAND_ROWS), BAND_WIDTHS, GUARD)
    moved = fine.any(axis=1)
    excess = _excess(left / np.exp(_spread(fine, len(power))), BAND_ROWS, series)
    fine[moved] += excess[moved, None]
    return broad + _spread(fine, len(power))


def _spread(bands: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Repeat bands of `BAND_ROWS` rows over their rows."""
    return np.repeat(bands, BAND_ROWS, axis=0)[:rows]


def _excess(power: NDArray[np.float64], rows: int, series: int) -> NDArray[np.float64]:
    """Log of each band's median power over time, less that of white noise of variance 1.

    The median of χ²_k / k is (1 - 2 / 9k)³ to a good approximation (Wilson, Hilferty 1931).
    """
    degrees = min(rows, len(power)) * series
    middle = np.median(_banded(power, rows), axis=1)
    excess: NDArray[np.float64] = middle - 3 * np.log(1 - 2 / (9 * degrees))
    return excess


def _banded(power: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Log of the mean power of each band of `rows` rows, (bands, Nt)."""
    rows = min(rows, len(power))
    return np.log(np.add.reduceat(power, np.arange(0, len(power), rows), axis=0) / rows)


def smooth(y: NDArray[np.float64], widths: tuple[int, ...], guard: int = 0) -> NDArray[np.float64]:
    """Smooth log powers (bands, times) in time by the width that predicts best, less their level.

    Returns
    -------
    ndarray, (bands, times)
        0 where no width beats a constant significantly.
    """
    level = _trimmed(y)[:, None]
    constant = (y - level) ** 2
    best, least = np.zeros(y.shape), constant.mean(axis=1)
    for width in widths:
        if 2 * width > y.shape[1]:
            break
        half = width // 2
        windows = sliding_window_view(
            np.pad(y, ((0, 0), (half, half)), mode="reflect"), width, axis=1
        )
        others = _trimmed(np.delete(windows, slice(half - guard, half + guard + 1), axis=2))
        loss = (y - others) ** 2
        better = (loss.mean(axis=1) < least) & (_errors(constant - loss, width) > SIGNIFICANCE)
        found = others if guard else _trimmed(windows)
        best[better] = found[better] - level[better]
        least[better] = loss[better].mean(axis=1)
    return best


def _errors(difference: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of a difference in its standard errors, along the last axis.

    Within a width the differences share their windows: they count as one. Neighbouring bands
    speak together: what changes in time seldom changes in one band alone.
    """
    error = difference.std(axis=1) / np.sqrt(difference.shape[1] / width)
    errors = difference.mean(axis=1) / np.where(error > 0, error, np.inf)
    width = min(NEIGHBOURHOOD, errors.size)
    together = np.convolve(errors, np.ones(width), "same") / np.sqrt(width)
    strongest: NDArray[np.float64] = np.maximum(errors, together)
    return strongest


def _trimmed(values: NDArray[Any]) -> NDArray[np.float64]:
    """Trimmed mean along the last axis."""
    ordered = np.sort(values, axis=-1)
    cut = int(values.shape[-1] * TRIM)
    mean: NDArray[np.float64] = ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return mean
