"""Objects of a label raster measured in one pass: geometry, bands, borders, texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Budget, Cost
from stcli.engine.run import Tally
from stcli.engine.tiling import Tile
from stcli.raster.reading.read import Raster
from stcli.segmentation.numbering import number
from stcli.segmentation.objects.adjacency import Borders, border_bytes
from stcli.segmentation.objects.shapes import SUMS, borders, shape_sums
from stcli.segmentation.objects.statistics import BandSums, band_bytes, band_sums
from stcli.segmentation.objects.texture import SUMS as TEXTURE_SUMS
from stcli.segmentation.objects.texture import levels, pair_sums
from stcli.settings import BandScaling, RunSettings
from stcli.workflows.job import Progress, plan_pass
from stcli.workflows.kernels import LOADED

#: Row weights of `shape_sums`: areas, lengths across, lengths down.
Weights = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Measures:
    """What is measured.

    Attributes
    ----------
    weights : Weights
    scene : Raster or None
        Bands on the label raster's grid.
    texture : BandScaling or None
        Low and high of each band for its grey levels; None for no texture.
    """

    weights: Weights
    scene: Raster | None = None
    texture: BandScaling | None = None

    @property
    def bands(self) -> int:
        """Bands of the scene."""
        return 0 if self.scene is None else self.scene.info.count

    @property
    def object_bytes(self) -> int:
        """Bytes an object of the sums."""
        texture = 8 * TEXTURE_SUMS * self.bands if self.texture else 0
        return 8 * SUMS + 16 + band_bytes(self.bands) + texture


class Measured:
    """Sums of all objects, in the order of their labels.

    Attributes
    ----------
    labels : ndarray of int64 (object,)
    sums, limits : ndarray (object, …)
        As `shape_sums` gives them.
    bands : BandSums
    texture : ndarray of int64 (object, band, sum)
    borders : Borders
    """

    def __init__(self, labels: NDArray[np.int64], measures: Measures) -> None:
        count = labels.size
        self.labels = labels
        self.sums = np.zeros((count, SUMS), np.int64)
        self.limits = np.empty((count, 4), np.int32)
        self.limits[:, ::2], self.limits[:, 1::2] = np.iinfo(np.int32).max, -1
        self.bands = BandSums.empty(count, measures.bands)
        textured = measures.bands if measures.texture else 0
        self.texture = np.zeros((count, textured, TEXTURE_SUMS), np.int64)
        self.borders = Borders(count)

    def add(self, part: _Part) -> None:
        """Add the sums of a tile."""
        index = part.index
        self.sums[index] += part.sums
        low, high = self.limits[index], part.limits
        self.limits[index, ::2] = np.minimum(low[:, ::2], high[:, ::2])
        self.limits[index, 1::2] = np.maximum(low[:, 1::2], high[:, 1::2])
        if part.bands is not None:
            self.bands.add(index, part.bands)
            self.texture[index] += part.texture
        self.borders.add(index[part.pairs], part.lengths)


@dataclass(frozen=True)
class _Part:
    """Sums of one tile; `index` places its objects among all."""

    index: NDArray[np.int64]
    sums: NDArray[np.int64]
    limits: NDArray[np.int32]
    bands: BandSums | None
    texture: NDArray[np.int64]
    pairs: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class MeasureStep:
    """The block function: the sums of a tile."""

    labels: NDArray[np.int64]
    measures: Measures

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> _Part:
        """Measure a block."""
        numbers, distinct = number(block[0])
        core, place, weights = core_of(where), place_of(where), self.measures.weights
        sums, limits = shape_sums(numbers, core, place, weights)
        pairs, lengths = borders(numbers, core, place[0], weights[1:])
        bands, texture = self._bands(numbers, where, distinct.size)
        index = np.searchsorted(self.labels, distinct)
        return _Part(index, sums, limits, bands, texture, pairs, lengths)

    def _bands(
        self, numbers: NDArray[np.int32], where: Tile, count: int
    ) -> tuple[BandSums | None, NDArray[np.int64]]:
        scene, scaling = self.measures.scene, self.measures.texture
        texture = np.zeros((count, self.measures.bands if scaling else 0, TEXTURE_SUMS), np.int64)
        if scene is None:
            return None, texture
        values, known = scene.read(where.read if scaling else where.core)
        if scaling is not None:
            for band, span in enumerate(zip(scaling.low, scaling.high, strict=True)):
                grey = levels(values[band], *span)
                texture[:, band] = pair_sums(numbers, grey, known, core_of(where))
            values, known = values[(slice(None), *where.trim)], known[where.trim]
        return band_sums(numbers[where.trim], values, known, count), texture


def core_of(where: Tile) -> tuple[int, int, int, int]:
    """Rows and columns of a tile's core in its block."""
    rows, cols = where.trim
    return rows.start, rows.stop, cols.start, cols.stop


def place_of(where: Tile) -> tuple[int, int]:
    """Row and column of a tile's block in the raster."""
    return int(where.read.row_off), int(where.read.col_off)


def measure(
    raster: Raster,
    labels: NDArray[np.int64],
    measures: Measures,
    settings: RunSettings,
    progress: Progress,
    more: int = 0,
) -> tuple[Measured, Budget, Tally]:
    """Measure the objects of a label raster in one pass.

    Parameters
    ----------
    raster : Raster
        One band of labels.
    labels : ndarray of int64 (object,)
        Its labels, rising.
    more : int
        Bytes that what follows will need beside the sums; kept free now.

    Raises
    ------
    InputError, BudgetError
    """
    cost = measure_cost(raster, labels.size, measures, more)
    work = plan_pass(raster, cost, settings, halo=1)
    measured = Measured(labels, measures)

    def sink(tile: Tile, part: _Part | None) -> None:
        if part is not None:
            measured.add(part)

    tally = work.run(MeasureStep(labels, measures), sink, "objects", progress)
    return measured, work.budget, tally


def measure_cost(raster: Raster, objects: int, measures: Measures, more: int = 0) -> Cost:
    """Bytes: the block, its numbers and hash tables; the scene's block; sums of all objects.

    A tile's own sums are reckoned for objects of half the mean size.
    """
    rows, cols = raster.info.shape
    a_pixel = min(1.0, 2 * objects / (rows * cols))
    part = (2 * measures.object_bytes + 24 * 4 * 3 + 48) * a_pixel
    read, core = raster.info.dtype.itemsize + 1 + 4 + part, 0
    if measures.scene is not None:
        info = measures.scene.info
        held = info.count * info.dtype.itemsize + 1
        read, core = (read + held + 9 + 8, held) if measures.texture else (read, 2 * held)
    once = objects * (8 + measures.object_bytes) + border_bytes(objects) + more
    return Cost(int(read) + 1, core, once=once, kernels=LOADED)
