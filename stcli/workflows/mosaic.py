"""Rasters side by side, or a Zarr, into one output, tile by tile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.raster.mosaic import Mosaic
from stcli.raster.netcdf_write import refuse_cube
from stcli.raster.output import OutputBand, OutputSpec
from stcli.raster.publish import refuse_output
from stcli.raster.read import open_raster
from stcli.settings import RunSettings
from stcli.workflows.gaps import nodata_of
from stcli.workflows.job import Inputs, Output, Progress, report, silent
from stcli.workflows.merge_cube import cube_of, lay_cube
from stcli.workflows.nested import OwnMasks
from stcli.workflows.produce import Step, resumable


@dataclass(frozen=True)
class Copy:
    """The block function: what is valid in each band, and nodata elsewhere.

    Attributes
    ----------
    nodata : float, int or None
        None where all pixels are valid.
    """

    nodata: float | int | None

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Cut the core out of a block."""
        cut = block[(slice(None), *where.trim)].copy()
        if self.nodata is not None:
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
    with Mosaic([open_raster(path) for path in paths]) as raster:
        info = raster.info
        spec = _spec(raster, target, output, threads_of(settings))
        _refuse_early(spec, output, info.geobox)
        pixel = info.count * info.dtype.itemsize
        cost = Cost(2 * pixel + 4 * info.count, core_pixel=3 * pixel)
        spec = replace(spec, nodata=nodata_of(raster, cost, settings, progress))
        source, copy = OwnMasks(raster), Copy(spec.nodata)
        if output.netcdf(target):
            cube = cube_of(spec, output, [band.units for band in info.bands])
            work, tally = lay_cube(source, copy, cube, cost, settings, progress)
            return len(paths), report(work.budget, tally, time.perf_counter() - begun)
        with resumable((spec,), info.geobox, output) as product:
            product.identify(**output.identity(Inputs(tuple(paths)), verb="merge"))
            work = product.plan(source, cost, settings)
            tally = product.run(work, Step(copy, None, "merge"), _ignore, progress)
    return len(paths), report(work.budget, tally, time.perf_counter() - begun)


def _ignore(tile: Tile, summary: None) -> None:
    """Nothing is counted."""


def _spec(raster: Mosaic, target: str, output: Output, threads: int) -> OutputSpec:
    """Say what the output is, but for its nodata value, which may take a look at all pixels."""
    info = raster.info
    return OutputSpec(
        path=target,
        dtype=info.dtype.name,
        bands=tuple(OutputBand(name) for name in info.band_names),
        nodata=None,
        kind="continuous" if info.dtype.kind == "f" else "labels",  # or classes: none is averaged
        creation_options=output.creation_options,
        overwrite=output.overwrite,
        tags=output.tags(info),
        driver=output.driver,
        threads=threads,
    )


def _refuse_early(spec: OutputSpec, output: Output, geobox: GeoBox) -> None:
    """Refuse an output that cannot be written before pixels are looked at."""
    if output.netcdf(spec.path):
        refuse_cube(cube_of(spec, output), geobox)
    else:
        refuse_output(spec)
