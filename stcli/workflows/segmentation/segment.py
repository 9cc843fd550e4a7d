"""``segment``: a raster in, a raster of superpixel labels out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import threads_of
from stcli.engine.tiling import Tile
from stcli.raster.info import RasterInfo
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.segmentation.numbering import merged
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import KERNELS, halo, rehearse
from stcli.settings import RunSettings, SlicSettings
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
from stcli.workflows.kernels import compile_apart, loading
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Step, resumable
from stcli.workflows.scaling import band_scaling, plan_scaling
from stcli.workflows.segmentation.given import SCALING, Given, text_of
from stcli.workflows.segmentation.superpixels import (
    REHEARSAL,
    cells_of,
    label_space,
    labelling,
    labels_of,
    planned_tiles,
)


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
    given: Given = Given(),
    output: Output = Output(),
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
    begun = time.perf_counter()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        slic_settings = given.settings(slic_settings, raster.info)
        known = given.band_scaling(raster.info)
        space = label_space(raster.info, slic_settings)
        spec = _spec(raster.info, path, slic_settings, settings, output)
        found = _Found(space)
        with resumable((spec,), raster.info.geobox, output) as product:
            # planned first: what the scaling's pass leaves in memory serves this one too
            work, threads, rows = planned_tiles(
                lambda cost: product.plan(raster, cost, settings, halo(slic_settings)),
                raster,
                slic_settings,
                settings,
            )
            compile_apart(KERNELS, (REHEARSAL,), progress)
            with loading(lambda: rehearse([raster.info.dtype])):
                scaling = known or band_scaling(raster, settings, progress)
            used = {"slic": fields(slic_settings), "scaling": fields(scaling)}
            product.identify(**output.identity(inputs, verb="segment", **used))
            product.tag({SCALING: text_of(scaling)})
            function = labelling(raster, (scaling, slic_settings, space), threads, rows)
            step = Step(function, labels_of, "segment", merged)
            tally = product.run(work, step, found.take, progress)
    return Segmented(path, found.count, report(work.budget, tally, time.perf_counter() - begun))


def plan_segment(
    inputs: Inputs,
    path: str,
    slic_settings: SlicSettings,
    settings: RunSettings,
    given: Given,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `segment` would do: passes, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        info = raster.info
        slic_settings = given.settings(slic_settings, info)
        spec = _spec(info, path, slic_settings, settings, output)
        passes = {}
        if given.band_scaling(info) is None:
            passes["scaling"] = plan_scaling(raster, settings)
        passes["segment"], *_ = planned_tiles(
            lambda cost: plan_pass(raster, writing(cost, (spec,)), settings, halo(slic_settings)),
            raster,
            slic_settings,
            settings,
        )
    return planned(passes, (spec,), info.shape, output.shard)


def _spec(
    info: RasterInfo, path: str, slic_settings: SlicSettings, settings: RunSettings, output: Output
) -> OutputSpec:
    """Describe the output."""
    return OutputSpec(
        path=path,
        dtype=label_space(info, slic_settings).dtype.name,
        bands=(OutputBand("segment"),),
        nodata=0,
        kind="labels",
        creation_options=output.creation_options,
        overwrite=output.overwrite,
        tags=output.tags(info, slic=fields(slic_settings)),
        driver=output.driver,
        threads=threads_of(settings),
    )


class _Found:
    """Count distinct labels without a set of them all.

    A bit for each lattice cell; an island is numbered by its first pixel, and counts where that is.
    """

    def __init__(self, space: LabelSpace) -> None:
        self.cells, self.width = cells_of(space), space.shape[1]
        self.seen = np.zeros(self.cells // 8 + 1, dtype=np.uint8)
        self.islands = 0

    def take(self, tile: Tile, labels: NDArray[Any] | None) -> None:
        """Count a tile's distinct labels."""
        if labels is not None:
            low = labels <= self.cells
            place = labels[low & (labels > 0)].astype(np.int64)
            np.bitwise_or.at(self.seen, place >> 3, (1 << (place & 7)).astype(np.uint8))
            self.islands += self._begun(tile, labels[~low].astype(np.int64))

    def _begun(self, tile: Tile, islands: NDArray[np.int64]) -> int:
        """Count the islands whose first pixel is a tile's own."""
        row, col = np.divmod(islands - self.cells - 1, self.width)
        (top, bottom), (left, right) = tile.core.toranges()
        return int(((row >= top) & (row < bottom) & (col >= left) & (col < right)).sum())

    @property
    def count(self) -> int:
        return int(np.bitwise_count(self.seen).sum(dtype=np.int64)) + self.islands
