"""Band statistics of objects, block by block: count, sums, squares, least and largest value.

Sums are exact (see `exact`), so mean and standard deviation are the same bits for every tiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.segmentation.objects.exact import (
    accumulator_bytes,
    accumulators,
    add,
    add_integer,
    add_square,
    deviation,
    merge,
    total,
)


@dataclass
class BandSums:
    """Sums of the bands over a number of objects.

    Attributes
    ----------
    count : ndarray of int64 (object,)
        Valid pixels.
    digits, top : ndarray (object, 2 * band, …)
        Accumulators of Σ x and, after all of them, of Σ x².
    low, high : ndarray of float64 (object, band)
        Least and largest value; ±inf without a valid pixel.
    """

    count: NDArray[np.int64]
    digits: NDArray[np.int64]
    top: NDArray[np.int16]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def empty(cls, objects: int, bands: int) -> BandSums:
        """Make sums of nothing."""
        digits, top = accumulators((objects, 2 * bands))
        shape = (objects, bands)
        count = np.zeros(objects, np.int64)
        return cls(count, digits, top, np.full(shape, np.inf), np.full(shape, -np.inf))

    def add(self, index: NDArray[np.int64], part: BandSums) -> None:
        """Add the sums of a block to those of objects `index`, which are distinct."""
        self.count[index] += part.count
        merge(self.digits, self.top, index, part.digits, part.top)
        self.low[index] = np.minimum(self.low[index], part.low)
        self.high[index] = np.maximum(self.high[index], part.high)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean and Σ (x - mean)² of each object and band; NaN without a pixel.

        Returns
        -------
        means, deviations : ndarray of float64 (object, band)
        """
        means, deviations = (np.full(self.low.shape, np.nan) for _ in range(2))
        _moments(self.digits, self.top, self.count, means, deviations)
        return means, deviations


def band_bytes(bands: int) -> int:
    """Bytes an object that `BandSums` holds."""
    return 8 + bands * (2 * accumulator_bytes() + 16)


def band_sums(
    numbers: NDArray[np.int32], block: NDArray[Any], valid: NDArray[np.bool_], objects: int
) -> BandSums:
    """Sum up the bands of a block over its objects.

    Parameters
    ----------
    numbers : ndarray of int32 (row, col)
        -1 for none.
    block : ndarray of any real dtype (band, row, col)
    valid : ndarray of bool (row, col)
    objects : int
        Above the largest number.
    """
    sums = BandSums.empty(objects, len(block))
    if kernel_of(block.dtype) is _add_integers:
        whole = np.zeros((objects, 2 * len(block)), np.int64)
        _add_integers(numbers, block, valid, whole, sums.low, sums.high)
        _carry(whole, sums.digits, sums.top)
    else:
        exact = block.dtype in (np.float16, np.float32)  # whose squares fit a float64
        parts = sums.digits, sums.top
        _add_floats(numbers, block, valid, exact, parts, sums.low, sums.high)
    _count(numbers, valid, sums.count)
    return sums


def kernel_of(dtype: np.dtype[Any]) -> Any:
    """Choose what adds up bands of a data type: squares of short whole numbers fit an int64."""
    return _add_integers if dtype.kind in "iu" and dtype.itemsize <= 2 else _add_floats


@njit(cache=True, nogil=True)
def _count(numbers, valid, count):  # type: ignore[no-untyped-def]
    for row in range(numbers.shape[0]):
        for col in range(numbers.shape[1]):
            if numbers[row, col] >= 0 and valid[row, col]:
                count[numbers[row, col]] += 1


@njit(cache=True, nogil=True)
def _add_integers(numbers, block, valid, sums, low, high):  # type: ignore[no-untyped-def]
    bands = block.shape[0]
    for band in range(bands):
        for row in range(numbers.shape[0]):
            for col in range(numbers.shape[1]):
                i = numbers[row, col]
                if i >= 0 and valid[row, col]:
                    value = np.int64(block[band, row, col])
                    sums[i, band] += value
                    sums[i, bands + band] += value * value
                    low[i, band] = min(low[i, band], value)
                    high[i, band] = max(high[i, band], value)


@njit(cache=True, nogil=True)
def _carry(sums, digits, top):  # type: ignore[no-untyped-def]
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            add_integer(digits, top, i, j, sums[i, j])


@njit(cache=True, nogil=True)
def _add_floats(numbers, block, valid, exact, sums, low, high):  # type: ignore[no-untyped-def]
    bands = block.shape[0]
    digits, top = sums
    for band in range(bands):
        for row in range(numbers.shape[0]):
            for col in range(numbers.shape[1]):
                i = numbers[row, col]
                if i >= 0 and valid[row, col]:
                    value = np.float64(block[band, row, col])
                    add(digits, top, i, band, value)
                    if exact:
                        add(digits, top, i, bands + band, value * value)
                    else:
                        add_square(digits, top, i, bands + band, value)
                    low[i, band] = min(low[i, band], value)
                    high[i, band] = max(high[i, band], value)


@njit(cache=True, nogil=True)
def _moments(digits, top, count, means, deviations):  # type: ignore[no-untyped-def]
    bands = means.shape[1]
    for i in range(count.size):
        for band in range(bands):
            if count[i] > 0:
                sum_ = total(digits, top, i, band)
                squares = total(digits, top, i, bands + band)
                means[i, band], deviations[i, band] = deviation(sum_, squares, count[i])
