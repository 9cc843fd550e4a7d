"""Is the diagonal good enough? What whitened series must look like, and where they do not.

A whitener on WDM cells takes cells as independent. That holds as long as the spectrum varies
slowly across a cell (Cornish 2025, arXiv:2511.10632): correlations grow with the derivatives of
ln S. Sums are kept apart from verdicts, so that those of many groups of series add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.noise.time.spectrum import Spectrum
from stcli.noise.time.wdm import forward

#: Neighbours (rows up, cells later) whose correlation with a cell is looked at.
NEIGHBOURS = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1))
#: Parts that the plane is cut into, so that the worst can be found: in frequency and in time.
PARTS = (8, 8)
LAGS = 100
#: |d ln S| from one cell to the next above which a cell is steep.
STEEP = 0.2
#: Draws for the floor of the largest correlation, and the quantile taken.
DRAWS, QUANTILE = 2000, 0.95
#: Standard errors within which chance keeps a figure of white noise, in 95 of 100 series.
CHANCE = 1.96
#: What `verdict` demands: of errors, beyond what chance makes of white noise.
LIMITS = {
    "correlation_above_floor": 0.05,
    "steep_share": 0.05,
    "variance_error": 0.1,
    "autocorrelation_above_floor": 0.05,
    "kurtosis_error": 1.0,
}


@dataclass(frozen=True)
class Sums:
    """Sums over whitened series, to be added up.

    Attributes
    ----------
    moments : ndarray, (3,)
        Count, sum of squares, sum of fourth powers.
    lags : ndarray, (2, LAGS + 1)
        Products at each lag and their count.
    cells : ndarray, (4, NEIGHBOURS, *PARTS)
        Products of neighbours, squares of either, count.
    steep : ndarray, (2, *PARTS)
        Steep cells and all cells.
    """

    moments: NDArray[np.float64]
    lags: NDArray[np.float64]
    cells: NDArray[np.float64]
    steep: NDArray[np.float64]

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.moments + other.moments,
            self.lags + other.lags,
            self.cells + other.cells,
            self.steep + other.steep,
        )


def measure(whitened: NDArray[np.float64], valid: NDArray[np.bool_], spectrum: Spectrum) -> Sums:
    """Sum up what `verdict` needs.

    Parameters
    ----------
    whitened : ndarray, (series, N')
        Whole frames.
    valid : ndarray of bool, (series, N)
    spectrum : Spectrum
    """
    y = np.where(valid, whitened[:, spectrum.frame.inside], 0.0)
    moments = np.array([valid.sum(), (y**2).sum(), (y**4).sum()], float)
    cells = forward(whitened, spectrum.frame.tiling)
    return Sums(moments, _lags(y, valid), _neighbours(cells, spectrum), _steep(spectrum))


def _lags(y: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sum products and counts at lags 0 … LAGS; beyond a quarter of the series they stay 0."""
    out = np.zeros((2, LAGS + 1))
    most = min(LAGS, y.shape[1] // 4)
    size = scipy.fft.next_fast_len(y.shape[1] + most, real=True)
    for row, values in enumerate((y, valid.astype(float))):
        power = np.abs(scipy.fft.rfft(values, size)) ** 2
        out[row, : most + 1] = scipy.fft.irfft(power.sum(axis=0), size)[: most + 1]
    return out


def inside_cells(spectrum: Spectrum) -> slice:
    """Time cells that lie wholly in the series."""
    where = spectrum.frame
    rows = where.tiling.rows
    return slice(where.before // rows + 1, max(where.inside.stop // rows, where.before // rows + 2))


def _parts(rows: int, times: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tell which part each row and each time cell belongs to."""
    return np.arange(rows) * PARTS[0] // rows, np.arange(times) * PARTS[1] // times


def _neighbours(cells: NDArray[np.float64], spectrum: Spectrum) -> NDArray[np.float64]:
    w = cells[:, 1:, inside_cells(spectrum)]
    parts = _parts(w.shape[1], w.shape[2])
    out = np.zeros((4, len(NEIGHBOURS), *PARTS))
    for k, (up, later) in enumerate(NEIGHBOURS):
        low = slice(0, w.shape[1] - up)
        first = slice(max(0, -later), w.shape[2] - max(0, later))
        a = w[:, low, first]
        b = w[:, up:, first.start + later : first.stop + later]
        sums = [(a * b).sum(0), (a * a).sum(0), (b * b).sum(0), np.full(a.shape[1:], len(w), float)]
        at = np.ix_(parts[0][low], parts[1][first])
        for target, plane in zip(out[:, k], sums, strict=True):
            np.add.at(target, at, plane)
    return out


def _steep(spectrum: Spectrum) -> NDArray[np.float64]:
    """Count cells where ln R changes by more than `STEEP` to a neighbour."""
    log = np.log(spectrum.relative[:, inside_cells(spectrum)])
    change = np.zeros(log.shape)
    for axis in (0, 1):
        step = np.abs(np.diff(log, axis=axis))
        for side in ((0, 1), (1, 0)):
            change = np.maximum(
                change, np.pad(step, [side if i == axis else (0, 0) for i in (0, 1)])
            )
    out = np.zeros((2, *PARTS))
    at = np.ix_(*_parts(*log.shape))
    np.add.at(out[0], at, change > STEEP)
    np.add.at(out[1], at, 1.0)
    return out


def verdict(sums: Sums) -> dict[str, Any]:
    """Judge whitened series.

    Returns
    -------
    dict
        The figures; ``where``: the part of the plane with the largest correlation, as shares
        (from, to) of the band and of the time; ``failed``: names of `LIMITS` that do not hold.
    """
    products, left, right, count = sums.cells
    scale = np.sqrt(left * right)
    rho = np.abs(np.divide(products, scale, out=np.zeros_like(scale), where=scale > 0))
    k, band, part = (int(i) for i in np.unravel_index(rho.argmax(), rho.shape))
    n, square, fourth = sums.moments
    variance = square / max(n, 1)
    lag, auto = _autocorrelation(sums.lags)
    found = {
        "max_correlation": float(rho.max()),
        "correlation_floor": _floor(count),
        "where": {
            "neighbour": NEIGHBOURS[k],
            "frequency": [band / PARTS[0], (band + 1) / PARTS[0]],
            "time": [part / PARTS[1], (part + 1) / PARTS[1]],
        },
        "steep_share": float(sums.steep[0].sum() / max(sums.steep[1].sum(), 1)),
        "variance": float(variance),
        "autocorrelation": auto,
        "autocorrelation_lag": lag,
        "autocorrelation_floor": _floor(sums.lags[1, 1:]),
        "kurtosis": float(fourth / max(n, 1) / variance**2) if variance > 0 else 0.0,
        "variance_chance": CHANCE * math.sqrt(2 / max(n, 1)),
        "kurtosis_chance": CHANCE * math.sqrt(24 / max(n, 1)),
    }
    return {**found, "failed": _failed(found)}


def _failed(found: dict[str, Any]) -> list[str]:
    measured = {
        "correlation_above_floor": found["max_correlation"] - found["correlation_floor"],
        "steep_share": found["steep_share"],
        "variance_error": abs(found["variance"] - 1) - found["variance_chance"],
        "autocorrelation_above_floor": found["autocorrelation"] - found["autocorrelation_floor"],
        "kurtosis_error": abs(found["kurtosis"] - 3) - found["kurtosis_chance"],
    }
    return [name for name, limit in LIMITS.items() if measured[name] > limit]


def _autocorrelation(lags: NDArray[np.float64]) -> tuple[int, float]:
    """Lag, from 1, of the largest autocorrelation and its size; (0, 0) where there is none."""
    products, counts = lags
    known = counts[1:] > 0.5
    if not known.any() or products[0] <= 0:
        return 0, 0.0
    power = products[0] / counts[0]
    rho = np.abs(np.where(known, products[1:] / np.where(known, counts[1:], 1), 0)) / power
    return int(rho.argmax()) + 1, float(rho.max())


def _floor(count: NDArray[np.float64]) -> float:
    """Largest correlation that independent cells would show, by drawing: the 95 % point."""
    n = count[count > 0.5]  # counts of lags are transforms: 0 is rounding
    if not n.size:
        return 0.0
    draws = np.random.default_rng(0).standard_normal((DRAWS, n.size)) / np.sqrt(n)
    return float(np.quantile(np.abs(draws).max(axis=1), QUANTILE))
