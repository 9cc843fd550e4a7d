"""Products of matrices on a CPU, for inference: six rows of a result at a time in registers.

A result is the sum over k of numbers of one matrix times vectors of 16 numbers of the other, each
result in the order of k and by itself: it does not depend on how many there are, nor on its place.
Six sums, a vector and a number fit the registers of AVX2 as well as those of AVX-512, and six
independent sums keep either's multipliers busy.

Letters: n rows, k what is summed over, m columns; m is padded to whole vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, outer_add, store

#: Rows of a result at once.
ROWS = 6


class Linear:
    """A linear layer, made ready once.

    Parameters
    ----------
    weight : ndarray of float32 (m, k)
        As torch's.
    bias : ndarray of float32 (m,), optional
    """

    def __init__(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None
    ) -> None:
        self.size = len(weight)
        self.factors = np.zeros((weight.shape[1], padded(self.size)), dtype=np.float32)
        self.factors[:, : self.size] = weight.T
        self.bias = np.zeros(self.factors.shape[1], dtype=np.float32)
        if bias is not None:
            self.bias[: self.size] = bias

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (n, k) to (n, m)."""
        rows = len(values)
        given = np.zeros((padded(rows, ROWS), values.shape[1]), dtype=np.float32)
        given[:rows] = values
        result = np.empty((len(given), len(self.bias)), dtype=np.float32)
        _linear(given, self.factors, self.bias, result)
        return result[:rows, : self.size]


def padded(count: int, unit: int = WIDTH) -> int:
    """Round up to a multiple of a unit."""
    return -(-count // unit) * unit


@njit(**OPTIONS)
def six(lanes):  # type: ignore[no-untyped-def]
    """Return a tuple of the same lanes for each row of a product."""
    return (lanes, lanes, lanes, lanes, lanes, lanes)


@njit(**OPTIONS)
def six_of(array, position, step):  # type: ignore[no-untyped-def]
    """Load the lanes of each row of a product, `step` apart."""
    return (
        load(array, position),
        load(array, position + step),
        load(array, position + 2 * step),
        load(array, position + 3 * step),
        load(array, position + 4 * step),
        load(array, position + 5 * step),
    )


@njit(**OPTIONS)
def store_six(array, position, step, sums):  # type: ignore[no-untyped-def]
    """Store the lanes of each row of a product, `step` apart."""
    store(array, position, sums[0])
    store(array, position + step, sums[1])
    store(array, position + 2 * step, sums[2])
    store(array, position + 3 * step, sums[3])
    store(array, position + 4 * step, sums[4])
    store(array, position + 5 * step, sums[5])


@njit(**OPTIONS)
def twelve(lanes):  # type: ignore[no-untyped-def]
    """Return a tuple of the same lanes for two vectors of each row of a product."""
    return (lanes, lanes, lanes, lanes, lanes, lanes, lanes, lanes, lanes, lanes, lanes, lanes)


@njit(**OPTIONS)
def store_twelve(array, position, step, sums):  # type: ignore[no-untyped-def]
    """Store two vectors of each row of a product, `step` apart."""
    for row in range(ROWS):
        at = position + row * step
        store(array, at, sums[2 * row])
        store(array, at + WIDTH, sums[2 * row + 1])


@njit(**OPTIONS)
def times(sums, numbers, at, step, vectors, first, apart, count):  # type: ignore[no-untyped-def]
    """Add a product to six sums: ``numbers[at + r * step + k] * vectors[first + k * apart]``."""
    for k in range(count):
        vector = (load(vectors, first + k * apart),)
        sums = outer_add(sums, numbers, at + k, step, vector)
    return sums


@njit(**OPTIONS)
def _linear(values, factors, bias, result):  # type: ignore[no-untyped-def]
    flat, vectors, out = values.reshape(-1), factors.reshape(-1), result.reshape(-1)
    inner, wide = factors.shape
    for row in range(0, len(values), ROWS):
        for column in range(0, wide, WIDTH):
            sums = six(load(bias, column))
            sums = times(sums, flat, row * inner, inner, vectors, column, wide, inner)
            store_six(out, row * wide + column, wide, sums)
