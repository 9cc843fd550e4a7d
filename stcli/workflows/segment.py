"""``segment``: a raster in, a raster of superpixel labels out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.output import OutputBand, OutputSpec
from stcli.segmentation.numbering import distinct
from stcli.segmentation.slic import KERNELS, Block, LabelSpace, halo, pixel_bytes, rehearse, slic
from stcli.settings import BandScaling, RunSettings, SlicSettings
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
from stcli.workflows.kernels import LOADED, compile_apart, loading
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Blocks, Step, resumable
from stcli.workflows.scaling import band_scaling, plan_scaling

#: Compiles the kernels of SLIC.
REHEARSAL = "from stcli.segmentation.slic import rehearse; rehearse()"
#: Nanoseconds of a pixel that is read, and how much more a core's takes: halos are worked on only
#: as far as they reach.
PIXEL, _TOIL = 50.0, 0.6


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
        spec = _spec(raster.info, path, slic_settings, settings, output)
        cost, found = _cost(raster.info, slic_settings), _Found(_cells(space))
        with resumable((spec,), raster.info.geobox, output) as product:
            # planned first: what the scaling's pass leaves in memory serves this one too
            work = product.plan(raster, cost, settings, halo(slic_settings))
            compile_apart(KERNELS, REHEARSAL, progress)
            with loading(rehearse):
                scaling = known or band_scaling(raster, settings, progress)
            used = {"slic": fields(slic_settings), "scaling": fields(scaling)}
            product.identify(**output.identity(inputs, verb="segment", **used))
            product.tag({SCALING: text_of(scaling)})
            function = SegmentStep(scaling, slic_settings, space, work.threads(settings))
            tally = product.run(work, Step(function, labels_of, "segment"), found.take, progress)
    return Segmented(path, found.count, report(work.budget, tally, time.perf_counter() - begun))


def plan_segment(
    inputs: Inputs,
    path: str,
    slic_settings: SlicSettings,
    settings: RunSettings,
    given: Given,
    *,
    output: Output | None = None,
) -> dict[str, Any]:
    """Say what `segment` would do: passes, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    output = output or Output()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        info = raster.info
        slic_settings = given.settings(slic_settings, info)
        spec = _spec(info, path, slic_settings, settings, output)
        passes = {}
        if given.band_scaling(info) is None:
            passes["scaling"] = plan_scaling(raster, settings)
        cost = writing(_cost(info, slic_settings), (spec,))
        passes["segment"] = plan_pass(raster, cost, settings, halo(slic_settings))
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


def _cells(space: LabelSpace) -> int:
    return space.cells[0] * space.cells[1]


def _cost(info: RasterInfo, settings: SlicSettings) -> Cost:
    """Bytes that a tile needs, and those that count labels."""
    labels = _cells(label_space(info, settings))  # a bit of each, and a byte of eight to add them
    return Cost(
        slic_bytes(info, settings),
        core_pixel=24,
        once=labels // 4,
        kernels=LOADED,
        pixel=PIXEL,
        toil=_TOIL,
    )


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


def labels_of(blocks: Blocks) -> NDArray[np.int64]:
    """List a tile's labels (label,), each once, rising."""
    return distinct(blocks[0][0])


def label_space(info: RasterInfo, settings: SlicSettings) -> LabelSpace:
    """Numbering of a raster's segments."""
    return LabelSpace(lattice_origin(info.geobox), info.shape, settings.step)


def slic_bytes(info: RasterInfo, settings: SlicSettings) -> int:
    """Bytes a pixel that reading and `slic` hold at their peak."""
    return info.count * info.dtype.itemsize + 1 + pixel_bytes(info.count, settings, info.shape)


class _Found:
    """Count distinct labels without a set of them all: one bit a lattice cell."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.seen = np.zeros(cells // 8 + 1, dtype=np.uint8)
        self.islands: set[int] = set()

    def take(self, tile: Tile, labels: NDArray[Any] | None) -> None:
        """Count a tile's distinct labels."""
        if labels is not None:
            low = labels <= self.cells
            place = labels[low & (labels > 0)].astype(np.int64)
            np.bitwise_or.at(self.seen, place >> 3, (1 << (place & 7)).astype(np.uint8))
            self.islands.update(int(label) for label in labels[~low])

    @property
    def count(self) -> int:
        return int(np.bitwise_count(self.seen).sum(dtype=np.int64)) + len(self.islands)
