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

import numpy as np
import pywt

from stcli.errors import UsageError
from stcli.noise.space.separable import Plane, Step, correlate, join, split

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

    def step(self, kind: int) -> Step:
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
    return split(plane, filters.step(0), filters.step(1), 2 ** (level - 1))


def synthesise(smooth: Plane, details: Sequence[Plane], filters: Bank, level: int) -> Plane:
    """Go one level up: the adjoint of `analyse`, and its inverse.

    Returns
    -------
    ndarray of float64 (row, col)
        a_{level-1}.
    """
    steps = (filters.step(kind) for kind in (0, 1))
    low, high = ((taps[::-1], 1 - len(taps) - first) for taps, first in steps)
    return join(smooth, details, low, high, 2 ** (level - 1))


def diagonal(plane: Plane, filters: Bank, levels: int) -> list[Plane]:
    """Give the HH plane of each level, from 1 to `levels`: what noise is measured on."""
    found, low, high = [], filters.step(0), filters.step(1)
    for level in range(1, levels + 1):
        apart = 2 ** (level - 1)
        found.append(correlate(plane, high, high, apart))
        if level < levels:
            plane = correlate(plane, low, low, apart)
    return found
