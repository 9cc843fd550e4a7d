"""The evolutionary power spectrum S(t, f) of a group of series, on WDM cells.

S(t, f) = S0(f) · R(t, f): a stationary density, finely resolved in frequency, where lines live
(`stationary`), times a relative power on WDM cells, where change in time lives. R is
1 wherever the data do not prove otherwise:

1. the frame is whitened by S0, transformed, and squared; powers are averaged over the series;
2. change in time that rows share is found as factors of their log powers
   (`stcli.noise.time.factors`), one after another as long as the evidence is strong.

Where no change shows, nothing is changed and S is S0. Without that gate a whitener follows chance
and erases signals. What is changed is calibrated: the power left over is 1 again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.noise.time.continuation import continued
from stcli.noise.time.factors import shared_change
from stcli.noise.time.frame import Frame, frame
from stcli.noise.time.stationary import gain, segment_length, welch
from stcli.noise.time.wdm import forward


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


def stationary(
    x: NDArray[np.float64],
    valid: NDArray[np.bool_],
    step: float,
    *,
    rows: int | None = None,
    share: int = 1,
) -> Spectrum:
    """Estimate the S0 that a group of series shares; R is 1.

    Parameters
    ----------
    x : ndarray, (series, N)
        Level taken off, 0 where not valid.
    valid : ndarray of bool, (series, N)
    step : float
        Between samples, in units of time.
    rows : int, optional
        Frequency rows Nf, even.
    share : int
        Series that share a spectrum, nominally: the resolution of S0 depends on it alone.
    """
    where = frame(x.shape[1], rows)
    density = welch(x, valid, step, segment_length(x.shape[1], share))
    return Spectrum(density, np.ones((where.tiling.rows, where.tiling.times)), where, step)


def flatten(x: NDArray[np.float64], spectrum: Spectrum, workers: int = 1) -> NDArray[np.float64]:
    """Whiten series (series, N) by S0 alone, in their whole frame (series, N')."""
    where = spectrum.frame
    wide = continued(x, where, spectrum.density, workers)
    if spectrum.silent:
        return wide
    spectra = scipy.fft.rfft(wide, workers=workers)
    spectra *= gain(spectrum.density, where.tiling.samples, spectrum.step)
    white: NDArray[np.float64] = scipy.fft.irfft(spectra, where.tiling.samples, workers=workers)
    return white


def evolved(spectrum: Spectrum, white: NDArray[np.float64], valid: NDArray[np.bool_]) -> Spectrum:
    """Add the R of series to their S0.

    Parameters
    ----------
    spectrum : Spectrum
        Its R is not looked at.
    white : ndarray, (series, N')
        What `flatten` makes of them.
    valid : ndarray of bool, (series, N)
    """
    if spectrum.silent:
        return spectrum
    where = spectrum.frame
    # what is predicted is less loud than noise: a cell at an end sees the series mirrored instead
    around = ((0, 0), (where.before, where.after))
    cells = forward(np.pad(white[:, where.inside], around, mode="reflect"), where.tiling)
    power = _mean_power(cells**2, _shares(valid, where))
    inside = _inside(where)
    log_gain = np.zeros(power.shape)
    log_gain[:, inside] = _log_gain(power[:, inside], len(white))
    # beyond the ends the gain is that of the nearest cell inside
    log_gain[:, : inside.start] = log_gain[:, inside.start, None]
    log_gain[:, inside.stop :] = log_gain[:, inside.stop - 1, None]
    return replace(spectrum, relative=np.exp(log_gain))


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
    change = shared_change(power[1:], series)
    return np.concatenate([change[:1], change])
