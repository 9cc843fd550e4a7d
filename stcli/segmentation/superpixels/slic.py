"""Superpixels of a block, held whole or read when they are needed.

SLIC superpixels whose seeds stand on a lattice anchored to the CRS grid.

A pixel of lattice cell c considers only the centres of the 3x3 cells around c, so a label never
leaves the 3x3 cells around its own, and an iteration reaches two cells. Nothing is defined by the
block: cells are cut on the lattice, centres are summed cell by cell in a fixed order, and the
position of a centre is kept as an offset from its own cell, so the same pixels give the same bits
in any block that holds `halo(settings)` pixels around them. The kernels are in `assign`, the order
in which they are called in `rounds`, the layout of the pixels that they read in `cells`, the rule
for fragments in `connectivity`, and all of it in plain NumPy in `reference`.

Source: Achanta et al. 2012, doi:10.1109/TPAMI.2012.120; the distance is
D² = mean over bands of (x - centre)² + compactness² · (distance / step)².
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.assign import assign
from stcli.segmentation.superpixels.cells import DIRECT, Layout, empty, pack
from stcli.segmentation.superpixels.connectivity import REACH
from stcli.segmentation.superpixels.feed import Feed, Read
from stcli.segmentation.superpixels.kept import beyond
from stcli.segmentation.superpixels.near import within
from stcli.segmentation.superpixels.rounds import rounds
from stcli.segmentation.superpixels.runs import find_runs, write_runs
from stcli.segmentation.superpixels.settle import Part, settle
from stcli.segmentation.superpixels.team import Team
from stcli.segmentation.superpixels.waves import held
from stcli.settings import BandScaling, SlicSettings

#: Bytes a pixel that are kept at least: labels and, where six pixels are a run, all of the runs.
_SETTLING = 12
#: Bytes a pixel of a strip whose fragments are settled: as `_SETTLING`, and the result; and at
#: worst: every pixel is a run (24), labels and result (12), a part of the fragments is left over
#: (20 each), for which there must be pixels without a label beside them, which are no runs.
_SETTLING_STRIP, _WORST_STRIP = 16, 40
#: Rows of labels of a streamed block are multiples of this, as the blocks of outputs mostly are;
#: and how many times the reach of the fragment rule they are at least, where they are few or many:
#: what lies within reach of them is settled with them.
_STRIP, _REACHES = 512, (2, 6)


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


@dataclass(frozen=True)
class Stream:
    """A part of the raster whose pixels are read when they are needed.

    Attributes
    ----------
    read : callable
        ``read(first, last)`` gives values (band, row, col) and validity (row, col) of some rows.
    stops : sequence of int
        After which rows reading pauses, rising; the last is the number of all rows.
    shape, lattice, core
        As of `Block`; the core is never None.
    """

    read: Read
    stops: Sequence[int]
    shape: tuple[int, int]
    lattice: tuple[int, int]
    core: tuple[slice, slice]


def halo(settings: SlicSettings) -> int:
    """Pixels around a block that make its labels exact.

    Two cells an iteration (see the module), then the reach of the fragment rule.
    """
    return (2 * settings.iterations + REACH) * settings.step


#: Of a rehearsal.
_SCALING = BandScaling((0, 0), (128, 128))
#: Some of its compiled kernels, the first and the last among them.
KERNELS = (assign, find_runs, write_runs)


def rehearse(dtypes: Sequence[Any] = DIRECT) -> None:
    """Segment a small block of each data type, so that all kernels are compiled."""
    valid = np.ones((64, 64), dtype=np.bool_)
    settings = SlicSettings(100)
    space = LabelSpace((0, 0), (64, 64), settings.step)
    for dtype in dtypes:
        values = np.arange(2 * 64 * 64).reshape(2, 64, 64) % 128
        slic(Block(values.astype(dtype), valid, (0, 0)), _SCALING, settings, space)


def pixel_bytes(bands: int, settings: SlicSettings, shape: tuple[int, int]) -> int:
    """Bytes a pixel that `slic` holds at its peak, beside the block, from what it allocates.

    While centres move: packed pixels, as if those of all rows were held, and choices, padding
    counted; a strip of float32 bands; totals, centres and marks of a cell; and room that the result
    of the block before has left for this one's. While fragments are
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
    of_cell = _cell_bytes(bands, settings)
    pixels, choices = padded * 4 * bands * lanes / cell, padded * lanes / cell
    kept = max(pixels, _SETTLING)
    moving = kept + choices + padded * of_cell / cell + 4 * bands + 8
    # labels, start, stop, parent, settled, scratch
    settling = kept + choices + beyond(kept, (4, 4, 4, 8, 4, 4)) + 8 + 20
    return math.ceil(max(moving, settling))


def strip_rows(settings: SlicSettings) -> tuple[int, int]:
    """Rows of labels that `slic_strips` may give at a time: few, and as many as are sooner done."""
    few, many = (-(-n * REACH * settings.step // _STRIP) * _STRIP for n in _REACHES)
    return few, many


def strip_bytes(
    bands: int, settings: SlicSettings, cols: int, rows: int
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Bytes that `slic_strips` holds at its peak, beside what is read, from what it allocates.

    Parameters
    ----------
    cols : int
        Columns of the raster: cells stand out beyond it, which counts where it is small.
    rows : int
        Of labels that are given at a time.

    Returns
    -------
    pixel : int
        Bytes a pixel of the block: choices, padding counted; totals, centres and marks of a cell.
    strips : tuple of (int, int)
        Rows, and bytes for each of their pixels: packed pixels that rounds are at, and labels and
        runs that are settled.
    """
    step = settings.step
    side = min(cols, 2 * halo(settings) + step)
    padded = (side + 2 * step) / side
    cell, lanes = step**2, Layout((1, 1), (0, 0), step).lanes
    of_cell = lanes + _cell_bytes(bands, settings)
    ring = held(1 + settings.iterations, 1 << 30) * step
    packed = padded * 4 * bands * lanes / cell
    settled = rows + 2 * (REACH + 1) * step
    strips = (ring, math.ceil(packed)), (settled, _WORST_STRIP)
    return math.ceil(padded * of_cell / cell), strips


def _cell_bytes(bands: int, settings: SlicSettings) -> int:
    """Bytes of a cell's totals, centre and marks."""
    return 8 * (bands + 3) + 4 * (bands + 3) + 2 + (40 if settings.compactness == "auto" else 0)


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
    team = Team(threads)
    choice = choose(block, scaling, settings, team)
    core = block.core or (slice(0, block.valid.shape[0]), slice(0, block.valid.shape[1]))
    part = Part(choice, _layout(block.valid.shape, block.lattice, settings.step), block.lattice)
    return settle(part, core, settings, space, team)


def slic_strips(
    stream: Stream, scaling: BandScaling, settings: SlicSettings, space: LabelSpace, rows: int
) -> Iterator[NDArray[Any]]:
    """Segment a block whose rows are read when rounds come to them.

    Parameters
    ----------
    rows : int
        Of labels that are given at a time; they do not change the result.

    Yields
    ------
    ndarray (row, col) of ``space.dtype``
        As `slic` gives, of `rows` rows of the core from the top, the last of those that are left.
        What it holds is lost with the next.
    """
    layout, core = _layout(stream.shape, stream.lattice, settings.step), stream.core
    team, bands = Team(1), len(scaling.low)
    some = held(1 + settings.iterations, layout.cells[0])
    around = min(rows + 2 * (REACH + 1) * settings.step, stream.shape[0])
    settling = _SETTLING_STRIP * around * stream.shape[1]
    team.memory.reserve(layout.choice_bytes + some * layout.row_bytes(bands) + settling)
    packed = empty(layout, bands, team.memory, some)
    feed = Feed(stream.read, stream.stops, scaling, layout, packed)
    ready, last = rounds(packed, bands, layout, settings, team, core, feed), 0
    part = Part(packed[1], layout, stream.lattice)
    for top in range(core[0].start, core[0].stop, rows):
        strip = slice(top, min(top + rows, core[0].stop)), core[1]
        while last < within(layout, strip, REACH).rows.stop:
            last = next(ready)
        with team.memory.back():
            yield settle(part, strip, settings, space, team, keep=True)


def _layout(shape: tuple[int, ...], lattice: tuple[int, int], step: int) -> Layout:
    rows, cols = shape
    return Layout((rows, cols), (lattice[0] % step, lattice[1] % step), step)


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
        as in `cells`. Final within the reach of the fragment rule of the core. It is in memory that
        the team keeps.
    """
    layout, bands = _layout(block.valid.shape, block.lattice, settings.step), len(scaling.low)
    some = rows = layout.cells[0]
    if team.threads == 1:
        some = held(1 + settings.iterations, rows)
    moving, settling = some * layout.row_bytes(bands), _SETTLING * block.valid.size
    team.memory.reserve(layout.choice_bytes + max(moving, settling))
    packed = empty(layout, bands, team.memory, some)

    def fill(first: int, last: int) -> None:
        pack((block.values, block.valid), scaling, layout, packed, range(first, last))

    for _ in rounds(packed, bands, layout, settings, team, block.core, fill):
        pass
    team.memory.free(packed[0])
    return packed[1]
