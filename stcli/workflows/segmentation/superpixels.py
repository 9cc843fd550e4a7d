"""Superpixels of a raster's tiles: what a tile costs, how tiles are chosen, and the tile's step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.engine.work import Source, Strip
from stcli.errors import BudgetError
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.reading.read import Raster
from stcli.segmentation.numbering import distinct
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import (
    Block,
    Stream,
    pixel_bytes,
    slic,
    slic_strips,
    strip_bytes,
    strip_rows,
)
from stcli.settings import BandScaling, RunSettings, SlicSettings
from stcli.workflows.kernels import LOADED
from stcli.workflows.passes import Pass
from stcli.workflows.produce import Blocks

#: Compiles the kernels of SLIC.
REHEARSAL = "from stcli.segmentation.superpixels.slic import rehearse; rehearse()"
#: Nanoseconds of a pixel that is read, and how much more a core's takes: halos are worked on only
#: as far as they reach.
PIXEL, _TOIL = 50.0, 0.6
#: Rows that are read at a time at least.
_READ = 128
#: Pixels read, over those of smaller needs, up to which strips are high, which saves a tenth, and
#: tiles held whole.
_LARGER = 1.1


def planned_tiles(
    plan: Callable[[Cost], Pass], raster: Raster, slic_settings: SlicSettings, settings: RunSettings
) -> tuple[Pass, int, int]:
    """Choose tiles, how many threads share each, and the rows of labels that are made at a time.

    A tile is read and segmented strip by strip by one thread; by low strips where those allow much
    larger tiles. Where that leaves processors idle, a tile is held whole and shared, if the memory
    allows one as large.

    Raises
    ------
    BudgetError
    """
    few, many = strip_rows(slic_settings)
    work, rows = plan(_streamed(raster, slic_settings, few)), few
    with contextlib.suppress(BudgetError):
        high = plan(_streamed(raster, slic_settings, many))
        if high.budget.overcompute < _LARGER * work.budget.overcompute:
            work, rows = high, many
    if work.threads(settings) > 1:
        with contextlib.suppress(BudgetError):
            whole = plan(_whole(raster.info, slic_settings))
            if whole.budget.overcompute < _LARGER * work.budget.overcompute:
                return whole, whole.threads(settings), rows
    return work, 1, rows


def _streamed(raster: Raster, settings: SlicSettings, rows: int) -> Cost:
    """Bytes that a tile needs that is segmented strip by strip, and time that it takes."""
    info = raster.info
    pixel, strips = strip_bytes(info.count, settings, info.shape[1], rows)
    read = info.count * info.dtype.itemsize + 1
    return Cost(
        read_pixel=pixel,
        # of labels: where islands' numbers lie far apart they are listed by a table
        strips=(*strips, (_rows_read(raster), read), (rows, 12)),
        # the part, packed in memory that grows by a tenth at a time
        core_pixel=label_space(info, settings).dtype.itemsize + 1,
        **_common(info, settings),
    )


def _whole(info: RasterInfo, settings: SlicSettings) -> Cost:
    """Bytes that a tile needs that is held whole, and time that it takes."""
    return Cost(slic_bytes(info, settings), core_pixel=24, **_common(info, settings))


def _common(info: RasterInfo, settings: SlicSettings) -> dict[str, Any]:
    """Bytes of what counts labels and of kernels, and time."""
    labels = cells_of(label_space(info, settings))  # a bit of each, and a byte of eight to add them
    return {"once": labels // 4, "kernels": LOADED, "pixel": PIXEL, "toil": _TOIL}


def _rows_read(raster: Raster) -> int:
    """Rows of a strip that is read at a time: whole rows of the files' blocks."""
    rows = raster.block_rows
    return rows * -(-_READ // rows) if rows else raster.info.shape[0]


def labelling(
    raster: Raster,
    how: tuple[BandScaling, SlicSettings, LabelSpace],
    threads: int,
    rows: int,
) -> SegmentStep | StripStep:
    """Make the step of a tile: shared by threads, or by strips of so many rows of labels."""
    return SegmentStep(*how, threads) if threads > 1 else StripStep(*how, _rows_read(raster), rows)


@dataclass(frozen=True)
class SegmentStep:
    """The block function: labels of a tile's core, (1, row, col) in a list of one."""

    scaling: BandScaling
    settings: SlicSettings
    space: LabelSpace
    threads: int = 1

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Segment a block."""
        part = Block(block, valid, where.lattice, where.trim)
        return [slic(part, self.scaling, self.settings, self.space, self.threads)[None]]


@dataclass(frozen=True)
class StripStep:
    """The strip function: labels of a tile's core, (1, row, col) a strip.

    Attributes
    ----------
    read : int
        Rows of the raster that are read at a time, from multiples of this.
    rows : int
        Rows of labels that are made at a time.
    """

    scaling: BandScaling
    settings: SlicSettings
    space: LabelSpace
    read: int
    rows: int

    def strips(self, source: Source, where: Tile) -> Iterator[Strip]:
        """Segment a tile as it is read."""
        around = where.read
        top, height = around.row_off, around.height

        def read(first: int, last: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            return source.read(Window(around.col_off, top + first, around.width, last - first))

        inner = range(self.read - top % self.read, height, self.read)
        shape = height, around.width
        stream = Stream(read, [*inner, height], shape, where.lattice, where.trim)
        for labels in slic_strips(stream, self.scaling, self.settings, self.space, self.rows):
            yield labels[None], bool(labels.any())


def labels_of(blocks: Blocks) -> NDArray[np.int64]:
    """List a tile's labels (label,), each once, rising."""
    return distinct(blocks[0][0])


def label_space(info: RasterInfo, settings: SlicSettings) -> LabelSpace:
    """Numbering of a raster's segments."""
    return LabelSpace(lattice_origin(info.geobox), info.shape, settings.step)


def slic_bytes(info: RasterInfo, settings: SlicSettings) -> int:
    """Bytes a pixel that reading and `slic` hold at their peak."""
    return info.count * info.dtype.itemsize + 1 + pixel_bytes(info.count, settings, info.shape)


def cells_of(space: LabelSpace) -> int:
    """Count the lattice cells that a raster touches."""
    return space.cells[0] * space.cells[1]
