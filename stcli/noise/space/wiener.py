"""Wiener gains: coefficients times what the energy about them leaves of noise, in one sweep.

For a coefficient d under noise of deviation n, and E the mean of d**2 over a window's valid
pixels::

    d' = d max(E - n**2, 0) / E

the empirical Wiener gain (Lee 1980, doi:10.1109/TPAMI.1980.4766994); or, E of a guide's
coefficients s, which have no noise::

    d' = d E_s / (E_s + n**2)

(Ghael, Sayeed and Baraniuk 1997, doi:10.1117/12.292799).
"""

from __future__ import annotations

import numpy as np

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, smaller, splat, store
from stcli.noise.space.separable import Plane, add_rows, correlate, wide

#: Energies below this are no coefficient at all.
TINY = 1e-300


class Windows:
    """Squares of `side` pixels a side, an odd number, about each pixel of a plane.

    Parameters
    ----------
    known : ndarray of float64 (row, col)
        1 for valid pixels, 0 for others.
    side : int
    """

    def __init__(self, known: Plane, side: int) -> None:
        self.side = side
        self._known = wide(known)
        self._counts = np.maximum(box(self._known, side), 1.0)

    def shrink(self, values: Plane, guide: Plane | None, noise: Plane, factor: float) -> None:
        """Multiply coefficients by their gains, in place.

        Parameters
        ----------
        values : ndarray of float64 (row, col)
        guide : ndarray of float64 (row, col), optional
            Coefficients without noise; by default their own energy is taken.
        noise : ndarray of float64 (row, col)
            0 keeps the coefficient as it is, unless there is a guide.
        factor : float
            On the noise.
        """
        own, cols = wide(values), values.shape[1]
        given = own if guide is None else wide(guide)
        planes = tuple(p.ravel() for p in (own, given, self._known, self._counts, wide(noise)))
        width, half = own.shape[1], self.side // 2
        ring, sums, gains = (np.zeros(n) for n in (self.side * width, width + 2 * half, width))
        _sweep(planes, factor, guide is not None, *own.shape, half, ring, sums, gains)
        if own is not values:
            values[:] = own[:, :cols]


def box(plane: Plane, side: int) -> Plane:
    """Sum a plane (row, col) over squares of `side` pixels a side, an odd number."""
    step = (1.0,) * side, -(side // 2)
    return correlate(plane, step, step)


@njit(**OPTIONS)
def _sweep(planes, factor, guided, rows, cols, half, ring, sums, gains):  # type: ignore[no-untyped-def]
    """Go down the rows; `ring` holds the squares of those in the window (row * col,)."""
    values, guide, known, counts, noise = planes
    side = 2 * half + 1
    for ahead in range(rows + half):
        _square(guide, known, ahead * cols, ahead < rows, cols, ring, ahead % side * cols)
        r = ahead - half
        if r >= 0:
            add_rows(ring, (r + half + 1) % side, side, cols, sums, half)
            _gains(sums, side, counts, noise, factor, guided, r * cols, cols, gains)
            for c in range(cols):
                values[r * cols + c] *= gains[c]


@njit(**OPTIONS)
def _square(guide, known, place, inside, cols, ring, slot):  # type: ignore[no-untyped-def]
    """Put a row's squares into the ring; below the block they are 0."""
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        square = splat(0.0)
        if inside:
            value = load(guide, place + c)
            square = value * value * load(known, place + c)
        store(ring, slot + c, square)


@njit(**OPTIONS)
def _gains(sums, side, counts, noise, factor, guided, place, cols, gains):  # type: ignore[no-untyped-def]
    """Give a row's gains."""
    nothing, one, tiny = splat(0.0), splat(1.0), splat(TINY)
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        energy = nothing
        for k in range(side):
            energy = energy + load(sums, c + k)
        energy = energy / load(counts, place + c)
        power = load(noise, place + c) * factor
        power = power * power
        if guided:
            store(gains, c, (energy + tiny) / (energy + power + tiny))
        else:
            left = energy - power
            left = smaller(left, nothing, nothing, left) / smaller(energy, tiny, tiny, energy)
            store(gains, c, smaller(nothing, power, left, one))


#: The compiled kernel.
KERNELS = (_sweep,)
