"""``segment``: a raster in, a raster of superpixel labels out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import MB, Cost, processors
from stcli.engine.tiling import Tile
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.output import OutputBand, OutputSpec
from stcli.raster.write import create_raster, refuse_output
from stcli.segmentation.slic import Block, LabelSpace, halo, pixel_bytes, slic
from stcli.settings import RunSettings, SlicSettings
from stcli.workflows.given import SCALING, Given, text_of
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
    given: Given | None = None,
    output: Output | None = None,
    progress: Progress = silent,
) -> Segmented:
    """Segment a raster into SLIC superpixels.

    Parameters
    ----------
    inputs : Inputs
    path : str
        Label raster to write: uint32 (int64 where needed), 0 = none, nodata 0. It keeps the band
        scaling as the tag ``STCLI_SCALING``.
    given : Given or None
        A size in ground units, a band scaling; by default neither.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun, output, given = time.perf_counter(), output or Output(), given or Given()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        slic_settings = given.settings(slic_settings, raster.info)
        known = given.band_scaling(raster.info)
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
        scaling = known or band_scaling(raster, settings, progress)
        spec = replace(spec, tags=spec.tags | {SCALING: text_of(scaling)})
        cells = space.cells[0] * space.cells[1]
        cost = Cost(slic_bytes(raster.info, slic_settings), core_pixel=24, once=WRITER + cells)
        work = plan_pass(raster, cost, settings, halo(slic_settings))
        found, threads = _Found(cells), work.threads(settings)
        with create_raster(spec, raster.info.geobox) as writer:

            def function(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
                part = Block(block, valid, where.lattice)
                return slic(part, scaling, slic_settings, space, threads)[where.trim].copy()

            def sink(tile: Tile, labels: NDArray[Any] | None) -> None:
                if labels is not None:
                    found.add(labels)
                    writer.write(tile.core, labels[None])

            tally = work.run(function, sink, "segment", progress)
    return Segmented(path, found.count, report(work.budget, tally, time.perf_counter() - begun))


def label_space(info: RasterInfo, settings: SlicSettings) -> LabelSpace:
    """Numbering of a raster's segments."""
    return LabelSpace(lattice_origin(info.geobox), info.shape, settings.step)


def slic_bytes(info: RasterInfo, settings: SlicSettings) -> int:
    """Bytes a pixel that reading and `slic` hold at their peak."""
    return info.count * info.dtype.itemsize + 1 + pixel_bytes(info.count, settings, info.shape)


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
