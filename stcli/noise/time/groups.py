"""One group of series that share a spectrum: from dates to whitened dates, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.noise.time.dates import Dates
from stcli.noise.time.diagonal import Sums, measure
from stcli.noise.time.spectrum import Spectrum, evolved, flatten, stationary
from stcli.noise.time.whitening import centred, level_off, levels, unwhiten
from stcli.settings import WhitenSettings


@dataclass(frozen=True)
class Whitened:
    """What whitening a group gives.

    Attributes
    ----------
    values : ndarray, (date, series), float64
        Whitened; NaN at gaps.
    level : ndarray, (series,)
    rest : ndarray, (place of the frame, series)
        Whitened values where the frame holds no data, NaN elsewhere.
    spectrum : Spectrum
    sums : Sums or None
        None for a group without noise.
    """

    values: NDArray[np.float64]
    level: NDArray[np.float64]
    rest: NDArray[np.float64]
    spectrum: Spectrum
    sums: Sums | None


def whiten_group(
    values: NDArray[np.floating],
    dates: Dates,
    settings: WhitenSettings,
    spectrum: Spectrum | None = None,
) -> Whitened:
    """Whiten a group of series.

    Parameters
    ----------
    values : ndarray, (date, series)
        NaN at gaps.
    dates : Dates
        Where the dates lie on an even lattice.
    settings : WhitenSettings
    spectrum : Spectrum, optional
        A known one; by default it is estimated from the series with data at half of the lattice
        or more, or from all where there are none such.
    """
    places = list(dates.places)
    x = np.full((values.shape[1], dates.samples), np.nan)
    x[:, places] = values.T
    valid = np.isfinite(x)
    level = levels(x, valid)
    series = centred(x, valid, level)
    if spectrum is None:
        spectrum, white = _estimated(series, valid, dates.step, settings)
    else:
        white = flatten(series, spectrum)
    frames = level_off(white, spectrum)
    inside = np.zeros(frames.shape, bool)
    inside[:, spectrum.frame.inside] = valid
    some = valid.any(axis=1)
    sums = None if spectrum.silent else measure(frames[some], valid[some], spectrum)
    found = np.where(valid, frames[:, spectrum.frame.inside], np.nan)[:, places].T
    return Whitened(found, level, np.where(inside, np.nan, frames).T, spectrum, sums)


def _estimated(
    series: NDArray[np.float64],
    valid: NDArray[np.bool_],
    step: float,
    settings: WhitenSettings,
) -> tuple[Spectrum, NDArray[np.float64]]:
    """Estimate the spectrum of series, and whiten them by its S0, which R is measured on."""
    full = valid.mean(axis=1) >= 0.5
    use = full if full.any() else np.ones(len(series), bool)
    share = settings.share**2
    found = stationary(series[use], valid[use], step, rows=settings.rows, share=share)
    white = flatten(series, found)
    return evolved(found, white[use], valid[use]) if settings.evolving else found, white


def unwhiten_group(
    values: NDArray[np.floating],
    kept: tuple[NDArray[np.float64], NDArray[np.float64]],
    dates: Dates,
    spectrum: Spectrum,
) -> NDArray[np.float64]:
    """Undo `whiten_group`.

    Parameters
    ----------
    values : ndarray, (date, series)
        Whitened; NaN at gaps.
    kept : (ndarray, ndarray)
        Level (series,) and rest (place, series).

    Returns
    -------
    ndarray, (date, series)
        NaN at gaps, and throughout a series that lacks a value which the rest does not hold.
    """
    level, rest = kept
    frames = rest.T.copy()
    lattice = np.full((values.shape[1], dates.samples), np.nan)
    lattice[:, list(dates.places)] = values.T
    part = frames[:, spectrum.frame.inside]
    frames[:, spectrum.frame.inside] = np.where(np.isnan(part), lattice, part)
    known = np.isfinite(frames).all(axis=1)
    x = np.full(lattice.shape, np.nan)
    if known.any():
        x[known] = unwhiten(frames[known], spectrum) + level[known, None]
    x[np.isnan(lattice)] = np.nan
    return x[:, list(dates.places)].T
