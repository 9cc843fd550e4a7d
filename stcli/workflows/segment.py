"""``segment``: a raster in, a raster of superpixel labels out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import MB, Cost, processors
from stcli.engine.tiling import Tile
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.output import OutputBand, OutputSpec
from stcli.raster.write import create_raster, refuse_output
from stcli.segmentation.slic import Block, LabelSpace, halo, slic
from stcli.settings import BandScaling, RunSettings, SlicSettings
from stcli.workflows.job import (
    Inputs,
    Output,
    Progress,
    fields,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.scaling import band_scaling

#: Bytes of the COG driver's buffers while the output is finished.
WRITER = 96 * MB


@dataclass(frozen=True)
class Segmented:
    """What came out: the label raster, its segments, and how it ran."""

    output: str
    segments: int
    run: dict[str, Any]


def segment(
    inputs: Inputs,
    path: str,
    slic_settings: SlicSettings,
    settings: RunSettings,
    *,
    output: Output | None = None,
    progress: Progress = silent,
) -> Segmented:
    """Segment a raster into SLIC superpixels.

    Parameters
    ----------
    inputs : Inputs
    path : str
        Label raster to write: uint32 (int64 where needed), 0 = none, nodata 0.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun, output = time.perf_counter(), output or Output()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        space = label_space(raster.info, slic_settings)
        spec = OutputSpec(
            path=path,
            dtype=space.dtype.name,
            bands=(OutputBand("segment"),),
            nodata=0,
            kind="labels",
            creation_options=output.creation_options,
            overwrite=output.overwrite,
            tags=output.tags(raster.info, slic=fields(slic_settings)),
            threads=settings.jobs or processors(),
        )
        refuse_output(spec)
        scaling = band_scaling(raster, settings, progress)
        cells = space.cells[0] * space.cells[1]
        cost = Cost(slic_bytes(raster.info), core_pixel=24, once=WRITER + cells)
        work = plan_pass(raster, cost, settings, halo(slic_settings))
        found = _Found(cells)
        step = SegmentStep(scaling, slic_settings, space)
        with create_raster(spec, raster.info.geobox) as writer:

            def sink(tile: Tile, results: list[NDArray[Any]] | None) -> None:
                if results is not None:
                    found.add(results[0])
                    writer.write(tile.core, results[0])

            tally = work.run(step, sink, "segment", progress)
    return Segmented(path, found.count, report(work.budget, tally, time.perf_counter() - begun))


@dataclass(frozen=True)
class SegmentStep:
    """The block function: labels of a tile's core, (1, row, col) in a list of one."""

    scaling: BandScaling
    settings: SlicSettings
    space: LabelSpace

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Segment a block."""
        labels = slic(Block(block, valid, where.lattice), self.scaling, self.settings, self.space)
        return [labels[where.trim].copy()[None]]


def label_space(info: RasterInfo, settings: SlicSettings) -> LabelSpace:
    """Numbering of a raster's segments."""
    return LabelSpace(lattice_origin(info.geobox), info.shape, settings.step)


def slic_bytes(info: RasterInfo) -> int:
    """Bytes a pixel that reading and `slic` hold at their peak, from what they allocate.

    The block and its valid mask; scaled float32 bands; the choice; nine partial sums a cell of
    at least four pixels are bounded by the connectivity pass: int64 labels and stack, int32
    components, and per-pixel temporaries of the final numbering.
    """
    block = info.count * info.dtype.itemsize + 1
    return block + 4 * info.count + 1 + 9 * 8 * (info.count + 3) // 36 + 8 + 8 + 4 + 8 + 8


class _Found:
    """Count distinct labels without a set of them all: one byte a lattice cell."""

    def __init__(self, cells: int) -> None:
        self.seen = np.zeros(cells + 1, dtype=np.bool_)
        self.islands: set[int] = set()

    def add(self, labels: NDArray[Any]) -> None:
        distinct = np.unique(labels)
        low = distinct < len(self.seen)
        self.seen[distinct[low]] = True
        self.islands.update(int(label) for label in distinct[~low])

    @property
    def count(self) -> int:
        return int(self.seen[1:].sum()) + len(self.islands)
