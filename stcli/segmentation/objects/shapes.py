"""Sizes, places and outlines of a block's objects, as integers that add up over blocks.

Lengths and areas are sums of integer weights (one a row, for a grid of latitudes), so no sum
depends on how the raster was cut. An outline's corners are counted pixel by pixel: a vertex of a
pixel is a corner of its object when both edge neighbours there are of other objects, or both are
of this one and the diagonal neighbour is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.segmentation.numbering import NONE, grown, slot_of

#: Columns of the additive integers of an object.
PIXELS, ROWS, COLS, AREA, ACROSS, DOWN, CORNERS = range(7)
SUMS = 7


def shape_sums(
    numbers: NDArray[np.int32],
    core: tuple[int, int, int, int],
    place: tuple[int, int],
    weights: Any,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sum up the geometry of a block's objects over its core.

    Parameters
    ----------
    numbers : ndarray of int32 (row, col)
        As `number` gives them, with one pixel around the core wherever the raster goes on.
    core : (int, int, int, int)
        First and last+1 row, first and last+1 column of the core in the block.
    place : (int, int)
        Row and column of the block's first pixel in the raster.
    weights : (area, across, down) of int64 (raster rows,), (raster rows + 1,), (raster rows,)
        Area of a pixel, length of its upper edge, length of its left edge, by raster row.

    Returns
    -------
    sums : ndarray of int64 (object, SUMS)
        Pixels, sums of raster rows and columns, area, outline along rows and along columns,
        corners of the outline.
    limits : ndarray of int32 (object, 4)
        First and last row, first and last column in the raster; of objects without a pixel in
        the core the first exceeds the last.
    """
    count = int(numbers.max(initial=-1)) + 1
    sums = np.zeros((count, SUMS), np.int64)
    limits = np.empty((count, 4), np.int32)
    limits[:, ::2], limits[:, 1::2] = np.iinfo(np.int32).max, -1
    _shapes(numbers, np.array([*core, *place]), weights, sums, limits)
    return sums, limits


def corners(
    numbers: NDArray[np.int32], core: tuple[int, int, int, int], place: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """List the corners of the outlines of a block's objects, over its core.

    Returns
    -------
    owner : ndarray of int32 (corner,)
    vertex : ndarray of int32 (corner, 2)
        Raster row of the vertex, and twice its column, plus one where the pixel to the lower
        right of it is of the object; (0, 0) is the raster's corner.
    """
    where = np.array([*core, *place])
    count = _corners(numbers, where, np.empty(0, np.int32), np.empty((0, 2), np.int32))
    owner, vertex = np.empty(count, np.int32), np.empty((count, 2), np.int32)
    _corners(numbers, where, owner, vertex)
    return owner, vertex


def borders(
    numbers: NDArray[np.int32], core: tuple[int, int, int, int], row: int, weights: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Measure the borders that a block's objects share, by the pixels of its core.

    An edge belongs to the core of the pixel above it, or to the left of it.

    Parameters
    ----------
    row : int
        Raster row of the block's first pixel.
    weights : (across, down)
        As in `shape_sums`.

    Returns
    -------
    pairs : ndarray of int64 (border, 2)
        Numbers of two objects, the lower first.
    lengths : ndarray of int64 (border, 2)
        Sums of weights along rows and along columns.
    """
    keys, lengths = _borders(numbers, np.array(core), row, weights)
    span = np.int64(numbers.max(initial=0) + 1)
    return np.stack(np.divmod(keys, span), axis=1), lengths


@njit(cache=True, nogil=True, inline="always")
def _at(numbers, row, col):  # type: ignore[no-untyped-def]
    """Return the number of a pixel; -1 outside the block, which is outside the raster."""
    inside = 0 <= row < numbers.shape[0] and 0 <= col < numbers.shape[1]
    return numbers[row, col] if inside else np.int32(-1)


@njit(cache=True, nogil=True, inline="always")
def _is_corner(numbers, row, col, down, right):  # type: ignore[no-untyped-def]
    """Tell whether the vertex of a pixel towards (down, right) = ±1 is a corner."""
    own = numbers[row, col]
    beside = _at(numbers, row, col + right) == own
    below = _at(numbers, row + down, col) == own
    if beside != below:
        return False
    return not beside or _at(numbers, row + down, col + right) != own


@njit(cache=True, nogil=True)
def _shapes(numbers, where, weights, sums, limits):  # type: ignore[no-untyped-def]
    area, across, down = weights
    for row in range(where[0], where[1]):
        r = row + where[4]
        for col in range(where[2], where[3]):
            i = numbers[row, col]
            if i < 0:
                continue
            c = col + where[5]
            sums[i, PIXELS] += 1
            sums[i, ROWS] += r
            sums[i, COLS] += c
            sums[i, AREA] += area[r]
            limits[i, 0], limits[i, 1] = min(limits[i, 0], r), max(limits[i, 1], r)
            limits[i, 2], limits[i, 3] = min(limits[i, 2], c), max(limits[i, 3], c)
            if _at(numbers, row - 1, col) != i:
                sums[i, ACROSS] += across[r]
            if _at(numbers, row + 1, col) != i:
                sums[i, ACROSS] += across[r + 1]
            if _at(numbers, row, col - 1) != i:
                sums[i, DOWN] += down[r]
            if _at(numbers, row, col + 1) != i:
                sums[i, DOWN] += down[r]
            for corner in range(4):
                if _is_corner(numbers, row, col, 2 * (corner // 2) - 1, 2 * (corner % 2) - 1):
                    sums[i, CORNERS] += 1


@njit(cache=True, nogil=True)
def _corners(numbers, where, owner, vertex):  # type: ignore[no-untyped-def]
    """Count corners, and store them where there is room for all."""
    count = 0
    for row in range(where[0], where[1]):
        for col in range(where[2], where[3]):
            if numbers[row, col] < 0:
                continue
            for corner in range(4):
                below, right = corner // 2, corner % 2
                if _is_corner(numbers, row, col, 2 * below - 1, 2 * right - 1):
                    if owner.size:
                        owner[count] = numbers[row, col]
                        inside = _at(numbers, row + below, col + right) == numbers[row, col]
                        vertex[count, 0] = row + where[4] + below
                        vertex[count, 1] = 2 * (col + where[5] + right) + inside
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _borders(numbers, core, first, weights):  # type: ignore[no-untyped-def]
    span = np.int64(numbers.max() + 1)
    keys = np.full(1024, NONE, dtype=np.int64)
    values = np.empty(1024, dtype=np.int32)
    pairs = np.empty(512, dtype=np.int64)
    lengths = np.zeros((512, 2), dtype=np.int64)
    count = 0
    for row in range(core[0], core[1]):
        while count + 2 * (core[3] - core[2]) > pairs.size:  # not pixel by pixel: see `_number`
            pairs = np.concatenate((pairs, np.empty(pairs.size, dtype=np.int64)))
            lengths = np.concatenate((lengths, np.zeros(lengths.shape, dtype=np.int64)))
            keys, values = grown(keys, values)
        edges = weights[0][first + row + 1], weights[1][first + row]
        at = row, core[2], core[3]
        count = _row_borders(numbers, at, span, edges, (keys, values), pairs, lengths, count)
    return pairs[:count].copy(), lengths[:count].copy()


@njit(cache=True, nogil=True)
def _row_borders(  # type: ignore[no-untyped-def]
    numbers, at, span, edges, table, pairs, lengths, count
):
    """Add the borders of a row's pixels with those below and to the right; return their number."""
    (row, left, right), (keys, values) = at, table
    before, place = NONE, np.int32(0)
    for col in range(left, right):
        i = numbers[row, col]
        for side in range(2):
            j = _at(numbers, row + (side == 0), col + (side == 1))
            if i < 0 or j < 0 or i == j:
                continue
            key = min(i, j) * span + max(i, j)
            if key != before:
                before = key
                slot = slot_of(keys, key)
                if keys[slot] == NONE:
                    keys[slot], values[slot], pairs[count] = key, count, key
                    count += 1
                place = values[slot]
            lengths[place, side] += edges[side]
    return count
