"""``downscale``: a coarse raster in, a finer one that agrees with it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from stcli.downscaling.conserve import conserve, residual
from stcli.downscaling.interpolation import halo, interpolate
from stcli.engine.memory import Cost, Grid, budget, processors
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.read import Raster
from stcli.settings import DownscaleSettings, RunSettings
from stcli.workflows.conserve import Conserving
from stcli.workflows.job import Inputs, Output, Pass, Progress, refuse_clash, report, silent
from stcli.workflows.nested import EachBand
from stcli.workflows.segment import WRITER
from stcli.workflows.target import Target


@dataclass(frozen=True)
class Downscaled:
    """What came out: where, by which method, how well it agrees with its input, how it ran."""

    output: str
    method: str
    factor: int
    conserve: str
    residual: float
    run: dict[str, Any]


class Upscaler(Protocol):
    """What makes a tile's bands finer, one after the other."""

    @property
    def name(self) -> str:
        """What the output says was run."""

    @property
    def halo(self) -> int:
        """Coarse pixels that a tile reads around its core."""

    @property
    def align(self) -> int:
        """Coarse pixels of the lattice at whose multiples tiles are cut."""

    def bytes(self, info: RasterInfo, factor: int) -> Cost:
        """State what it needs beside the block read and the block written."""

    def fine(self, block: NDArray[Any], where: Tile) -> Iterator[NDArray[Any]]:
        """Yield each band of the core, (row * factor, col * factor), NaN for no value."""


@dataclass(frozen=True)
class Interpolation:
    """An upscaler that needs nothing but the band itself.

    Attributes
    ----------
    how : DownscaleSettings
    """

    how: DownscaleSettings
    align: int = 1

    @property
    def name(self) -> str:
        """The method."""
        return self.how.method

    @property
    def halo(self) -> int:
        """See `stcli.downscaling.interpolation.halo`."""
        return halo(self.how)

    def bytes(self, info: RasterInfo, factor: int) -> Cost:
        """One band's filled values, residuals, sums and filter results, as float64."""
        return Cost(7 * 8, core_pixel=8 * (factor**2 + 2 * factor))

    def fine(self, block: NDArray[Any], where: Tile) -> Iterator[NDArray[Any]]:
        """Interpolate band by band."""
        for band in block:
            yield interpolate(band, self.how, where.trim)


def downscale(
    inputs: Inputs,
    path: str,
    how: DownscaleSettings,
    settings: RunSettings,
    *,
    output: Output | None = None,
    progress: Progress = silent,
) -> Downscaled:
    """Make a raster finer by a whole factor.

    Parameters
    ----------
    inputs : Inputs
    path : str
        Fine raster to write: float32, NaN for no value; its grid is the input's with pixels
        divided by the factor.
    how : DownscaleSettings
    settings : RunSettings

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun, output = time.perf_counter(), output or Output()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        upscaler = Interpolation(how)
        target = Target.of(raster, path, output, threads=settings.jobs or processors())
        target = target.saying(method=upscaler.name, factor=how.factor, conserve=how.conserve)
        target.refuse(grid := finer(raster.info.geobox, how.factor))
        work = plan(raster, upscaler, how, settings)
        worst = [0.0]
        with target.create(grid) as write:

            def sink(tile: Tile, result: tuple[NDArray[Any], float] | None) -> None:
                if result is not None:
                    write(magnified(tile.core, how.factor), result[0])
                    worst[0] = max(worst[0], result[1])

            step = _Step(upscaler, how, raster.info.path)
            tally = work.run(step, sink, "downscale", progress)
            if tally.empty == tally.tiles:
                raise InputError(
                    f"{raster.info.path}: no valid pixel found, one at least is wanted."
                )
    ran = report(work.budget, tally, time.perf_counter() - begun)
    return Downscaled(path, upscaler.name, how.factor, how.conserve, worst[0], ran)


def finer(geobox: GeoBox, factor: int) -> GeoBox:
    """Divide a grid's pixels: the transform times ``scale(1 / factor)``, to the bit."""
    rows, cols = (int(n) * factor for n in geobox.shape)
    return GeoBox((rows, cols), geobox.transform @ Affine.scale(1 / factor), geobox.crs)


def magnified(window: Window, factor: int) -> Window:
    """Window of the fine raster that a window of the coarse one becomes."""
    edges = (window.col_off, window.row_off, window.width, window.height)
    return Window(*(factor * edge for edge in edges))


def plan(raster: Raster, upscaler: Upscaler, how: DownscaleSettings, settings: RunSettings) -> Pass:
    """Choose tiles of the coarse raster for an upscaler.

    Raises
    ------
    BudgetError
    """
    info = raster.info
    grid = Grid(info.shape, upscaler.halo, upscaler.align, lattice_origin(info.geobox))
    return Pass(EachBand(raster), budget(grid, _cost(raster, upscaler, how), settings))


def _cost(raster: Raster, upscaler: Upscaler, how: DownscaleSettings) -> Cost:
    """Bytes a coarse pixel: what is read; the output twice, and one band being conserved."""
    info, own = raster.info, upscaler.bytes(raster.info, how.factor)
    read = info.count * (info.dtype.itemsize + 1 + EachBand(raster).dtype.itemsize) + 1
    core = how.factor**2 * (2 * 4 * info.count + 8 * 8)
    return Cost(read + own.read_pixel, core + own.core_pixel, own.worker, WRITER + own.once)


@dataclass(frozen=True)
class _Step:
    """The block function: each band made finer and conserved; and the largest residual."""

    upscaler: Upscaler
    how: DownscaleSettings
    path: str

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[Any], float]:
        how, core = self.how, block[:, where.trim[0], where.trim[1]]
        Conserving(how.conserve, how.limits).refuse_unreachable(core, self.path)
        rows, cols = (how.factor * n for n in core.shape[1:])
        written, worst = np.empty((len(core), rows, cols), np.float32), 0.0
        for band, fine in enumerate(self.upscaler.fine(block, where)):
            written[band] = conserve(fine, core[band], how.factor, how.conserve, how.limits)
            apart = residual(written[band], core[band], how.factor)[1]
            worst = max(worst, float(np.nanmax(apart, initial=0.0)))
        return written, worst
