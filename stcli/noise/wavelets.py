"""Undecimated (stationary) wavelets: separable à-trous filters, exact on tiles.

Letters: h, g the low- and high-pass analysis filters of an orthogonal bank, scaled by 1/sqrt(2) so
that h sums to 1; J levels; a_j the smooth plane and d_j^{LH}, d_j^{HL}, d_j^{HH} the detail planes
of level j, all as large as the block::

    a_j = h_j^row h_j^col a_{j-1}          taps 2**(j-1) pixels apart
    d_j = the same with g along one axis or both

The bank is orthogonal, so the adjoint of the analysis is its inverse (a tight frame; Nason and
Silverman 1995, doi:10.1007/978-1-4612-2544-7_17; Mallat, A Wavelet Tour, section 5.2.2).

Every value is a sum over the same taps in the same order wherever it lies in a block, so equal
pixels give equal bits on any tiling. A raster goes on beyond its edge as its own reflection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray

from stcli.errors import UsageError
from stcli.jit import njit

Plane = NDArray[np.float64]
#: Detail planes of a level in this order: (row filter, column filter), 1 = high-pass.
DETAILS = ((0, 1), (1, 0), (1, 1))
#: Longest filter taken: the halo grows with it, times 2**J.
LONGEST = 20


@dataclass(frozen=True)
class Bank:
    """Filters of an orthogonal wavelet, scaled for the undecimated transform.

    Attributes
    ----------
    low, high : tuple of float
        Analysis taps h and g; ``sum(low) == 1``, ``sum(high) == 0``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def step(self, kind: int) -> tuple[tuple[float, ...], int]:
        """Give the low- (0) or high-pass (1) taps, and the offset of the first in taps.

        Each filter's energy lies about the pixel it answers for, so that coefficients stand where
        their cause does. The adjoint is the inverse whatever the offsets.
        """
        taps = self.high if kind else self.low
        energy = np.square(taps)
        return taps, -round(float(energy @ np.arange(len(taps)) / energy.sum()))

    def reach(self, levels: int) -> int:
        """Pixels along an axis that a coefficient down to level `levels` looks away, at most."""
        ends = [first for _, first in (self.step(0), self.step(1))]
        away = max(max(-first, len(self.low) - 1 + first) for first in ends)
        return int(away * (2**levels - 1))

    def halo(self, levels: int) -> int:
        """Pixels along an axis that analysis followed by synthesis looks away."""
        return int((len(self.low) - 1) * (2**levels - 1))

    def equivalent(self, level: int, kind: int) -> tuple[Plane, int]:
        """Give one filter (tap,) for all steps to a level, along an axis, and its first offset."""
        taps, offset = np.ones(1), 0
        for j in range(1, level + 1):
            step, first = self.step(kind if j == level else 0)
            spread = np.zeros((len(step) - 1) * 2 ** (j - 1) + 1)
            spread[:: 2 ** (j - 1)] = step
            taps, offset = np.convolve(taps, spread), offset + first * 2 ** (j - 1)
        return taps, offset

    def gain(self, level: int, kind: tuple[int, int]) -> float:
        """Give the deviation of a detail plane for white noise of deviation 1."""
        norms = [np.linalg.norm(self.equivalent(level, k)[0]) for k in kind]
        return float(norms[0] * norms[1])


@cache
def bank(name: str) -> Bank:
    """Look up an orthogonal wavelet of PyWavelets, such as ``haar``, ``db4`` or ``sym8``.

    Raises
    ------
    UsageError
        Not an orthogonal wavelet of `LONGEST` taps or fewer.
    """
    known = name in pywt.wavelist(kind="discrete")
    wavelet = pywt.Wavelet(name) if known else None
    if wavelet is None or not wavelet.orthogonal or wavelet.dec_len > LONGEST:
        raise UsageError(
            f"--wavelet: '{name}' found, an orthogonal wavelet of at most {LONGEST} taps wanted "
            "(haar, db2 to db10, sym2 to sym10, coif1 to coif3)."
        )
    # correlation with the reversed decomposition filter is convolution with the filter itself
    low, high = np.array(wavelet.dec_lo[::-1]), np.array(wavelet.dec_hi[::-1])
    low, high = low / low.sum(), high / np.sqrt(2)
    return Bank(tuple(low.tolist()), tuple(high.tolist()))


def analyse(plane: Plane, filters: Bank, level: int) -> tuple[Plane, list[Plane]]:
    """Go one level down.

    Parameters
    ----------
    plane : ndarray of float64 (row, col)
        a_{level-1}.
    level : int
        From 1.

    Returns
    -------
    smooth : ndarray of float64 (row, col)
    details : three ndarrays of float64 (row, col), in the order of `DETAILS`
    """
    down = [correlate(plane, filters.step(kind), level, 0) for kind in (0, 1)]
    smooth = correlate(down[0], filters.step(0), level, 1)
    return smooth, [correlate(down[r], filters.step(c), level, 1) for r, c in DETAILS]


def synthesise(smooth: Plane, details: Sequence[Plane], filters: Bank, level: int) -> Plane:
    """Go one level up: the adjoint of `analyse`, and its inverse.

    Returns
    -------
    ndarray of float64 (row, col)
        a_{level-1}.
    """
    back = []
    for kind in (0, 1):
        taps, first = filters.step(kind)
        back.append((taps[::-1], 1 - len(taps) - first))
    down = [np.zeros_like(smooth), np.zeros_like(smooth)]
    for (r, c), part in zip(((0, 0), *DETAILS), (smooth, *details), strict=True):
        correlate(part, back[c], level, 1, down[r])
    out = correlate(down[0], back[0], level, 0)
    return correlate(down[1], back[1], level, 0, out)


def diagonal(plane: Plane, filters: Bank, levels: int) -> list[Plane]:
    """Give the HH plane of each level, from 1 to `levels`: what noise is measured on."""
    found = []
    for level in range(1, levels + 1):
        high = correlate(plane, filters.step(1), level, 0)
        found.append(correlate(high, filters.step(1), level, 1))
        if level < levels:
            smooth = correlate(plane, filters.step(0), level, 0)
            plane = correlate(smooth, filters.step(0), level, 1)
    return found


def correlate(
    plane: Plane,
    step: tuple[Sequence[float], int],
    level: int,
    axis: int,
    out: Plane | None = None,
) -> Plane:
    """Correlate along an axis with taps ``2**(level-1)`` pixels apart; beyond the block is 0.

    Parameters
    ----------
    step : (taps, first)
        `first` is the offset of the first tap, counted in taps.
    out : ndarray of float64 (row, col), optional
        Added to, and returned.
    """
    out = np.zeros_like(plane) if out is None else out
    along = _down_rows if axis == 0 else _along_cols
    taps, first = step
    apart = 2 ** (level - 1)
    along(plane, np.asarray(taps, dtype=np.float64), first * apart, apart, out)
    return out


def spread(plane: Plane, taps: Plane, first: int) -> Plane:
    """Correlate along both axes with dense taps, the first of them `first` pixels away."""
    step = (taps.tolist(), first)
    return correlate(correlate(plane, step, 1, 0), step, 1, 1)


@njit(nogil=True, cache=True)
def _along_cols(plane: Any, taps: Any, first: Any, step: Any, out: Any) -> Any:
    rows, cols = plane.shape
    for r in range(rows):
        for k in range(len(taps)):
            shift, tap = first + k * step, taps[k]
            for c in range(max(0, -shift), min(cols, cols - shift)):
                out[r, c] += tap * plane[r, c + shift]


@njit(nogil=True, cache=True)
def _down_rows(plane: Any, taps: Any, first: Any, step: Any, out: Any) -> Any:
    rows, cols = plane.shape
    for r in range(rows):
        for k in range(len(taps)):
            there = r + first + k * step
            if 0 <= there < rows:
                tap = taps[k]
                for c in range(cols):
                    out[r, c] += tap * plane[there, c]
