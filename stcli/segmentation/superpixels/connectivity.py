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

Components are found as runs along rows (`runs`), so that whole segments cost a few steps a row.

Reach: a component lies in the 3x3 cells around its label's cell, so within 2 cells of any pixel of
it, and so do all components of that label; the pixels that it touches lie within 3. Knowing what
is settled in 1 takes 2 cells, the round of 2 looks 3 further, growing `GROWTH` more, and an
island's pixels, a part of one component, lie within 2 of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli import heap
from stcli.jit import njit
from stcli.segmentation.superpixels.cells import OPTIONS
from stcli.segmentation.superpixels.runs import (
    Runs,
    absorb,
    count_runs,
    find_runs,
    join_rows,
    list_unsettled,
    settle_large,
    settle_rest,
    write_runs,
)
from stcli.segmentation.superpixels.team import Team

GROWTH = 2
#: Lattice cells that the rule looks around a pixel.
REACH = 2 + 3 + GROWTH + 2


def connect(
    labels: NDArray[Any],
    smallest: int,
    step: int,
    names: NDArray[Any],
    island: tuple[int, int],
    team: Team | None = None,
    final: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Make every label one 4-connected set of at least `smallest` pixels where it can be.

    Parameters
    ----------
    labels : ndarray of int32 or int64 (row, col)
        From 1; 0 for none.
    smallest : int
        Pixels below which a segment is absorbed.
    step : int
        Pixels between the lattice's seeds.
    names : ndarray (label + 1,)
        What each label is called in the result, rising; 0 for 0.
    island : (int, int)
        Number of an island whose first pixel is the block's first, and what a row adds to it.
    team : Team or None
        Threads that share the work.
    final : ndarray of the dtype of `names` (row, col), optional
        Where the result goes.

    Returns
    -------
    ndarray of the dtype of `names` (row, col)
    """
    team = team or Team(1)
    runs = _runs(labels, team)
    settled, scratch = (team.memory.array(runs.parent.size, labels.dtype) for _ in range(2))
    main = np.empty(names.size, dtype=np.int64)
    if settle_large(labels, runs, smallest, main, scratch, settled):
        height, count = labels.shape[0], runs.parent.size
        team.over(count, lambda a, b: absorb(height, runs, settled, a, b, scratch))
        settle_rest(runs.parent, main, scratch, settled)
    if final is None:
        final = heap.empty(labels.shape, names.dtype)
    left = team.over(
        labels.shape[0],
        lambda top, bottom: write_runs(labels, runs, settled, names, top, bottom, final),
    )
    if any(left):
        rest = list_unsettled(runs, settled, labels.shape[1], sum(left))
        rest = _grow(final, rest, GROWTH * step)
        _number_islands(labels, final, rest, island)
    return final


def _runs(labels: NDArray[Any], team: Team) -> Runs:
    """Find the runs of a block and join them into components."""
    height = labels.shape[0]
    first = np.zeros(height + 1, dtype=np.int64)
    team.over(height, lambda top, bottom: count_runs(labels, top, bottom, first))
    np.cumsum(first, out=first)
    count = int(first[-1])
    start, stop = (team.memory.array(count, np.int32) for _ in range(2))
    runs = Runs(first, start, stop, team.memory.array(count, np.int64))
    team.over(height, lambda top, bottom: find_runs(labels, top, bottom, runs))
    for top, _ in team.parts(height)[1:]:
        join_rows(labels, top, runs)
    return runs


@njit(**OPTIONS)
def _grow(final, rest, steps):  # type: ignore[no-untyped-def]
    """Grow names into the pixels of `rest`, a pixel a step, in place; return those still left."""
    height, width = final.shape
    name = np.zeros(rest.size, dtype=final.dtype)
    count = rest.size
    for _ in range(steps):
        for i in range(count):
            row, col = rest[i] // width, rest[i] % width
            name[i] = 0
            for side in range(4):
                r = row + (side == 0) - (side == 1)
                c = col + (side == 2) - (side == 3)
                if 0 <= r < height and 0 <= c < width and final[r, c] != 0:
                    name[i] = final[r, c] if name[i] == 0 else min(name[i], final[r, c])
        kept = 0
        for i in range(count):
            if name[i] != 0:
                final[rest[i] // width, rest[i] % width] = name[i]
            else:
                rest[kept] = rest[i]
                kept += 1
        if kept == count:
            break
        count = kept
    return rest[:count]


@njit(**OPTIONS)
def _number_islands(labels, final, rest, island):  # type: ignore[no-untyped-def]
    """Give each component of what is left the number of its first pixel, in place."""
    height, width = final.shape
    stack = np.empty(rest.size, dtype=np.int64)
    for i in range(rest.size):
        first_row, first_col = rest[i] // width, rest[i] % width
        if final[first_row, first_col] != 0:
            continue
        name = final.dtype.type(island[0] + first_row * island[1] + first_col)
        final[first_row, first_col] = name
        stack[0], top = rest[i], 1
        while top:
            top -= 1
            row, col = stack[top] // width, stack[top] % width
            for side in range(4):
                r = row + (side == 0) - (side == 1)
                c = col + (side == 2) - (side == 3)
                inside = 0 <= r < height and 0 <= c < width
                if inside and final[r, c] == 0 and labels[r, c] == labels[row, col]:
                    final[r, c] = name
                    stack[top] = r * width + c
                    top += 1
