"""The starlet: whitening in space that a pixel can undo on its own.

An undecimated transform of J levels, with the cubic B-spline for low-pass (Starck, Murtagh and
Fadili, Sparse Image and Signal Processing, 2nd ed., section 3.5)::

    a_j = normalised convolution of a_{j-1} with the spline, taps 2**(j-1) pixels apart
    w_j = a_{j-1} - a_j,    so that    x = a_J + sum_j w_j    at each pixel

Holes have weight 0, and what is beyond the raster's edge is its reflection. White noise of
deviation sigma gives w_j the deviation g_j sigma; so w_j / (g_j sigma_j(p)) is white noise of
deviation 1, and the sum above undoes it from stored planes without a look at another pixel.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from stcli.noise.space.edges import smooth
from stcli.noise.space.separable import Plane


def reach(levels: int) -> int:
    """Pixels that `split` looks away."""
    return int(2 * (2**levels - 1))


def split(plane: Plane, valid: NDArray[np.bool_], levels: int) -> tuple[list[Plane], Plane]:
    """Take a plane apart.

    Parameters
    ----------
    plane : ndarray of float64 (row, col)
        Invalid pixels may hold anything finite.

    Returns
    -------
    details : list of ndarray of float64 (row, col)
        w_1 to w_J; 0 where invalid.
    rest : ndarray of float64 (row, col)
        a_J; 0 where invalid.
    """
    weight = valid.astype(np.float64)
    now, details = np.where(valid, plane, 0.0), []
    for level in range(1, levels + 1):
        mass = smooth(weight, level)
        after = np.where(valid, smooth(now, level) / np.where(valid, mass, 1.0), 0.0)
        details.append(now - after)
        now = after
    return details, now


@cache
def gain(level: int) -> float:
    """Give the standard deviation of w_level for white noise of deviation 1."""
    side = 2 * reach(level) + 1
    delta = np.zeros((side, side))
    delta[side // 2, side // 2] = 1.0
    now = after = delta
    for j in range(1, level + 1):
        now, after = after, smooth(after, j)
    return float(np.sqrt(np.square(now - after).sum()))
