"""Kernels that measure and merge objects, compiled beforehand for the data types of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.engine.tiling import TilePlan
from stcli.raster.ground import plain
from stcli.raster.reading.read import Raster
from stcli.segmentation.numbering import KERNELS as NUMBERING
from stcli.segmentation.numbering import distinct, number
from stcli.segmentation.objects.merge import KERNELS as MERGING
from stcli.segmentation.objects.merge import merge_levels
from stcli.segmentation.objects.percentiles import PixelStore
from stcli.segmentation.objects.polygons import KERNELS as OUTLINING
from stcli.segmentation.objects.polygons import CornerStore
from stcli.segmentation.objects.shapes import CORNERS, PIXELS, corners
from stcli.segmentation.objects.statistics import kernel_of
from stcli.settings import BandScaling, MergeSettings
from stcli.workflows.job import Progress
from stcli.workflows.kernels import compile_apart
from stcli.workflows.segmentation.levels import graph_of
from stcli.workflows.segmentation.measure import Measured, Measures, MeasureStep, core_of, place_of

#: Side of the raster that is rehearsed on, of its tiles and of its objects, in pixels.
_SIDE, _TILE, _OBJECT = 24, 16, 6


def compile_measuring(
    labels: Raster, scene: Raster | None, progress: Progress, merging: bool = False
) -> None:
    """Have kernels compiled that measure objects by the bands of a scene; see `compile_apart`.

    With those that merge them, if asked for.
    """
    own, bands = labels.info.dtype, None if scene is None else scene.info.dtype
    kernels = dict.fromkeys(OUTLINING, "") | dict.fromkeys(NUMBERING, own.name)
    if bands is not None:
        kernels |= {kernel_of(bands): bands.name} | dict.fromkeys(MERGING if merging else (), "")
    words = own.name, None if bands is None else bands.name, merging
    code = f"from stcli.workflows.segmentation.rehearsal import rehearse; rehearse{words!r}"
    compile_apart(tuple(kernels), (code,), progress, tuple(kernels.values()))


def rehearse(labels: str, bands: str | None, merging: bool) -> None:
    """Measure and outline the objects of a small raster, so that all kernels are compiled.

    Parameters
    ----------
    labels, bands : str
        Data types of labels and bands; None for no bands.
    merging : bool
        Merge them too.
    """
    rows, cols = np.indices((_SIDE, _SIDE)) // _OBJECT
    named = (1 + cols + _SIDE // _OBJECT * rows).astype(labels)
    weights, scaling = plain(_SIDE).weights, BandScaling((0.0, 0.0), (1.0, 1.0))
    if bands is None:
        _measured(named, Measures(weights))
        return
    scene: Any = _Still(np.stack([rows, cols]).astype(bands))
    for texture in (scaling, None):
        measured = _measured(named, Measures(weights, scene, texture))
    store, two = PixelStore(measured.sums[:, PIXELS], scene.values.dtype), np.zeros(2, np.int32)
    for values in (scene.values[:, named == 1], scene.values[:1, named == 1]):  # laid out otherwise
        store.add(two, values[0][:2])
    store.percentiles((50.0,))
    if merging:
        merge_levels(graph_of(measured, scaling), MergeSettings((1.0, 50.0)))


@dataclass(frozen=True)
class _Info:
    count: int
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Still:
    """Bands (band, row, col) that are read as a raster's are."""

    values: NDArray[Any]

    @property
    def info(self) -> _Info:
        return _Info(len(self.values), self.values.dtype)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        rows, cols = window.toslices()
        block = np.ascontiguousarray(self.values[:, rows, cols])
        return block, np.ones(block.shape[1:], np.bool_)


def _measured(labels: NDArray[Any], measures: Measures) -> Measured:
    """Measure and outline objects tile by tile."""
    source = _Still(labels[None])
    measured = Measured(np.unique(labels).astype(np.int64), measures)
    step, tiles = MeasureStep(measured.labels, measures), list(TilePlan(labels.shape, _TILE, 1))
    for tile in tiles:
        block, valid = source.read(tile.read)
        measured.add(step(block, valid, tile))
        distinct(block[0])
    store = CornerStore(measured.sums[:, CORNERS])
    for tile in tiles:
        numbers, found = number(source.read(tile.read)[0][0])
        index = np.searchsorted(measured.labels, found)
        store.add(index, *corners(numbers, core_of(tile), place_of(tile)))
    store.polygons(0, measured.labels.size)
    return measured
