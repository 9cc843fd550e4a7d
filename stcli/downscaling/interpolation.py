"""Interpolation onto a nested finer grid by separable filters of finite reach.

The centres of the ``s`` fine pixels in coarse pixel j lie at ``j + (2 p + 1 - s) / 2 s`` for the
phases p = 0 … s - 1. So each phase is one short filter of the coarse pixels, the same everywhere,
and a fine pixel depends on a stated number of coarse pixels around it and on nothing else: a tile
with that halo gives the very bits of the whole raster.

- nearest: one tap; bilinear: the two nearest.
- cubic: the interpolating cubic spline (Unser et al. 1993, doi:10.1109/78.193220),
  y = B P x with P the filter that turns values into spline coefficients and B the cubic B-spline.
  P has the taps √3 z^|k|, z = √3 - 2; they are cut at |k| = `PREFILTER`, where they have fallen
  to 2e-6 of the first, and their sum is brought back to 1.
- ibp: iterative back-projection (Irani and Peleg 1991, doi:10.1016/1049-9652(91)90045-L),
  y ← y + U (x - M y), with U = B P and M the block mean. M U is a filter of the coarse grid, so
  all rounds run there: r ← r - M U r, y = U (r0 + r1 + …), and one pass makes the fine grid.

Nodata and edges: a pixel without a value takes, ring by ring, the mean of its neighbours that
have one (as many rings as the filter reaches); beyond the raster the outermost pixels repeat.
Back-projection corrects pixels with a value only. The fine pixels of a coarse pixel without a
value have none; those of its neighbours all have one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from stcli.settings import DownscaleSettings

#: Taps on either side of the middle of the spline's prefilter.
PREFILTER = 10
#: Coarse pixels on either side that a phase of the cubic B-spline takes.
_REACH = {"nearest": 0, "bilinear": 1, "cubic": 2 + PREFILTER, "ibp": 2 + PREFILTER}
#: Taps on either side of a phase filter.
_SIDE = 2


def halo(settings: DownscaleSettings) -> int:
    """Coarse pixels around a pixel that its fine pixels depend on.

    The filter's reach once for the upsampling, once for filling what it meets, and once for
    each round of back-projection.
    """
    rounds = settings.rounds if settings.method == "ibp" else 0
    return _REACH[settings.method] * (2 + rounds)


def interpolate(
    coarse: NDArray[Any],
    settings: DownscaleSettings,
    core: tuple[slice, slice] | None = None,
) -> NDArray[np.float64]:
    """Make one band finer.

    Parameters
    ----------
    coarse : ndarray, (row, col), any unit
        NaN is no value.
    settings : DownscaleSettings
        A method of this module, the factor and the rounds.
    core : (slice, slice), optional
        Rows and columns of `coarse` to answer for, `halo` or the raster's edge away from the
        array's; all by default.

    Returns
    -------
    ndarray of float64, (row * factor, col * factor) of the core
        NaN where the coarse pixel has no value.
    """
    reach, valid = _REACH[settings.method], ~np.isnan(coarse)
    filled = fill_gaps(np.asarray(coarse, np.float64), valid, reach)
    if settings.method == "ibp":
        filled = _back_project(filled, valid, settings)
    rows, cols = core or (slice(0, coarse.shape[0]), slice(0, coarse.shape[1]))
    window = np.pad(filled, reach, mode="edge")[
        rows.start : rows.stop + 2 * reach, cols.start : cols.stop + 2 * reach
    ]
    fine = _upsample(window, settings, reach)
    fine[~valid[rows, cols].repeat(settings.factor, 0).repeat(settings.factor, 1)] = np.nan
    return fine


def phases(method: str, factor: int) -> NDArray[np.float64]:
    """Taps of each phase over the coarse pixels j - 2 … j + 2.

    Returns
    -------
    ndarray of float64, (factor, 5)
        Each row sums to 1.
    """
    kernel = {"nearest": _box, "bilinear": _tent}.get(method, _spline)
    centres = (2 * np.arange(factor) + 1 - factor) / (2 * factor)
    taps: NDArray[np.float64] = kernel(np.arange(-_SIDE, _SIDE + 1) - centres[:, None])
    return taps


def prefilter() -> NDArray[np.float64]:
    """Taps of the filter that turns values into coefficients of the cubic spline.

    Returns
    -------
    ndarray of float64, (2 * PREFILTER + 1,)
        Symmetric, with the sum 1.
    """
    taps = (np.sqrt(3.0) - 2) ** np.abs(np.arange(-PREFILTER, PREFILTER + 1))
    normal: NDArray[np.float64] = taps / taps.sum()
    return normal


def _box(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return (np.abs(t) < 0.5).astype(np.float64)


def _tent(t: NDArray[np.float64]) -> NDArray[np.float64]:
    height: NDArray[np.float64] = np.maximum(0.0, 1 - np.abs(t))
    return height


def _spline(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the cubic B-spline."""
    d = np.abs(t)
    outer = np.maximum(0.0, 2 - d) ** 3 / 6
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, outer)


def _both(
    array: NDArray[np.float64], taps: NDArray[np.float64], beyond: str = "constant"
) -> NDArray[np.float64]:
    """Filter rows and columns; beyond the array is 0 or, with "nearest", its outermost pixel."""
    down = correlate1d(array, taps, axis=0, mode=beyond)
    return np.asarray(correlate1d(down, taps, axis=1, mode=beyond))


def _upsample(
    window: NDArray[np.float64], settings: DownscaleSettings, reach: int
) -> NDArray[np.float64]:
    """Turn coarse values with `reach` pixels around the core into the core's fine pixels."""
    if settings.method in ("cubic", "ibp"):
        window = _both(window, prefilter())
    inner = [slice(reach, n - reach) for n in window.shape]
    taps, s = phases(settings.method, settings.factor), settings.factor
    tall = np.empty((s * (window.shape[0] - 2 * reach), window.shape[1]))
    for p in range(s):
        tall[p::s] = correlate1d(window, taps[p], axis=0, mode="constant")[inner[0]]
    fine = np.empty((len(tall), s * (window.shape[1] - 2 * reach)))
    for p in range(s):
        fine[:, p::s] = correlate1d(tall, taps[p], axis=1, mode="constant")[:, inner[1]]
    return fine


def _back_project(
    filled: NDArray[np.float64], valid: NDArray[np.bool_], settings: DownscaleSettings
) -> NDArray[np.float64]:
    """Add up the residuals of all rounds: what the upsampling is then applied to once."""
    mean = np.convolve(phases("cubic", settings.factor).mean(axis=0), prefilter())
    total, rest = filled, filled
    for _ in range(settings.rounds):
        rest = np.where(valid, rest - _both(rest, mean, "nearest"), 0.0)
        total = total + rest
    return total


def fill_gaps(
    values: NDArray[np.float64], valid: NDArray[np.bool_], rings: int
) -> NDArray[np.float64]:
    """Give pixels without a value the mean of those beside them, ring by ring outwards.

    Parameters
    ----------
    values : ndarray of float64, (row, col)
    valid : ndarray of bool
    rings : int
        How far to go; what lies beyond becomes 0.
    """
    known = valid
    filled = np.where(known, values, 0.0)
    for _ in range(rings):
        if known.all():
            break
        weight = _beside(known.astype(np.float64))
        ring = ~known & (weight > 0)
        filled = np.where(ring, _beside(filled) / np.where(ring, weight, 1.0), filled)
        known = known | ring
    return filled


def _beside(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the eight neighbours, the four at the sides twice as heavy."""
    return _both(array, np.array([1.0, 2.0, 1.0]))
