"""Number the labels of a block from 0, so that arrays can stand beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Odd number near 2**64 divided by the golden ratio (Knuth's multiplicative hashing).
_MIX = np.int64(-7046029254386353131)
NONE = np.int64(-1)


def number(labels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Give labels numbers in the order in which they first appear, row by row.

    Parameters
    ----------
    labels : ndarray of integers (row, col)
        0 for none.

    Returns
    -------
    numbers : ndarray of int32 (row, col)
        From 0; -1 for none.
    distinct : ndarray of int64 (number,)
        The label of each number.
    """
    found: tuple[NDArray[np.int32], NDArray[np.int64]] = _number(labels)
    return found


@njit(cache=True, nogil=True)
def slot_of(keys, key):  # type: ignore[no-untyped-def]
    """Find a key's slot in an open table (a power of two long, `NONE` where free)."""
    last = keys.size - 1
    slot = ((key * _MIX) >> 17) & last
    while keys[slot] != key and keys[slot] != NONE:
        slot = (slot + 1) & last
    return slot


@njit(cache=True, nogil=True)
def grown(keys, values):  # type: ignore[no-untyped-def]
    """Return a table of twice the size with the same entries."""
    wide_keys = np.full(2 * keys.size, NONE, dtype=np.int64)
    wide_values = np.empty(2 * keys.size, dtype=np.int32)
    for old in range(keys.size):
        if keys[old] != NONE:
            slot = slot_of(wide_keys, keys[old])
            wide_keys[slot] = keys[old]
            wide_values[slot] = values[old]
    return wide_keys, wide_values


@njit(cache=True, nogil=True)
def _number(labels):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    numbers = np.empty((height, width), dtype=np.int32)
    keys = np.full(1024, NONE, dtype=np.int64)
    values = np.empty(1024, dtype=np.int32)
    distinct = np.empty(512, dtype=np.int64)
    count = 0
    for row in range(height):
        before, number_ = np.int64(0), np.int32(-1)
        for col in range(width):
            label = np.int64(labels[row, col])
            if label == before:  # runs are the rule
                numbers[row, col] = number_
                continue
            before, number_ = label, np.int32(-1)
            if label != 0:
                slot = slot_of(keys, label)
                if keys[slot] == NONE:
                    if count == distinct.size:
                        distinct = np.concatenate((distinct, np.empty(count, dtype=np.int64)))
                        keys, values = grown(keys, values)
                        slot = slot_of(keys, label)
                    keys[slot], values[slot], distinct[count] = label, count, label
                    count += 1
                number_ = values[slot]
            numbers[row, col] = number_
    return numbers, distinct[:count].copy()
