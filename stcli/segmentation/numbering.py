"""Number the labels of a block from 0, so that arrays can stand beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit

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


def distinct(labels: NDArray[Any]) -> NDArray[np.int64]:
    """List the labels of a block, each once, rising.

    Parameters
    ----------
    labels : ndarray of integers (row, col)
        0 for none.

    Returns
    -------
    ndarray of int64 (label,)
    """
    low, high = _span(labels)
    if high - low >= labels.size:  # islands are numbered far from the others
        return np.sort(number(labels)[1])
    seen = np.zeros(high - low + 1, dtype=np.bool_)
    _mark(labels, low, seen)
    listed: NDArray[np.int64] = np.flatnonzero(seen) + low
    return listed


def merged(lists: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Join lists of labels (label,), each rising, to one that has each label once, rising."""
    joined = np.sort(np.concatenate(lists), kind="stable")  # which takes lists as they rise
    once: NDArray[np.int64] = joined[np.append(np.diff(joined) > 0, True)[: joined.size]]
    return once


@njit(cache=True, nogil=True)
def _span(labels):  # type: ignore[no-untyped-def]
    """Find the lowest and the highest label; 1 and 0 where there is none."""
    low, high = np.uint64(np.iinfo(np.uint64).max), np.uint64(0)
    for row in range(labels.shape[0]):
        for col in range(labels.shape[1]):
            label = np.uint64(labels[row, col])
            high = max(high, label)
            low = min(low, label - np.uint64(1))  # of 0 it is the largest there is
    return (np.int64(low) + 1, np.int64(high)) if high > 0 else (np.int64(1), np.int64(0))


@njit(cache=True, nogil=True)
def _mark(labels, low, seen):  # type: ignore[no-untyped-def]
    """Mark the labels that are there, the first that counts being `low`."""
    for row in range(labels.shape[0]):
        for col in range(labels.shape[1]):
            at = np.int64(labels[row, col]) - low
            if at >= 0:
                seen[at] = True


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
    """Give labels numbers; tables grow between rows.

    Where an array is replaced within a loop, numba counts references to it at each step.
    """
    height, width = labels.shape
    numbers = np.empty((height, width), dtype=np.int32)
    keys = np.full(1024, NONE, dtype=np.int64)
    values = np.empty(1024, dtype=np.int32)
    distinct = np.empty(512, dtype=np.int64)
    count = 0
    for row in range(height):
        while count + width > distinct.size:
            distinct = np.concatenate((distinct, np.empty(distinct.size, dtype=np.int64)))
            keys, values = grown(keys, values)
        count = _number_row(labels, row, keys, values, distinct, count, numbers)
    return numbers, distinct[:count].copy()


@njit(cache=True, nogil=True)
def _number_row(labels, row, keys, values, distinct, count, numbers):  # type: ignore[no-untyped-def]
    """Give a row's labels numbers; return how many labels there are so far."""
    before, number_ = np.int64(0), np.int32(-1)
    for col in range(labels.shape[1]):
        label = np.int64(labels[row, col])
        if label != before:  # runs are the rule
            before, number_ = label, np.int32(-1)
            if label != 0:
                slot = slot_of(keys, label)
                if keys[slot] == NONE:
                    keys[slot], values[slot], distinct[count] = label, count, label
                    count += 1
                number_ = values[slot]
        numbers[row, col] = number_
    return count


#: What depends on the labels' data type.
KERNELS = (_span, _mark, _number)


def rehearse(dtype: str) -> None:
    """Have all kernels compiled for labels of a data type."""
    labels = np.ones((2, 2), dtype)
    number(labels)
    distinct(labels)
