"""Rasters side by side, or a Zarr, into one output, tile by tile."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.raster.reading.mosaic import Mosaic
from stcli.raster.reading.read import open_raster
from stcli.raster.writing.hidden import is_own
from stcli.raster.writing.legend import Colour, read_colours
from stcli.raster.writing.netcdf_write import refuse_cube
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.publish import refuse_output
from stcli.settings import RunSettings
from stcli.workflows.each_band import OwnMasks
from stcli.workflows.files.gaps import nodata_of
from stcli.workflows.files.merge_cube import cube_form, cube_of
from stcli.workflows.job import Inputs, Output, Progress, report, silent
from stcli.workflows.legends import Legend, one_legend
from stcli.workflows.produce import Step, resumable, unheard

logger = logging.getLogger("stcli")

#: Formats that have no colours.
_COLOURLESS = ("netCDF", "Zarr")


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
    output: Output = Output(),
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
    begun = time.perf_counter()
    with Mosaic([open_raster(path) for path in paths]) as raster:
        info = raster.info
        names = one_legend(raster.rasters)
        spec = _spec(raster, target, output, threads_of(settings))
        spec = _classed(spec, names, raster)
        _refuse_early(spec, output, info.geobox)
        pixel = info.count * info.dtype.itemsize
        cost = Cost(2 * pixel + 4 * info.count, core_pixel=3 * pixel)
        spec = replace(spec, nodata=nodata_of(raster, cost, settings, progress, names))
        source, copy = OwnMasks(raster), Copy(spec.nodata)
        form = cube_form(spec, output) if output.netcdf(target) else None
        with resumable((spec,), info.geobox, output, form=form) as product:
            product.identify(**output.identity(Inputs(tuple(paths)), verb="merge"))
            work = product.plan(source, cost, settings)
            tally = product.run(work, Step(copy, None, "merge"), unheard, progress)
    return len(paths), report(work.budget, tally, time.perf_counter() - begun)


def _spec(raster: Mosaic, target: str, output: Output, threads: int) -> OutputSpec:
    """Say what the output is, but for its nodata value, which may take a look at all pixels."""
    info = raster.info
    return OutputSpec(
        path=target,
        dtype=info.dtype.name,
        bands=_bands(raster),
        nodata=None,
        kind="continuous" if info.dtype.kind == "f" else "labels",
        creation_options=output.creation_options,
        overwrite=output.overwrite,
        tags=output.tags(info),
        driver=output.driver,
        threads=threads,
    )


def _bands(raster: Mosaic) -> tuple[OutputBand, ...]:
    _tell_names(raster)
    pairs = zip(raster.info.band_names, _units(raster), strict=True)
    return tuple(OutputBand(name, units=units) for name, units in pairs)


def _tell_names(raster: Mosaic) -> None:
    """Warn of bands that one file names otherwise than another; a single one is named as it is."""
    given = [_given(each.info.band_names) for each in raster.rasters]
    bands = enumerate(zip(*given, strict=True), start=1)
    apart = [
        (k, found) for k, names in bands if len(found := dict.fromkeys(filter(None, names))) > 1
    ]
    if apart and raster.info.count > 1:
        number, found = apart[0]
        logger.warning(
            "%s: band %d is named %s%s; the first raster's names are taken, "
            "is it the same variable?",
            *(raster.info.path, number, " and ".join(found)),
            f", and {len(apart) - 1} more are named apart" if len(apart) > 1 else "",
        )


def _given(names: Sequence[str]) -> list[str]:
    """Give the names that a file has of its own; '' for a band that is named by its number."""
    return ["" if name == f"band {k}" else name for k, name in enumerate(names, start=1)]


def _units(raster: Mosaic) -> list[str | None]:
    """Give each band's unit where all rasters have it in the same; warn of others."""
    given = [[band.units for band in each.info.bands] for each in raster.rasters]
    kept: list[str | None] = []
    for name, units in zip(raster.info.band_names, zip(*given, strict=True), strict=True):
        found = {unit or "1" for unit in units}
        if len(found) > 1:
            logger.warning(
                "%s: %s has the units %s, so that the output has none; is it the same variable?",
                *(raster.info.path, name, " and ".join(sorted(found))),
            )
        kept.append(found.pop() if len(found) == 1 else None)
    return [None if unit == "1" else unit for unit in kept]


def _classed(spec: OutputSpec, names: Legend, raster: Mosaic) -> OutputSpec:
    """Give a single band of whole numbers the classes' names and the first colours there are."""
    colours: dict[int, Colour] = {}
    if len(spec.bands) == 1 and spec.dtype in ("uint8", "uint16"):
        paths = (each.info.path for each in raster.rasters if each.info.driver not in _COLOURLESS)
        colours = next(filter(None, map(read_colours, paths)), {})
    if not names and not colours:
        return spec
    categories = tuple(names.get(value, "") for value in range(max(names, default=-1) + 1))
    band = replace(spec.bands[0], colors=colours or None, categories=categories or None)
    return replace(spec, bands=(band,), kind="classes")


def _refuse_early(spec: OutputSpec, output: Output, geobox: GeoBox) -> None:
    """Refuse an output that cannot be written before pixels are looked at."""
    spec = replace(spec, overwrite=spec.overwrite or is_own(spec.path))
    if output.netcdf(spec.path):
        refuse_cube(cube_of(spec, output), geobox)
    else:
        refuse_output(spec)
