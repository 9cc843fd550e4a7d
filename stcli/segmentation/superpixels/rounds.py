"""Rounds over packed cells: pixels are assigned, centres move.

A thread by itself lets rounds follow each other down the block (`waves`); several share the rows of
one round after the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stcli.lanes import WIDTH
from stcli.segmentation.superpixels.assign import adapt, assign, move, nowhere, start
from stcli.segmentation.superpixels.cells import Layout
from stcli.segmentation.superpixels.connectivity import REACH
from stcli.segmentation.superpixels.near import Cells, within
from stcli.segmentation.superpixels.team import Team
from stcli.segmentation.superpixels.waves import waves
from stcli.settings import BandScaling, SlicSettings

#: Compactness of the first round and at least, where each superpixel finds its own.
AUTO_START, AUTO_LEAST = 0.1, 0.01
#: Centres that are moved by several threads at least: fewer take less than a thread to wake.
_MANY = 5_000


def rounds(
    packed: tuple[NDArray[np.float32], NDArray[np.uint8]],
    bands: int,
    layout: Layout,
    settings: SlicSettings,
    team: Team,
    core: tuple[slice, slice] | None = None,
    fill: Callable[[int, int], None] = lambda first, last: None,
) -> Iterator[int]:
    """Assign pixels and move centres `settings.iterations` times; choices are made in place.

    Of a core only those cells are iterated on which can still reach it, two cells fewer around it
    each time: what is left out keeps older centres, which nothing that counts looks at.

    Parameters
    ----------
    packed : (ndarray of float32, ndarray of uint8)
        Pixels and choices, as `empty` makes them.
    bands : int
    layout : Layout
    settings : SlicSettings
    team : Team
    core : (slice, slice) or None
        Rows and columns of the block's pixels whose choices are wanted, and those of `REACH` cells
        around them; None for all.
    fill : callable
        ``fill(first, last)`` packs rows of cells, called once for each row before its pixels are
        looked at; by default they are packed already.

    Yields
    ------
    int
        Rows of cells from the first whose choices are final.
    """
    (pixels, choice), (rows, cols), place = packed, layout.cells, layout.place().ravel()
    least, weight, first = weights(settings, bands)
    adaptive, unit = settings.compactness == "auto", fixed_point(settings.step)
    centres = nowhere(rows, cols, bands)
    factor = np.full(centres.shape[1:] if adaptive else (0, 0), first, dtype=np.float32)
    auto = (0,) * adaptive
    totals = {
        a: np.zeros((b - a + 2, cols, bands + 3), dtype=np.int64) for a, b in team.parts(rows)
    }
    moved, touched = np.ones((2, rows, cols), dtype=np.bool_)
    spread = np.zeros((rows, cols, 9) if adaptive else (0, 0, 0), dtype=np.float32)
    numbers = settings.step, weight, unit
    state = centres, moved, touched, factor, spread
    lefts = reversed(range(settings.iterations))
    nears = [within(layout, core, REACH + 2 * left) for left in lefts]

    def begin(part: int, first: int, last: int) -> None:
        fill(first, last)
        start(pixels, place, unit, (part, first, last), choice, totals[part])

    def place_rows(part: int, first: int, last: int) -> None:
        move(totals[part], touched, unit, (part, first, last), centres, moved)

    def choose_rows(near: Cells, part: int, first: int, last: int) -> None:
        cells = part, first, last, near.cols.start // WIDTH * WIDTH, near.cols.stop
        assign(auto, pixels, place, numbers, cells, choice, totals[part], *state)

    def move_rows(part: int, first: int, last: int) -> None:
        place_rows(part, first, last)
        if adaptive:
            adapt(spread, least, first, last, factor, moved)

    if len(totals) == 1:
        for k, chosen, settled in waves([range(rows), *(near.rows for near in nears)]):
            if k == 0:
                begin(0, *chosen)
                place_rows(0, *settled)
            else:
                choose_rows(nears[k - 1], 0, *chosen)
                move_rows(0, *settled)
            if k == settings.iterations:
                yield chosen[1]
        return
    share = team.over if rows * cols >= _MANY else team.alone
    team.over(rows, lambda a, b: begin(a, a, b))
    share(rows, lambda a, b: place_rows(a, a, b))
    for near in nears:

        def half(a: int, b: int, near: Cells = near) -> None:
            choose_rows(near, a, *_overlap(near.rows, a, b))

        def other(a: int, b: int, near: Cells = near) -> None:
            move_rows(a, *_overlap(near.rows, a, b))

        team.over(rows, half)
        _take_over(list(totals.values()))
        share(rows, other)
    yield rows


def _overlap(rows: range, first: int, last: int) -> tuple[int, int]:
    return max(first, rows.start), min(last, rows.stop)


def _take_over(totals: list[NDArray[np.int64]]) -> None:
    """Let each part of the rows take over what the parts beside it added to its centres."""
    for above, below in itertools.pairwise(totals):
        above[-2] += below[0]
        below[1] += above[-1]
        below[0], above[-1] = 0, 0


def fixed_point(step: int) -> float:
    """Units in 1 of a centre's sums: as many as let the pixels of nine cells fit an int64."""
    pixels = 9 * step**2 * BandScaling.HELD
    return 2.0 ** min(34, 62 - math.ceil(math.log2(pixels)))


def weights(settings: SlicSettings, bands: int) -> tuple[np.float32, np.float32, np.float32]:
    """Say how a distance is weighed.

    Returns
    -------
    least, weight, factor : float32
        The distance of a pixel from a centre is ``factor · spectral + weight · position``, both
        sums of squares. With a given compactness the factor is 1; with ``"auto"`` it is first
        this, and then one over the largest spectral part among the centre's pixels, or `least`.
    """
    if settings.compactness == "auto":
        squares = bands * np.square([AUTO_LEAST, AUTO_START])
        return np.float32(squares[0]), np.float32(1 / settings.step**2), np.float32(1 / squares[1])
    weight = bands * (settings.compactness / settings.step) ** 2
    return np.float32(0), np.float32(weight), np.float32(1)
