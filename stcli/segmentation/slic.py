"""SLIC superpixels whose seeds stand on a lattice anchored to the CRS grid.

A pixel of lattice cell c considers only the centres of the 3x3 cells around c, so a label never
leaves the 3x3 cells around its own, and an iteration reaches two cells. Nothing is defined by the
block: cells are cut on the lattice, centres are summed cell by cell in a fixed order, and the
position of a centre is kept as an offset from its own cell, so the same pixels give the same bits
in any block that holds `halo(settings)` pixels around them. The kernels are in `assign`, the
layout of the pixels that they read in `cells`, the rule for fragments in `connectivity`, and all
of it in plain NumPy in `reference`.

Source: Achanta et al. 2012, doi:10.1109/TPAMI.2012.120; the distance is
D² = mean over bands of (x - centre)² + compactness² · (distance / step)².
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.lanes import WIDTH
from stcli.segmentation.assign import adapt, assign, move, nowhere, start
from stcli.segmentation.cells import LIMIT_BITS, Layout, empty, pack, unpack
from stcli.segmentation.connectivity import REACH, connect
from stcli.segmentation.kept import beyond
from stcli.segmentation.runs import find_runs, write_runs
from stcli.segmentation.team import Team
from stcli.segmentation.waves import held, waves
from stcli.settings import BandScaling, SlicSettings

#: Compactness of the first round and at least, where each superpixel finds its own.
AUTO_START, AUTO_LEAST = 0.1, 0.01
#: Bytes a pixel that are kept at least: labels and, where six pixels are a run, all of the runs.
_SETTLING = 12
#: Centres that are moved by several threads at least: fewer take less than a thread to wake.
_MANY = 5_000


@dataclass(frozen=True)
class LabelSpace:
    """How labels are numbered: by lattice cell, row by row over the raster, from 1.

    A fragment that no kept segment touches (an island in nodata) is numbered after all cells, by
    its first pixel; so labels are unique in the raster without looking at another block.

    Attributes
    ----------
    origin : (int, int)
        Lattice position of the raster's first pixel.
    shape : (int, int)
        Rows and columns of the raster.
    step : int
        Pixels between seeds.
    """

    origin: tuple[int, int]
    shape: tuple[int, int]
    step: int

    @property
    def first(self) -> tuple[int, int]:
        """Row and column of the raster's first cell."""
        return self.origin[0] // self.step, self.origin[1] // self.step

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells that the raster touches."""
        rows, cols = (
            (o + n - 1) // self.step - f + 1
            for o, n, f in zip(self.origin, self.shape, self.first, strict=True)
        )
        return rows, cols

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint32, or int64 where labels would not fit."""
        largest = self.cells[0] * self.cells[1] + self.shape[0] * self.shape[1]
        return np.dtype(np.uint32 if largest < 2**32 else np.int64)


@dataclass(frozen=True)
class Block:
    """Pixels of a part of the raster.

    Attributes
    ----------
    values : ndarray (band, row, col)
        Any real dtype; ignored where not valid.
    valid : ndarray of bool (row, col)
    lattice : (int, int)
        Lattice position of the first pixel.
    core : (slice, slice) or None
        Rows and columns whose labels are wanted, with bounds; None for all.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    lattice: tuple[int, int]
    core: tuple[slice, slice] | None = None


def halo(settings: SlicSettings) -> int:
    """Pixels around a block that make its labels exact.

    Two cells an iteration (see the module), then the reach of the fragment rule.
    """
    return (2 * settings.iterations + REACH) * settings.step


#: Some of its compiled kernels, the first and the last among them.
KERNELS = (assign, find_runs, write_runs)


def rehearse() -> None:
    """Segment a small block, so that all kernels are compiled."""
    values = np.arange(2 * 64 * 64, dtype=np.uint16).reshape(2, 64, 64)
    valid = np.ones((64, 64), dtype=np.bool_)
    settings = SlicSettings(100)
    space = LabelSpace((0, 0), (64, 64), settings.step)
    slic(Block(values, valid, (0, 0)), BandScaling((0, 0), (8192, 8192)), settings, space)


def pixel_bytes(bands: int, settings: SlicSettings, shape: tuple[int, int]) -> int:
    """Bytes a pixel that `slic` holds at its peak, beside the block, from what it allocates.

    While centres move: packed pixels, as if those of all rows were held, and choices, padding
    counted; a strip of float32 bands; totals, centres and marks of a cell. While fragments are
    settled: choices and the result; in the memory of the packed pixels, or beyond it, labels, and
    of each run two columns, its component, what settled and a scratch number; at worst every pixel
    is a run, and a fragment with borders or left over.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the raster: cells stand out beyond it, which counts where it is small.
    """
    around = [min(side, 2 * halo(settings) + settings.step) for side in shape]
    padded = math.prod((side + 2 * settings.step) / side for side in around)
    cell, lanes = settings.step**2, Layout((1, 1), (0, 0), settings.step).lanes
    of_cell = 8 * (bands + 3) + 4 * (bands + 3) + 2 + (40 if settings.compactness == "auto" else 0)
    pixels, choices = padded * 4 * bands * lanes / cell, padded * lanes / cell
    kept = max(pixels, _SETTLING)
    moving = kept + choices + padded * of_cell / cell + 4 * bands
    # labels, start, stop, parent, settled, scratch
    settling = kept + choices + beyond(kept, (4, 4, 4, 8, 4, 4)) + 8 + 20
    return math.ceil(max(moving, settling))


def slic(
    block: Block,
    scaling: BandScaling,
    settings: SlicSettings,
    space: LabelSpace,
    threads: int = 1,
) -> NDArray[Any]:
    """Segment a block.

    Parameters
    ----------
    threads : int
        Threads that share the block; none of them changes the result.

    Returns
    -------
    ndarray (row, col) of ``space.dtype``
        Label of the segment of each pixel of the core, 0 where not valid. Exact at
        `halo(settings)` pixels from an edge of the block that is not an edge of the raster.
    """
    step, team = settings.step, Team(threads)
    layout = _layout(block, step)
    choice = choose(block, scaling, settings, team)
    dtype = np.int32 if block.valid.size < 2**31 else np.int64
    team.memory.free()  # packed pixels are no longer needed
    near = _within(layout, block.core, REACH)
    part = near.pixels(layout)
    labels = team.memory.array(tuple(s.stop - s.start for s in part), dtype)
    first, last = near.rows.start, near.rows.stop
    ways = step, layout.corner, near.cols.start, near.cols.stop
    at = part[0].start, part[1].start
    team.over(last - first, lambda a, b: unpack(choice, ways, first + a, first + b, at, labels))
    place = [b - o + p for b, o, p in zip(block.lattice, space.origin, at, strict=True)]
    cells = space.cells[0] * space.cells[1]
    island = cells + 1 + place[0] * space.shape[1] + place[1]
    smallest = int(np.ceil(settings.min_size * settings.size))
    names = _names(block, layout, space)
    found = connect(labels, smallest, step, names, (island, space.shape[1]), team)
    return found if block.core is None else found[_inside(block.core, at)]


@dataclass(frozen=True)
class _Cells:
    """A rectangle of a block's cells."""

    rows: range
    cols: range

    def pixels(self, layout: Layout) -> tuple[slice, slice]:
        """Rows and columns of the block's pixels that lie in these cells."""
        rows, cols = (
            slice(max(span.start * layout.step - at, 0), min(span.stop * layout.step - at, size))
            for span, at, size in zip(
                (self.rows, self.cols), layout.corner, layout.shape, strict=True
            )
        )
        return rows, cols


def _layout(block: Block, step: int) -> Layout:
    rows, cols = block.valid.shape
    return Layout((rows, cols), (block.lattice[0] % step, block.lattice[1] % step), step)


def _within(layout: Layout, core: tuple[slice, slice] | None, reach: int) -> _Cells:
    """Cells that lie within `reach` cells of a core's."""
    if core is None:
        return _Cells(range(layout.cells[0]), range(layout.cells[1]))
    rows, cols = (
        range(
            max((at + part.start) // layout.step - reach, 0),
            min((at + part.stop - 1) // layout.step + 1 + reach, count),
        )
        for part, at, count in zip(core, layout.corner, layout.cells, strict=True)
    )
    return _Cells(rows, cols)


def _inside(core: tuple[slice, slice], at: tuple[int, int]) -> tuple[slice, slice]:
    """Slices of a core in a part of its block that begins at a pixel."""
    rows, cols = (
        slice(part.start - first, part.stop - first) for part, first in zip(core, at, strict=True)
    )
    return rows, cols


def _names(block: Block, layout: Layout, space: LabelSpace) -> NDArray[Any]:
    """Label in the raster of each cell of a block, cells counted from 1; 0 for 0."""
    first = [at // space.step - f for at, f in zip(block.lattice, space.first, strict=True)]
    rows, cols = (np.arange(n) + f for n, f in zip(layout.cells, first, strict=True))
    names = rows[:, None] * space.cells[1] + cols + 1
    return np.concatenate([[0], names.ravel()]).astype(space.dtype)


def choose(
    block: Block, scaling: BandScaling, settings: SlicSettings, team: Team
) -> NDArray[np.uint8]:
    """Choose for each pixel one of the nine cells around its own.

    A thread by itself packs a row of cells when the first round comes to it, and holds it until the
    last one has left it, so that pixels stay in cache.

    Returns
    -------
    ndarray of uint8 (cell row, cell col, lane)
        3·dr + dc for the cell dr - 1 rows and dc - 1 columns away, 255 for none, pixels packed
        as in `stcli.segmentation.cells`. Final within the reach of the fragment rule of the core.
    """
    layout, bands = _layout(block, settings.step), len(scaling.low)
    some = rows = layout.cells[0]
    if team.threads == 1:
        some = held(1 + settings.iterations, rows, layout.row_bytes(bands))
    team.memory.reserve(_SETTLING * block.valid.size)
    packed = empty(layout, bands, team.memory, some)

    def fill(first: int, last: int) -> None:
        pack((block.values, block.valid), scaling, layout, packed, range(first, last))

    iterate(packed, bands, layout, settings, team, block.core, fill)
    return packed[1]


def iterate(
    packed: tuple[NDArray[np.float32], NDArray[np.uint8]],
    bands: int,
    layout: Layout,
    settings: SlicSettings,
    team: Team,
    core: tuple[slice, slice] | None = None,
    fill: Callable[[int, int], None] = lambda first, last: None,
) -> None:
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
    nears = [_within(layout, core, REACH + 2 * left) for left in lefts]

    def begin(part: int, first: int, last: int) -> None:
        fill(first, last)
        start(pixels, place, unit, (part, first, last), choice, totals[part])

    def place_rows(part: int, first: int, last: int) -> None:
        move(totals[part], touched, unit, (part, first, last), centres, moved)

    def choose_rows(near: _Cells, part: int, first: int, last: int) -> None:
        cells = part, first, last, near.cols.start // WIDTH * WIDTH, near.cols.stop
        assign(auto, pixels, place, numbers, cells, choice, totals[part], *state)

    def move_rows(part: int, first: int, last: int) -> None:
        place_rows(part, first, last)
        if adaptive:
            adapt(spread, least, first, last, factor, moved)

    if len(totals) == 1:
        rounds = [range(rows), *(near.rows for near in nears)]
        for k, chosen, settled in waves(rounds, layout.row_bytes(bands)):
            if k == 0:
                begin(0, *chosen)
                place_rows(0, *settled)
            else:
                choose_rows(nears[k - 1], 0, *chosen)
                move_rows(0, *settled)
        return
    share = team.over if rows * cols >= _MANY else team.alone
    team.over(rows, lambda a, b: begin(a, a, b))
    share(rows, lambda a, b: place_rows(a, a, b))
    for near in nears:

        def half(a: int, b: int, near: _Cells = near) -> None:
            choose_rows(near, a, *_overlap(near.rows, a, b))

        def other(a: int, b: int, near: _Cells = near) -> None:
            move_rows(a, *_overlap(near.rows, a, b))

        team.over(rows, half)
        _take_over(list(totals.values()))
        share(rows, other)


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
    return 2.0 ** min(34, 62 - LIMIT_BITS - math.ceil(math.log2(9 * step**2)))


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
