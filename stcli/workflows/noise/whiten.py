"""``whiten --along time``: a raster of dates in, its whitened dates out."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.machine import MB
from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.noise.time.dates import Dates
from stcli.noise.time.diagonal import Sums, verdict
from stcli.noise.time.groups import whiten_group
from stcli.noise.time.spectrum import Spectrum
from stcli.raster.pictures.plots import counts_of
from stcli.raster.reading.timecube import Cube, cube_of
from stcli.raster.tables.spectra import SpectraFile, SpectraLayout, create_spectra, open_spectra
from stcli.raster.writing.draft import drafts_beside, refuse_file
from stcli.raster.writing.netcdf_write import CubeBand
from stcli.raster.writing.publish import refuse_name
from stcli.settings import RunSettings, WhitenSettings
from stcli.settings.checking import check
from stcli.workflows.empty import none_valid
from stcli.workflows.job import (
    Inputs,
    Output,
    Progress,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.noise.dated_output import cube_bands, dated_output, tiff_spec
from stcli.workflows.noise.whiten_groups import (
    dates_of,
    group_windows,
    layout_of,
    same_layout,
    stored_spectrum,
    whitened_attrs,
)
from stcli.workflows.noise.whiten_report import draw, refuse_failed, total_of
from stcli.workflows.passes import planned

#: Bytes of what a run loads and keeps whatever its size: compiled kernels and their compiler,
#: HDF5 with the chunk caches of three files, the writer, the draws of the report.
FIXED = 384 * MB


@dataclass(frozen=True)
class Spectra:
    """Where spectra come from and go to, and what else is asked of them.

    Attributes
    ----------
    known : str or None
        File of spectra to whiten by.
    out : str or None
        File of spectra to write, which unwhitening needs.
    strict : bool
        Refuse to write what fails the checks.
    plot : str or None
        PNG to draw.
    dates : tuple of str
        ISO dates of the bands, in place of those found.
    step : float or None
        Seconds between the samples of series that have no times.
    """

    known: str | None = None
    out: str | None = None
    strict: bool = False
    plot: str | None = None
    dates: tuple[str, ...] = ()
    step: float | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            check(0 < self.step < math.inf, "--step", self.step, "> 0 and finite")

    @property
    def beside(self) -> tuple[str, ...]:
        """Files to write beside the result: they appear with it or not at all."""
        return tuple(filter(None, (self.out, self.plot)))


@dataclass(frozen=True)
class WhitenedRaster:
    """What came out: the file, how white it is, and how it ran."""

    output: str
    report: dict[str, Any]
    run: dict[str, Any]


def whiten_time(
    inputs: Inputs,
    path: str,
    whiten: WhitenSettings,
    settings: RunSettings,
    *,
    spectra: Spectra = Spectra(),
    output: Output = Output(),
    progress: Progress = silent,
) -> WhitenedRaster:
    """Whiten every pixel's series of dates.

    Parameters
    ----------
    inputs : Inputs
        Dates as bands, of one variable or several.
    path : str
        NetCDF where it ends in .nc, else GeoTIFF with a band a date and variable.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, CheckError
    """
    begun = time.perf_counter()
    output = output.taking_up(path, *spectra.beside)
    _refuse_clash(inputs, path, spectra, output)
    with inputs.open() as raster:
        cube = cube_of(raster, spectra.dates)
        dates = dates_of(np.array(cube.times.values), raster.info.path, whiten)
        layout = layout_of(cube, dates, whiten)
        work = plan(cube, layout, settings)
        sheet, beside = _Sheet(layout, spectra.plot is not None), spectra.beside
        with (
            drafts_beside(path, beside, output.overwrite) as hidden,
            dated_output(
                *(cube, path, output, _whitened(cube, layout)), beside=hidden, whiten="time"
            ) as writer,
            _opened(spectra, layout, made := dict(zip(beside, hidden, strict=True))) as (
                known,
                out,
            ),
        ):
            job = _Job(cube, dates, whiten, layout, known)
            tally = work.run(
                job.tile, lambda t, r: sheet.take(t, r, writer, out), "whiten", progress
            )
            found = sheet.judge(raster.info.path)
            if out is not None:
                out.note(found)
            writer.note("stcli_diagonal", json.dumps(found))
            refuse_failed(found, spectra.strict, path)
            if spectra.plot:
                assert sheet.first is not None  # `judge` has looked
                draw(made[spectra.plot], sheet.first.spectrum, sheet.counts, layout)
    return WhitenedRaster(path, found, report(work.budget, tally, time.perf_counter() - begun))


def plan_whiten_time(
    inputs: Inputs,
    path: str,
    whiten: WhitenSettings,
    settings: RunSettings,
    *,
    spectra: Spectra,
    output: Output,
) -> dict[str, Any]:
    """Say what `whiten_time` would do: its pass, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    _refuse_clash(inputs, path, spectra, output)
    with inputs.open() as raster:
        cube = cube_of(raster, spectra.dates)
        dates = dates_of(np.array(cube.times.values), raster.info.path, whiten)
        work = plan(cube, layout_of(cube, dates, whiten), settings)
        spec, shape = tiff_spec(cube, path, output, whiten="time"), raster.info.shape
        return planned({"whiten": work}, (spec,), shape, output.shard, output.netcdf(path))


def _refuse_clash(inputs: Inputs, path: str, spectra: Spectra, output: Output) -> None:
    read = filter(None, [spectra.known])
    refuse_clash([*inputs.paths, *read], [path, *spectra.beside])
    if spectra.plot:
        refuse_name(spectra.plot, "PNG")
    for made in spectra.beside:
        refuse_file(made, output.overwrite)


@dataclass(frozen=True)
class _Group:
    """What comes of one group: its place, and what is stored and summed."""

    where: tuple[int, int, int]
    spectrum: Spectrum
    sums: Sums | None


@dataclass(frozen=True)
class _Tiled:
    """What comes of a tile."""

    values: NDArray[Any]  # (date, band, row, col)
    level: NDArray[Any]  # (band, row, col)
    rest: NDArray[Any]  # (band, place, row, col)
    groups: list[_Group]


@dataclass(frozen=True)
class _Job:
    """The block function: a tile's series, group by group."""

    cube: Cube
    dates: Dates
    settings: WhitenSettings
    layout: SpectraLayout
    known: SpectraFile | None

    def tile(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> _Tiled:
        """Whiten a tile."""
        count = len(self.cube.variables)
        values = block.reshape(-1, count, *block.shape[1:])
        level = np.zeros(values.shape[1:], np.float64)
        frame_size = self.layout.rows * self.layout.times
        rest = np.full((count, frame_size, *block.shape[1:]), np.nan, block.dtype)
        out = np.full(values.shape, np.nan, block.dtype)
        groups = []
        for v in range(count):
            for place, rows, cols in group_windows(where, self.layout):
                part = values[:, v, rows, cols]
                if not np.isfinite(part).any():
                    continue
                key = (v, *place)
                found = whiten_group(
                    part.reshape(len(part), -1), self.dates, self.settings, self._spectrum(key)
                )
                out[:, v, rows, cols] = found.values.reshape(part.shape)
                level[v, rows, cols] = found.level.reshape(part.shape[1:])
                rest[v][:, rows, cols] = found.rest.reshape(-1, *part.shape[1:])
                groups.append(_Group(key, found.spectrum, found.sums))
        return _Tiled(out, level, rest, groups)

    def _spectrum(self, key: tuple[int, int, int]) -> Spectrum | None:
        return None if self.known is None else stored_spectrum(self.known, key)


class _Sheet:
    """What is known of a whitening when its tiles are done."""

    def __init__(self, layout: SpectraLayout, drawn: bool) -> None:
        self.layout, self._drawn = layout, drawn
        self._sums: dict[int, Sums] = {}
        self.groups, self.silent = 0, 0
        self.first: _Group | None = None
        self.counts = counts_of(np.empty(0))

    def take(self, tile: Tile, result: _Tiled | None, writer: Any, out: SpectraFile | None) -> None:
        """Store a tile's result and sum up its groups."""
        if result is None:
            return
        writer.write(tile.core, result.values)
        if out is not None:
            out.put_pixels(tile.core, result.level, result.rest)
            for group in result.groups:
                out.put(group.where, (group.spectrum.density, group.spectrum.relative))
        self.groups += len(result.groups)
        self.silent += sum(group.sums is None for group in result.groups)
        sums = [group.sums for group in result.groups if group.sums is not None]
        if sums:
            self._sums[tile.index] = total_of(sums)
        if self._drawn and result.groups:
            known = result.groups if self.first is None else [self.first, *result.groups]
            self.first = min(known, key=lambda group: group.where)
            self.counts += counts_of(result.values)

    def judge(self, path: str) -> dict[str, Any]:
        """Judge all groups together.

        Raises
        ------
        InputError
            There is no valid pixel, or every series is constant.
        """
        if not self.groups:
            raise none_valid(path)
        if not self._sums:
            raise InputError(f"{path}: every series is constant, noise to measure is wanted")
        found = verdict(total_of([self._sums[k] for k in sorted(self._sums)]))
        return {**found, "groups": self.groups, "constant_groups": self.silent}


def plan(cube: Cube, layout: SpectraLayout, settings: RunSettings) -> Any:
    """Plan the pass, with its memory.

    See `cost`.
    """
    work = plan_pass(cube.raster, cost(cube, layout), settings, align=layout.share)
    return replace(work, source=cube)


def cost(cube: Cube, layout: SpectraLayout) -> Cost:
    """Bytes of whitening or unwhitening a tile.

    Reading holds stored values, their masks, and the sorted copy; a tile's result its dates and
    its rest; a group five float64 arrays of its frames at the transform's peak.
    """
    count, size = cube.raster.info.count, 8
    place = layout.rows * layout.times * len(layout.bands)
    read = count * (2 * cube.raster.info.dtype.itemsize + 2 + size)
    return Cost(
        read_pixel=read,
        core_pixel=count * size + place * size + 8 * len(layout.bands),
        worker=layout.share**2 * layout.rows * layout.times * 8 * 12,
        once=FIXED,
    )


def _whitened(cube: Cube, layout: SpectraLayout) -> tuple[CubeBand, ...]:
    """Describe whitened variables: numbers without a unit, and no more what they were."""
    bands = cube_bands(cube, cube.variables, layout.attrs, ("1",) * len(cube.variables))
    return tuple(replace(b, attrs=whitened_attrs(b.name, b.attrs)) for b in bands)


@contextlib.contextmanager
def _opened(
    spectra: Spectra, layout: SpectraLayout, made: dict[str, Path]
) -> Iterator[tuple[SpectraFile | None, SpectraFile | None]]:
    """Open the files of spectra that are asked for; `made` tells where to make one."""
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(open_spectra(spectra.known)) if spectra.known else None
        if known is not None:
            same_layout(known.layout, layout, str(spectra.known))
            layout = replace(layout, bins=known.layout.bins)
        out = None
        if spectra.out:
            out = stack.enter_context(create_spectra(spectra.out, made[spectra.out], layout))
        yield known, out
