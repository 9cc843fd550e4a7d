"""Dates on an even lattice: the rule for uneven dates and gaps.

A whitener needs an even step. Dates lie on the lattice ``first + k · step`` when each is within
`TOLERANCE` of a step from its place; places without a date are gaps. Nothing is interpolated: a
gap enters as the series' level, and what comes out there is no result. Dates that lie on no such
lattice are refused, or, when the user says so, taken in order as if they were even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: How far a date may lie from its place, in steps: months pass, random revisits do not.
TOLERANCE = 0.1
#: A lattice with more places than this for each date is no lattice.
SPARSEST = 4


@dataclass(frozen=True)
class Dates:
    """Where dates lie.

    Attributes
    ----------
    places : tuple of int
        Of each date on the lattice, rising from 0.
    step : float
        In the unit of the times.
    """

    places: tuple[int, ...]
    step: float

    @property
    def samples(self) -> int:
        """Places of the lattice."""
        return self.places[-1] + 1


def lattice(times: NDArray[np.float64]) -> Dates | None:
    """Find the lattice of rising times; None where there is none.

    Parameters
    ----------
    times : ndarray of float64, (date,)
        Rising, in any unit.
    """
    steps = np.diff(times)
    step = float(steps.min())
    for _ in range(3):  # the smallest difference is a step but for jitter: refine it
        places = np.concatenate([[0.0], np.cumsum(np.rint(steps / step))])
        if places[-1] == 0:
            return None
        step = float(places @ (times - times[0]) / (places @ places))
    first = float(np.mean(times - places * step))
    off = np.abs(times - first - places * step).max() / step
    distinct = (np.diff(places) > 0).all()
    if off > TOLERANCE or not distinct or places[-1] >= SPARSEST * times.size:
        return None
    return Dates(tuple(int(p) for p in places), step)


def in_order(times: NDArray[np.float64]) -> Dates:
    """Take dates as even, in their order, with their mean step.

    Parameters
    ----------
    times : ndarray of float64, (date,)
        Rising, in any unit.
    """
    step = float((times[-1] - times[0]) / (times.size - 1))
    return Dates(tuple(range(times.size)), step)
