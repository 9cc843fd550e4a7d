"""``unwhiten --along time``: whitened dates and the spectra that whitened them back to dates."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.tiling import Tile
from stcli.noise.time.dates import Dates
from stcli.noise.time.groups import unwhiten_group
from stcli.raster.info import lattice_origin
from stcli.raster.reading.read import Raster
from stcli.raster.reading.timecube import Cube, cube_of
from stcli.raster.tables.spectra import SpectraFile, SpectraLayout, open_spectra
from stcli.raster.writing.cubeparts import CubeForm
from stcli.raster.writing.netcdf_write import refuse_cube
from stcli.raster.writing.output import OutputSpec
from stcli.settings import RunSettings
from stcli.workflows.job import Inputs, Output, Progress, plan_pass, refuse_clash, report, silent
from stcli.workflows.noise.dated_output import cube_bands, cube_spec, tiff_spec
from stcli.workflows.noise.whiten import WhitenedRaster, cost
from stcli.workflows.noise.whiten_groups import (
    group_windows,
    places_of,
    refuse_apart,
    stored_spectrum,
)
from stcli.workflows.noise.whiten_report import refuse_other, refuse_units
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Blocks, Step, resumable, unheard
from stcli.workflows.target import refuse_shard


def unwhiten_time(
    inputs: Inputs,
    path: str,
    spectra: str,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
    dates: tuple[str, ...] = (),
) -> WhitenedRaster:
    """Turn whitened dates back into those they came from.

    Parameters
    ----------
    inputs : Inputs
        A result of `whiten_time`.
    path : str
    spectra : str
        File of spectra written beside it.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_clash([*inputs.paths, spectra], [path])
    with inputs.open() as raster, open_spectra(spectra) as file:
        layout, geobox = file.layout, raster.info.geobox
        cube, places = _matched(raster, file, dates)
        spec, form = _spec(cube, path, output, layout), _form(cube, path, output, layout)
        with resumable((spec,), geobox, output, form=form) as product:
            work = product.plan(raster, cost(cube, layout), settings, align=layout.share)
            product.identify(
                **output.identity(
                    replace(inputs, paths=(*inputs.paths, spectra)),
                    verb="unwhiten",
                    along="time",
                    dates=list(dates),
                )
            )
            step = Step(_Job(places, layout, file).tile, stage="unwhiten")
            tally = product.run(replace(work, source=cube), step, unheard, progress)
    return WhitenedRaster(path, {}, report(work.budget, tally, time.perf_counter() - begun))


def plan_unwhiten_time(
    inputs: Inputs,
    path: str,
    spectra: str,
    settings: RunSettings,
    *,
    dates: tuple[str, ...],
    output: Output,
) -> dict[str, Any]:
    """Say what `unwhiten_time` would do: its pass, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash([*inputs.paths, spectra], [path])
    with inputs.open() as raster, open_spectra(spectra) as file:
        cube, _ = _matched(raster, file, dates)
        spec = _spec(cube, path, output, file.layout)
        need = writing(cost(cube, file.layout), (spec,))
        work = plan_pass(raster, need, settings, align=file.layout.share)
        cubes = output.netcdf(path)
        return planned({"unwhiten": work}, (spec,), raster.info.shape, output.shard, cubes)


def _spec(cube: Cube, path: str, output: Output, layout: SpectraLayout) -> OutputSpec:
    return tiff_spec(cube, path, output, layout.units, unwhiten="time")


def _form(cube: Cube, path: str, output: Output, layout: SpectraLayout) -> CubeForm | None:
    """How parts end that are a NetCDF at last.

    Raises
    ------
    UsageError, OutputError
    """
    if not output.netcdf(path):
        return None
    refuse_shard(path, output)
    attrs = layout.attrs or ({},) * len(layout.bands)
    variables = cube_bands(cube, layout.bands, attrs, layout.units)
    spec = cube_spec(cube, path, output, variables, unwhiten="time")
    refuse_cube(spec, cube.raster.info.geobox)
    steps, bands = len(cube.times.values), len(cube.variables)
    return CubeForm(spec, np.arange(steps * bands).reshape(steps, bands))


def _matched(raster: Raster, file: SpectraFile, dates: tuple[str, ...]) -> tuple[Cube, Dates]:
    """Sort a raster's bands into dates and variables, on the lattice of a file of spectra.

    Bands that have the names which whitening gave them lie as they lay there: the names of a
    GeoTIFF hold neither hours nor a calendar.

    Raises
    ------
    UsageError, InputError
        The file was not made for such a cube.
    """
    info, layout = raster.info, file.layout
    if layout.axis is not None and not dates and info.band_names == layout.names:
        order = np.arange(info.count).reshape(-1, len(layout.bands))
        cube = Cube(raster, layout.bands, layout.axis, tuple(map(tuple, order.tolist())))
        found = Dates(layout.places, layout.step)
        _refuse_others(layout, cube.variables, info, file.path)
    else:
        cube = cube_of(raster, dates)
        _refuse_others(layout, cube.variables, info, file.path)
        found = places_of(np.array(cube.times.values), layout, file.path)
    refuse_units(cube.variables, [info.bands[p].units for p in cube.places[0]], info.path)
    refuse_other(info.tags, info.path, file)
    return cube, found


def _refuse_others(layout: SpectraLayout, variables: tuple[str, ...], info: Any, path: str) -> None:
    first = tuple(o // layout.share for o in lattice_origin(info.geobox))
    refuse_apart(
        path,
        ("bands", layout.bands, variables),
        ("rows and columns", layout.shape, info.shape),
        ("first block", layout.first, first),
    )


@dataclass(frozen=True)
class _Job:
    """The block function."""

    dates: Dates
    layout: SpectraLayout
    file: SpectraFile

    def tile(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Blocks:
        """Unwhiten a tile: (date · band, row, col) in a list of one."""
        values = block.reshape(-1, len(self.layout.bands), *block.shape[1:])
        level, rest = self.file.get_pixels(where.core)
        out = np.full(values.shape, np.nan, block.dtype)
        for v in range(values.shape[1]):
            for place, rows, cols in group_windows(where, self.layout):
                part = values[:, v, rows, cols]
                if np.isfinite(part).any():
                    kept = (
                        level[v, rows, cols].ravel(),
                        rest[v][:, rows, cols].reshape(rest.shape[1], -1),
                    )
                    spectrum = stored_spectrum(self.file, (v, *place))
                    flat = part.reshape(len(part), -1)
                    found = unwhiten_group(flat, kept, self.dates, spectrum)
                    out[:, v, rows, cols] = found.reshape(part.shape)
        return [out.reshape(block.shape)]
