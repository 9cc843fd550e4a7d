"""Exact percentiles of objects: their pixels side by side, then sorted.

The rule is that of `numpy.percentile` (linear): the value at rank (n - 1) p / 100, counted from 0,
on the line between the two pixels around it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit


class PixelStore:
    """One band's valid pixels of objects first to last - 1, filled in any order.

    Parameters
    ----------
    counts : ndarray of int64 (object,)
        Valid pixels of each of these objects.
    """

    def __init__(self, counts: NDArray[np.int64], dtype: np.dtype[Any]) -> None:
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._next = self._starts[:-1].copy()
        self._values = np.empty(int(self._starts[-1]), dtype)

    def add(self, objects: NDArray[np.int32], values: NDArray[Any]) -> None:
        """Take values (pixel,) with their objects (pixel,), -1 for none of these."""
        _store(objects, values, self._next, self._values)

    def percentiles(self, wanted: tuple[float, ...]) -> NDArray[np.float64]:
        """Sort, and return (object, wanted); NaN for an object without a pixel."""
        found = np.full((self._next.size, len(wanted)), np.nan)
        _percentiles(self._values, self._starts, np.array(wanted, np.float64), found)
        return found


@njit(cache=True, nogil=True)
def _store(objects, values, following, store):  # type: ignore[no-untyped-def]
    for n in range(objects.size):
        i = objects[n]
        if i >= 0:
            store[following[i]] = values[n]
            following[i] += 1


@njit(cache=True, nogil=True)
def _percentiles(values, starts, wanted, found):  # type: ignore[no-untyped-def]
    for i in range(starts.size - 1):
        count = starts[i + 1] - starts[i]
        if count == 0:
            continue
        own = np.sort(values[starts[i] : starts[i + 1]])
        for k in range(wanted.size):
            rank = (count - 1) * wanted[k] / 100.0
            low = min(int(rank), count - 1)
            high = min(low + 1, count - 1)
            share = rank - low
            a, b = np.float64(own[low]), np.float64(own[high])
            # numpy's own form, so that the bits agree
            found[i, k] = b - (b - a) * (1.0 - share) if share >= 0.5 else a + (b - a) * share
