"""The evolutionary power spectrum S(t, f) of a group of series, on WDM cells.

S(t, f) = S0(f) · R(t, f): a stationary density, finely resolved in frequency, where lines live
(`stcli.noise.stationary`), times a relative power on WDM cells, where change in time lives. R is
1 wherever the data do not prove otherwise:

1. the frame is whitened by S0, transformed, and squared; powers are averaged over the series;
2. *broad*: in each time cell, the trimmed mean over bands of log power relative to the band's
   median over time, smoothed in time;
3. *bands*: each band takes the broad change, none, or one predicted from the band and from as
   many as eight bands about it.

How it is smoothed is `stcli.noise.smoothing`. The gate: unless what changes is significant and,
for the broad step, more than a cell's own noise, and for a band, shared by most of the
neighbouring ones, nothing is changed and S is S0. Without the gate a whitener follows chance and
erases signals. What is changed is calibrated: the power left over is 1 again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from stcli.noise.frame import Frame, frame, pad
from stcli.noise.smoothing import Prediction, Smoother, mix, predict, trimmed
from stcli.noise.stationary import gain, segment_length, welch
from stcli.noise.wdm import forward

#: Standard errors by which a change in time must show: of all bands, and of the median of
#: `NEIGHBOURHOOD` bands.
BROAD_ERRORS, BAND_ERRORS = 4.0, 10.0
NEIGHBOURHOOD = 5
#: What a broad change must explain, in the noise of a single cell.
EXPLAINED = 1.0
#: Rows of a band, in the broad and in the band step.
BROAD_ROWS = 8
BAND_ROWS = 2
#: Bands on either side that a band's change is predicted from.
REACHES = (0, 1, 2, 4)
#: Smoothers that the steps choose from. The narrow ones of the broad step are for bursts; a
#: signal seldom fills all bands.
BROAD = (
    Smoother(7, 0),
    Smoother(13, 1),
    Smoother(25, 3),
    Smoother(25, 3, True),
    Smoother(49, 3, True),
    Smoother(97, 3, True),
)
BANDS = (Smoother(49, 6, True), Smoother(97, 6, True))


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
    change = _by_band(_banded(power, BAND_ROWS), _broad(power))
    moved = change.any(axis=1)
    excess = _excess(power / np.exp(_spread(change, len(power))), BAND_ROWS, series)
    change[moved] += excess[moved, None]
    return _spread(change, len(power))


def _broad(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log gain that all bands share, (1, Nt); 0 throughout where it does not show."""
    bands = _banded(power, BROAD_ROWS)
    y = trimmed((bands - np.median(bands, axis=1, keepdims=True)).T)[None]
    predictions = predict(y, BROAD)
    if not predictions:
        return np.zeros(y.shape)
    found = mix(y, predictions)
    shows = found.errors[0] > BROAD_ERRORS and found.explained[0] > EXPLAINED
    return found.change if shows else np.zeros(y.shape)


def _by_band(y: NDArray[np.float64], broad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log gain of log powers of bands (bands, Nt); 0 throughout where no change shows.

    Each band takes the common change where that predicts it better than a constant does, and what
    its neighbourhood predicts where that is better still by `BAND_ERRORS`.
    """
    level = trimmed(y)[:, None]
    common, change = [], np.zeros(y.shape)
    if broad.any():
        common = [Prediction(level + broad - trimmed(broad), float(y.size))]
        change = mix(y, common).change
    near = _near(y, level)
    if not near:
        return change
    beyond = [Prediction(p.values - change, p.cells) for p in near]
    errors = mix(y - change, beyond).errors
    shows = median_filter(errors, NEIGHBOURHOOD, mode="nearest") > BAND_ERRORS
    return np.where(shows[:, None], mix(y, common + near).change, change)


def _near(y: NDArray[np.float64], level: NDArray[np.float64]) -> list[Prediction]:
    """Predict bands from themselves and from those about them, relative to their medians."""
    even = np.exp(y - np.median(y, axis=1, keepdims=True))
    found = []
    for reach in REACHES:
        padded = np.pad(even, ((reach, reach), (0, 0)), mode="symmetric")
        mean = np.log(sliding_window_view(padded, 2 * reach + 1, axis=0).mean(axis=-1))
        mean += level - trimmed(mean)[:, None]
        bands = 2 * reach + 1
        found += [Prediction(p.values, p.cells * bands) for p in predict(mean, BANDS)]
    return found


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
