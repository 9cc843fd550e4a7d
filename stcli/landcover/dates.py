"""A stack of dates under a window: what superpixels are grown on, and the series of each.

The *composite* has two bands for each of the stack's: median and standard deviation over the dates
that were clear at a pixel. The *series* of a segment has, for each date, the mean over its clear
pixels and their share; a date without any is no part of it, and nothing is put in its place.

A date is clear at a pixel in all bands or in none. Letters: t dates, b bands, n segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.settings import BandScaling


@dataclass(frozen=True, eq=False)
class Dates:
    """The dates of a block.

    Attributes
    ----------
    values : ndarray of float32 (t · b, row, col)
        NaN where a date is not clear.
    days : ndarray of int64 (t,)
        Since 1970-01-01, rising.
    """

    values: NDArray[np.float32]
    days: NDArray[np.int64]

    @property
    def bands(self) -> int:
        """Number of bands of a date."""
        return len(self.values) // len(self.days)


@dataclass(frozen=True, eq=False)
class Series:
    """The series of a window's segments; turning the window does not change them.

    Attributes
    ----------
    labels : ndarray of int (n,)
        Of the segments, rising.
    values : ndarray of float32 (n, t, b)
        Mean over the segment's clear pixels in the window; 0 where there is none.
    clear : ndarray of float32 (n, t)
        Share of the segment's pixels that are clear, 0 to 1.
    days : ndarray of int64 (t,)
        Since 1970-01-01, rising.
    """

    labels: NDArray[Any]
    values: NDArray[np.float32]
    clear: NDArray[np.float32]
    days: NDArray[np.int64]


def composite(values: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """Make one raster of a stack.

    Parameters
    ----------
    values : ndarray of float32 (t · b, row, col)
        NaN where a date is not clear.
    bands : int

    Returns
    -------
    ndarray of float32 (2 b, row, col)
        Median over the clear dates of each band (of an even number the mean of the middle two),
        then the standard deviation of each; 0 where no date is clear.
    """
    result = np.zeros((2 * bands, *values.shape[1:]), dtype=np.float32)
    _compose(values, bands, result)
    return result


@njit(cache=True, nogil=True)
def _compose(values, bands, result):  # type: ignore[no-untyped-def]
    dates, rows, cols = values.shape[0] // bands, values.shape[1], values.shape[2]
    found = np.empty(dates, np.float32)
    for row in range(rows):
        for col in range(cols):
            for b in range(bands):
                count, total, squares = 0, 0.0, 0.0
                for t in range(dates):
                    value = values[t * bands + b, row, col]
                    if np.isfinite(value):
                        found[count] = value
                        count += 1
                        total += value
                if count == 0:
                    continue
                for t in range(count):
                    squares += (found[t] - total / count) ** 2
                found[:count].sort()
                result[b, row, col] = (found[(count - 1) // 2] + found[count // 2]) / 2
                result[bands + b, row, col] = np.sqrt(squares / count)


def composite_scaling(scaling: BandScaling) -> BandScaling:
    """Scale a composite by the scaling of its bands: a deviation by the most that range allows."""
    most = tuple((high - low) / 2 for low, high in zip(scaling.low, scaling.high, strict=True))
    return BandScaling((*scaling.low, *(0.0 for _ in most)), (*scaling.high, *most))


def series_of(segments: NDArray[Any], dates: Dates, part: tuple[slice, slice]) -> Series:
    """Average the pixels of each segment, date by date, over a part of a block.

    Parameters
    ----------
    segments : ndarray of int (row, col)
        Of the block; 0 for none.
    dates : Dates
        Of the same block.
    part : (slice, slice)
        Rows and columns.

    Returns
    -------
    Series
    """
    labels, place = np.unique(segments[part], return_inverse=True)
    first = int(labels[:1].sum() == 0)  # 0 is no segment
    labels, place = labels[first:], place.reshape(segments[part].shape) - first
    total = np.zeros((len(labels), len(dates.days), dates.bands))
    clear = np.zeros(total.shape[:2], dtype=np.int64)
    _add(dates.values[(slice(None), *part)], place, total, clear)
    size = np.bincount(place[place >= 0], minlength=len(labels))
    mean = (total / np.maximum(clear, 1)[..., None]).astype(np.float32)
    return Series(labels, mean, (clear / size[:, None]).astype(np.float32), dates.days)


@njit(cache=True, nogil=True)
def _add(values, place, total, clear):  # type: ignore[no-untyped-def]
    bands = total.shape[2]
    for t in range(total.shape[1]):
        for row in range(place.shape[0]):
            for col in range(place.shape[1]):
                n = place[row, col]
                if n < 0 or not np.isfinite(values[t * bands, row, col]):
                    continue
                clear[n, t] += 1
                for b in range(bands):
                    total[n, t, b] += values[t * bands + b, row, col]
