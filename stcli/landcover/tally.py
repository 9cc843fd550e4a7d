"""Numbers segments and measures them, in one pass over the pixels of a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit

#: Columns of what `measure` finds: pixels; sums of their rows and columns; first and last of each.
SIZE, ROWS, COLS, TOP, BOTTOM, LEFT, RIGHT = range(7)
#: Spreads labels over a table: 2 ** 64 over the golden ratio (Knuth, vol. 3, section 6.4).
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def measure(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Measure the segments of a window, numbered in the order of their first pixels.

    Parameters
    ----------
    labels : ndarray of int64 (row, col)
        0 for none.

    Returns
    -------
    number : ndarray of int64 (row, col)
        From 0; their count where there is none.
    found : ndarray of int64 (segment, 7)
        See `SIZE` and its like.
    """
    bits = max(1, int(2 * labels.size).bit_length())
    number, found, count = _measure(labels, np.zeros(1 << bits, np.int64), np.uint64(64 - bits))
    number[number < 0] = count
    return number, found[:count]


@njit(cache=True, nogil=True)
def _measure(labels, table, shift):  # type: ignore[no-untyped-def]
    """Find each label in a table of places (from 1) in `names`; open addressing."""
    rows, cols = labels.shape
    number = np.full((rows, cols), -1, np.int64)
    names = np.empty(rows * cols, np.int64)
    found = np.empty((rows * cols, 7), np.int64)
    count, last, mine = 0, 0, -1
    for row in range(rows):
        for col in range(cols):
            label = labels[row, col]
            if label == 0:
                continue
            if label != last:
                at = np.int64((np.uint64(label) * _SPREAD) >> shift)
                while table[at] and names[table[at] - 1] != label:
                    at = (at + 1) % len(table)
                if not table[at]:
                    names[count] = label
                    found[count] = (0, 0, 0, row, row, col, col)
                    count += 1
                    table[at] = count
                last, mine = label, table[at] - 1
            number[row, col] = mine
            each = found[mine]
            each[0] += 1
            each[1] += row
            each[2] += col
            each[4] = row
            each[5] = min(each[5], col)
            each[6] = max(each[6], col)
    return number, found, count
