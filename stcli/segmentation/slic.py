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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.segmentation.assign import adapt, assign, move, nowhere, start
from stcli.segmentation.cells import LIMIT_BITS, Layout, empty, pack, unpack
from stcli.segmentation.connectivity import REACH, connect
from stcli.segmentation.kept import beyond
from stcli.segmentation.runs import find_runs, write_runs
from stcli.segmentation.team import Team
from stcli.settings import BandScaling, SlicSettings

#: Compactness of the first round and at least, where each superpixel finds its own.
AUTO_START, AUTO_LEAST = 0.1, 0.01
#: Centres that are moved by several threads at least: fewer take less than a thread to wake.
_MANY = 30_000


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
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    lattice: tuple[int, int]


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

    While centres move: packed pixels and choices, padding counted; a strip of float32 bands;
    totals, centres and marks of a cell. While fragments are settled: choices and the result; in the
    memory of the packed pixels, or beyond it, labels, and of each run two columns, its component,
    what settled and a scratch number; at worst every pixel is a run, and a fragment with borders or
    left over.

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
    moving = pixels + choices + padded * of_cell / cell + 4 * bands
    # labels, start, stop, parent, settled, scratch
    settling = pixels + choices + beyond(pixels, (4, 4, 4, 8, 4, 4)) + 8 + 20
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
        Label of the segment of each pixel, 0 where not valid. Exact at `halo(settings)` pixels
        from an edge of the block that is not an edge of the raster.
    """
    step, team = settings.step, Team(threads)
    corner = block.lattice[0] % step, block.lattice[1] % step
    layout = Layout(block.valid.shape, corner, step)
    choice = choose(block, scaling, settings, team)
    dtype = np.int32 if block.valid.size < 2**31 else np.int64
    team.memory.free()  # packed pixels are no longer needed
    labels = team.memory.array(block.valid.shape, dtype)
    team.over(layout.cells[0], lambda a, b: unpack(choice, corner, step, a, b, labels))
    at = [b - o for b, o in zip(block.lattice, space.origin, strict=True)]
    cells = space.cells[0] * space.cells[1]
    island = cells + 1 + at[0] * space.shape[1] + at[1]
    smallest = int(np.ceil(settings.min_size * settings.size))
    names = _names(block, layout, space)
    return connect(labels, smallest, step, names, (island, space.shape[1]), team)


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

    Returns
    -------
    ndarray of uint8 (cell row, cell col, lane)
        3·dr + dc for the cell dr - 1 rows and dc - 1 columns away, 255 for none, pixels packed
        as in `stcli.segmentation.cells`.
    """
    corner = block.lattice[0] % settings.step, block.lattice[1] % settings.step
    layout = Layout(block.valid.shape, corner, settings.step)
    bands = len(scaling.low)
    packed = empty(layout, bands, team.memory)
    rows = layout.cells[0]
    team.over(
        rows, lambda a, b: pack((block.values, block.valid), scaling, layout, packed, range(a, b))
    )
    iterate(packed, bands, layout, settings, team)
    return packed[1]


def iterate(
    packed: tuple[NDArray[np.float32], NDArray[np.uint8]],
    bands: int,
    layout: Layout,
    settings: SlicSettings,
    team: Team,
) -> None:
    """Assign pixels and move centres `settings.iterations` times; choices are made in place.

    Parameters
    ----------
    packed : (ndarray of float32, ndarray of uint8)
        Pixels and choices, as `empty` makes them.
    bands : int
    layout : Layout
    settings : SlicSettings
    team : Team
    """
    (pixels, choice), (rows, cols), place = packed, layout.cells, layout.place().ravel()
    least, weight, first = weights(settings, bands)
    adaptive, unit = settings.compactness == "auto", fixed_point(settings.step)
    centres = nowhere(rows, cols, bands)
    factor = np.full(centres.shape[1:] if adaptive else (0, 0), first, dtype=np.float32)
    auto = (0,) * adaptive
    totals = {
        a: np.empty((b - a + 2, cols, bands + 3), dtype=np.int64) for a, b in team.parts(rows)
    }
    moved, touched = np.ones((2, rows, cols), dtype=np.bool_)
    spread = np.zeros((rows, cols, 9) if adaptive else (0, 0, 0), dtype=np.float32)
    numbers = settings.step, weight, unit
    state = centres, moved, touched, factor, spread

    def begin(a: int, b: int) -> None:
        start(pixels, place, unit, a, b, choice, totals[a])

    def half(a: int, b: int) -> None:
        assign(auto, pixels, place, numbers, a, b, choice, totals[a], *state)

    def other(a: int, b: int) -> None:
        move(totals[a], touched, unit, a, b, centres, moved)
        if adaptive:
            adapt(spread, least, a, b, factor, moved)

    share = team.over if rows * cols >= _MANY else team.alone
    team.over(rows, begin)
    share(rows, lambda a, b: move(totals[a], touched, unit, a, b, centres, moved))
    for _ in range(settings.iterations):
        team.over(rows, half)
        _take_over(list(totals.values()))
        share(rows, other)


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
