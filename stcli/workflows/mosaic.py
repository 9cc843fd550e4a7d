"""Rasters side by side, or a Zarr, into one output, tile by tile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.raster.info import RasterInfo
from stcli.raster.mosaic import Mosaic
from stcli.raster.output import OutputBand, OutputSpec
from stcli.raster.read import open_raster
from stcli.settings import RunSettings
from stcli.workflows.job import Inputs, Output, Progress, report, silent
from stcli.workflows.merge_cube import cube_of, lay_cube
from stcli.workflows.nested import OwnMasks
from stcli.workflows.produce import Step, resumable


@dataclass(frozen=True)
class Copy:
    """The block function: what is valid in each band, and nodata elsewhere."""

    nodata: float

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Cut the core out of a block."""
        cut = block[(slice(None), *where.trim)].copy()
        np.copyto(cut, self.nodata, where=~valid[(..., *where.trim)])
        return [cut]


def mosaic(
    paths: Sequence[str],
    target: str,
    settings: RunSettings,
    *,
    output: Output | None = None,
    progress: Progress = silent,
) -> tuple[int, dict[str, Any]]:
    """Lay rasters of one grid side by side; where they overlap, the first named is on top.

    Each band by itself: a pixel of it comes from the first raster in which that band is valid.

    Parameters
    ----------
    paths : sequence of str
        Of one CRS and pixel size, bands and dtype.
    target : str
        The output, over all of them; a band is nodata where it is valid in none. NetCDF by its
        suffix.

    Returns
    -------
    int, dict
        Rasters laid, and how it ran.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun, output = time.perf_counter(), output or Output()
    inputs = Inputs(tuple(paths))
    with Mosaic([open_raster(path) for path in paths]) as raster:
        info, source = raster.info, OwnMasks(raster)
        nodata = _nodata(info)
        spec = OutputSpec(
            path=target,
            dtype=info.dtype.name,
            bands=tuple(OutputBand(name) for name in info.band_names),
            nodata=nodata,
            kind=_kind(info),
            creation_options=output.creation_options,
            overwrite=output.overwrite,
            tags=output.tags(info),
            driver=output.driver,
            threads=threads_of(settings),
        )
        pixel = info.count * info.dtype.itemsize
        cost = Cost(2 * pixel + 4 * info.count, core_pixel=3 * pixel)
        if output.netcdf(target):
            cube = cube_of(spec, output, [band.units for band in info.bands])
            work, tally = lay_cube(source, Copy(nodata), cube, cost, settings, progress)
            return len(paths), report(work.budget, tally, time.perf_counter() - begun)
        with resumable((spec,), info.geobox, output) as product:
            product.identify(**output.identity(inputs, verb="merge"))
            work = product.plan(source, cost, settings)
            step = Step(Copy(nodata), None, "merge")
            tally = product.run(work, step, _ignore, progress)
    return len(paths), report(work.budget, tally, time.perf_counter() - begun)


def _ignore(tile: Tile, summary: None) -> None:
    """Nothing is counted."""


def _nodata(info: RasterInfo) -> float:
    """Nodata of the output: the first band's, NaN for other floats, 0 for other integers."""
    found = info.bands[0].nodata
    if info.dtype.kind == "f" or info.bands[0].packed:
        return float("nan") if found is None or info.bands[0].packed else found
    return 0 if found is None else int(found)


def _kind(info: RasterInfo) -> Literal["labels", "continuous"]:
    """Overviews average floats only: integers may be labels or classes."""
    return "continuous" if info.dtype.kind == "f" else "labels"
