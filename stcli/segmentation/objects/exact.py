"""Sums that do not depend on the order of their terms, bit for bit.

A term is cut into digits of `BITS` bits on one absolute grid of powers of two, and digits are
added as int64. An accumulator keeps the `LIMBS` uppermost bins that any of its terms reached;
what lies below them is cut off the same way whatever came first. So the sum is a function of the
set of terms alone: tiles and workers may come in any order. Cut off is less than
2**-(BITS * (LIMBS - 1)) of the largest term for each term; integers below 2**90 are exact.

An array of accumulators is `digits` (…, LIMBS) int64 with `top` (…) int16, the bin of the first
digit. Source of the idea: Demmel & Nguyen 2015, doi:10.1109/TC.2014.2345391.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit

BITS = 30
LIMBS = 4
#: Bin of an accumulator that holds nothing yet; terms below 2**(BITS * _LOWEST) count as 0.
_LOWEST = -31
EMPTY = np.int16(_LOWEST)
_OFFSET = 34
_POWER = np.array([2.0 ** (BITS * b) for b in range(-_OFFSET, 35)])
_INVERSE = np.array([2.0 ** (-BITS * b) for b in range(-_OFFSET, 34)] + [2.0**-1020])


def accumulators(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """Make accumulators that hold 0.

    Returns
    -------
    digits : ndarray of int64 (…, LIMBS)
    top : ndarray of int16 (…)
    """
    return np.zeros((*shape, LIMBS), np.int64), np.full(shape, EMPTY, np.int16)


def accumulator_bytes() -> int:
    """Bytes of one accumulator."""
    return 8 * LIMBS + 2


@njit(cache=True, nogil=True)
def _raise(digits, top, i, j, bin_):  # type: ignore[no-untyped-def]
    """Move an accumulator's window up to a bin."""
    shift = bin_ - top[i, j]
    if shift > 0:
        for k in range(LIMBS - 1, -1, -1):
            digits[i, j, k] = digits[i, j, k - shift] if k >= shift else 0
        top[i, j] = bin_


@njit(cache=True, nogil=True)
def add(digits, top, i, j, term):  # type: ignore[no-untyped-def]
    """Add a float64 to accumulator (i, j)."""
    size = abs(term)
    if not (0.0 < size < np.inf):
        return
    first = (math.frexp(size)[1] - 1) // BITS
    if first < _LOWEST:
        return
    _raise(digits, top, i, j, first)
    sign = 1 if term > 0 else -1
    for k in range(LIMBS):
        if size == 0.0:
            break
        digit = math.floor(size * _INVERSE[first - k + _OFFSET])
        size -= digit * _POWER[first - k + _OFFSET]
        place = top[i, j] - first + k
        if place < LIMBS:
            digits[i, j, place] += sign * np.int64(digit)


@njit(cache=True, nogil=True)
def _two_product(a, b):  # type: ignore[no-untyped-def]
    """Split a * b into its rounded value and the rest (Dekker)."""
    product = a * b
    c, d = 134217729.0 * a, 134217729.0 * b
    ah, bh = c - (c - a), d - (d - b)
    al, bl = a - ah, b - bh
    return product, ((ah * bh - product) + ah * bl + al * bh) + al * bl


@njit(cache=True, nogil=True)
def add_square(digits, top, i, j, value):  # type: ignore[no-untyped-def]
    """Add the square of a float64 to accumulator (i, j), with what its rounding leaves."""
    square, rest = _two_product(value, value)
    add(digits, top, i, j, square)
    add(digits, top, i, j, rest)


@njit(cache=True, nogil=True)
def add_integer(digits, top, i, j, term):  # type: ignore[no-untyped-def]
    """Add an int64 to accumulator (i, j), exactly; not to be mixed with `add`."""
    _raise(digits, top, i, j, 2)
    mask = (np.int64(1) << BITS) - 1
    digits[i, j, 2] += term & mask
    digits[i, j, 1] += (term >> BITS) & mask
    digits[i, j, 0] += term >> (2 * BITS)


@njit(cache=True, nogil=True)
def merge(digits, top, index, others, tops):  # type: ignore[no-untyped-def]
    """Add accumulators (n, j) to those of rows `index` (n,); rows of `index` are distinct."""
    for n in range(index.size):
        i = index[n]
        for j in range(top.shape[1]):
            _raise(digits, top, i, j, tops[n, j])
            shift = top[i, j] - tops[n, j]
            for k in range(LIMBS - shift):
                digits[i, j, k + shift] += others[n, j, k]


@njit(cache=True, nogil=True)
def _two_sum(a, b):  # type: ignore[no-untyped-def]
    """Split a + b into its rounded value and the rest (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@njit(cache=True, nogil=True)
def total(digits, top, i, j):  # type: ignore[no-untyped-def]
    """Return the sum of accumulator (i, j) as two float64 that add up to it."""
    high, low = 0.0, 0.0
    for k in range(LIMBS - 1, -1, -1):
        digit, power = digits[i, j, k], _POWER[top[i, j] - k + _OFFSET]
        coarse = float(digit)
        fine = float(digit - np.int64(coarse))
        high, rest = _two_sum(high, coarse * power)
        high, low = _two_sum(high, low + rest + fine * power)
    return high, low


@njit(cache=True, nogil=True)
def deviation(sum_, squares, count):  # type: ignore[no-untyped-def]
    """Return mean and Σ (x - mean)² from Σ x and Σ x², each two float64, and the count."""
    mean = (sum_[0] + sum_[1]) / count
    product, rest = _two_product(mean, float(count))
    left = ((sum_[0] - product) - rest) + sum_[1]  # what the rounded mean leaves of the sum
    extra = left / count
    p, q = _two_product(sum_[0], mean)
    high, low = _two_sum(squares[0], -p)
    low += squares[1] - q - sum_[1] * mean - sum_[0] * extra
    return mean, max(high + low, 0.0)
