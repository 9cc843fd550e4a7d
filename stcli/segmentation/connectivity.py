"""Connected segments, by a rule that reaches a fixed number of lattice cells.

A label's pixels may fall apart into several 4-connected components. The largest is the label's
*main* component. The rule:

1. Main components of the smallest size or more are settled.
2. A component that touches settled ones takes the label with which it shares the longest border
   (the lower label on a tie). This keeps a small segment in one piece.
3. The main components that are left settle as they are.
4. Settled segments grow into what is left, one pixel a step, for `GROWTH` lattice steps; a pixel
   that several reach at once takes the lowest label.
5. What is still untouched, an island in nodata mostly, is a segment with a number of its own.

Reach: a component lies in the 3x3 cells around its label's cell, so within 2 cells of any pixel of
it, and so do all components of that label; the pixels that it touches lie within 3. Knowing what
is settled in 1 takes 2 cells, the round of 2 looks 3 further, growing `GROWTH` more, and an
island's pixels, a part of one component, lie within 2 of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

GROWTH = 2
#: Lattice cells that the rule looks around a pixel.
REACH = 2 + 3 + GROWTH + 2


def connect(
    labels: NDArray[np.int64], smallest: int, step: int, island: tuple[int, int]
) -> NDArray[np.int64]:
    """Make every label one 4-connected set of at least `smallest` pixels where it can be.

    Parameters
    ----------
    labels : ndarray of int64 (row, col)
        0 for none.
    smallest : int
        Pixels below which a segment is absorbed.
    step : int
        Pixels between the lattice's seeds.
    island : (int, int)
        Number of an island whose first pixel is the block's first, and what a row adds to it.

    Returns
    -------
    ndarray of int64 (row, col)
    """
    parts, owner, size, _ = _components(labels)
    largest = _largest(owner, size)
    settled = _absorb(parts, np.where(largest & (size >= smallest), owner, 0))
    settled = np.where((settled == 0) & largest, owner, settled)
    final: NDArray[np.int64] = np.concatenate([[0], settled])[parts]
    if (settled == 0).any():
        _grow(final, labels, GROWTH * step)
        _number_islands(final, np.where((final == 0) & (labels > 0), parts, 0), island)
    return final


def _number_islands(
    final: NDArray[np.int64], left: NDArray[np.int64], island: tuple[int, int]
) -> None:
    """Give each component of what is left the number of its first pixel."""
    parts, _, _, start = _components(left)
    row, col = np.divmod(start, left.shape[1])
    inside = parts > 0
    final[inside] = (island[0] + row * island[1] + col)[parts[inside] - 1]


def _largest(owner: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the largest component of each label; the first in raster order on a tie."""
    order = np.lexsort((np.arange(owner.size), -size, owner))
    first = np.ones(owner.size, dtype=bool)
    first[1:] = owner[order][1:] != owner[order][:-1]
    largest = np.zeros(owner.size, dtype=bool)
    largest[order[first]] = True
    return largest


def _absorb(parts: NDArray[np.int32], settled: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give unsettled components the settled label with which they share the longest border."""
    fragment, label = _borders(parts, settled)
    if not fragment.size:
        return settled
    pairs, border = np.unique(np.stack([fragment, label], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -border, pairs[:, 0]))
    winners, first = np.unique(pairs[order, 0], return_index=True)
    result = settled.copy()
    result[winners] = pairs[order[first], 1]
    return result


@njit(cache=True, nogil=True)
def _components(labels):  # type: ignore[no-untyped-def]
    """Label 4-connected components from 1 in raster order of their first pixels.

    Returns the components (row, col), and of each: its label, its size and its first pixel.
    """
    height, width = labels.shape
    parts = np.zeros((height, width), dtype=np.int32)
    owner: Any = [np.int64(0)]
    size: Any = [np.int64(0)]
    start: Any = [np.int64(0)]
    stack = np.empty(height * width, dtype=np.int64)
    count = 0
    for first in range(height * width):
        if labels.flat[first] == 0 or parts.flat[first] != 0:
            continue
        count += 1
        label = labels.flat[first]
        parts.flat[first] = count
        stack[0] = first
        top, pixels = 1, 0
        while top:
            top -= 1
            at = stack[top]
            pixels += 1
            row, col = at // width, at % width
            for side in range(4):
                r = row + (side == 0) - (side == 1)
                c = col + (side == 2) - (side == 3)
                inside = 0 <= r < height and 0 <= c < width
                if inside and labels[r, c] == label and parts[r, c] == 0:
                    parts[r, c] = count
                    stack[top] = r * width + c
                    top += 1
        owner.append(label)
        size.append(np.int64(pixels))
        start.append(np.int64(first))
    return parts, np.array(owner[1:]), np.array(size[1:]), np.array(start[1:])


@njit(cache=True, nogil=True)
def _borders(parts, settled):  # type: ignore[no-untyped-def]
    """List, for each pixel edge between them, an unsettled component and a settled label."""
    height, width = parts.shape
    fragment = [np.int64(0)]
    label = [np.int64(0)]
    for row in range(height):
        for col in range(width):
            a = parts[row, col]
            for side in range(2):
                r, c = row + (side == 0), col + (side == 1)
                if a == 0 or r >= height or c >= width or parts[r, c] == 0:
                    continue
                b = parts[r, c]
                if a != b and (settled[a - 1] == 0) != (settled[b - 1] == 0):
                    loose, kept = (a, b) if settled[a - 1] == 0 else (b, a)
                    fragment.append(np.int64(loose - 1))
                    label.append(settled[kept - 1])
    return np.array(fragment[1:]), np.array(label[1:])


@njit(cache=True, nogil=True)
def _grow(final, labels, steps):  # type: ignore[no-untyped-def]
    """Grow settled labels into the pixels of `labels` that have none, a pixel a step, in place."""
    height, width = final.shape
    reached = np.zeros((height, width), dtype=np.int32)  # the step at which a pixel was reached
    edge = [np.int64(0) for _ in range(0)]
    for row in range(height):
        for col in range(width):
            for side in range(4):
                r = row + (side == 0) - (side == 1)
                c = col + (side == 2) - (side == 3)
                inside = final[row, col] != 0 and 0 <= r < height and 0 <= c < width
                if inside and labels[r, c] != 0 and final[r, c] == 0:
                    edge.append(np.int64(row * width + col))
                    break
    for step in range(1, steps + 1):
        grown = [np.int64(0) for _ in range(0)]
        for at in edge:
            row, col = at // width, at % width
            for side in range(4):
                r = row + (side == 0) - (side == 1)
                c = col + (side == 2) - (side == 3)
                if not (0 <= r < height and 0 <= c < width) or labels[r, c] == 0:
                    continue
                if final[r, c] == 0:
                    final[r, c] = final[row, col]
                    reached[r, c] = step
                    grown.append(r * width + c)
                elif reached[r, c] == step:
                    final[r, c] = min(final[r, c], final[row, col])
        edge = grown
