"""``whiten`` and ``unwhiten`` of series without pixels: each column on its own spectrum."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
from rasterio.windows import Window

from stcli.engine.machine import MB, default_memory, resident
from stcli.errors import BudgetError, InputError
from stcli.noise.time.dates import Dates
from stcli.noise.time.diagonal import verdict
from stcli.noise.time.frame import frame
from stcli.noise.time.groups import Whitened, unwhiten_group, whiten_group
from stcli.noise.time.stationary import segment_length
from stcli.raster.info import KEPT
from stcli.raster.pictures.plots import counts_of
from stcli.raster.tables.series import Series, read_series, refuse_names, refuse_pipe, write_series
from stcli.raster.tables.spectra import SpectraFile, SpectraLayout, create_spectra, open_spectra
from stcli.raster.writing.draft import drafts, refuse_file
from stcli.settings import RunSettings, WhitenSettings
from stcli.workflows.job import Inputs, Output, refuse_clash
from stcli.workflows.noise.whiten import Spectra, WhitenedRaster
from stcli.workflows.noise.whiten_groups import (
    dates_of,
    places_of,
    refuse_apart,
    same_layout,
    stored_spectrum,
    time_unit,
    whitened_attrs,
)
from stcli.workflows.noise.whiten_report import (
    draw,
    refuse_failed,
    refuse_other,
    refuse_units,
    total_of,
)

#: float64 numbers that a sample of a frame needs at the peak of a transform and its checks.
_NUMBERS = 30
#: As many while a spectrum is written, beside the chunks that the NetCDF library keeps.
_WRITTEN = 4
_PIXEL = Window(0, 0, 1, 1)


def whiten_series(
    inputs: Inputs,
    path: str,
    whiten: WhitenSettings,
    settings: RunSettings,
    *,
    spectra: Spectra = Spectra(),
    output: Output = Output(),
) -> WhitenedRaster:
    """Whiten the columns of a table, or the one-dimensional variables of a file.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, CheckError
    """
    begun = time.perf_counter()
    known, made = spectra.known, (path, *spectra.beside)
    output = output.taking_up(*made)
    refuse_clash([*inputs.paths, *filter(None, [known])], made)
    refuse_pipe(path)
    for target in made:
        refuse_file(target, output.overwrite)
    series = read_series(inputs.paths[0], inputs.bands, spectra.step)
    refuse_names(path, series)
    dates = dates_of(series.times, inputs.paths[0], whiten)
    layout = _layout(series, dates, whiten)
    _refuse_large(layout, settings, bool(spectra.out))
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_spectra(known)) if known else None
        if file is not None:
            same_layout(file.layout, layout, str(known))
            layout = replace(layout, bins=file.layout.bins)
        found = [
            whiten_group(
                series.values[:, [k]],
                dates,
                replace(whiten, share=1),
                None if file is None else stored_spectrum(file, (k, 0, 0)),
            )
            for k in range(len(series.names))
        ]
        judged = _judge(found, inputs.paths[0])
        refuse_failed(judged, spectra.strict, path)
    with drafts(made, output.overwrite) as hidden:
        drafted = dict(zip(made, hidden, strict=True))
        if spectra.out:
            with create_spectra(spectra.out, drafted[spectra.out], layout) as sheet:
                _keep(sheet, found, judged)
        if spectra.plot:
            counts = counts_of(found[0].values)
            draw(drafted[spectra.plot], found[0].spectrum, counts, layout)
        said = _history(series, output) | {"stcli_diagonal": json.dumps(judged)}
        write_series(path, drafted[path], _white(series, found), said)
    run = {"series": len(found), "seconds": round(time.perf_counter() - begun, 3)}
    return WhitenedRaster(path, judged, run)


def unwhiten_series(
    inputs: Inputs, path: str, spectra: str, *, output: Output = Output()
) -> WhitenedRaster:
    """Undo `whiten_series` with the file of spectra that it wrote.

    Raises
    ------
    UsageError, InputError, OutputError
    """
    begun = time.perf_counter()
    refuse_clash([*inputs.paths, spectra], [path])
    refuse_pipe(path)
    refuse_file(path, output.overwrite)
    series = read_series(inputs.paths[0], inputs.bands)
    refuse_names(path, series)
    with open_spectra(spectra) as file:
        layout = file.layout
        refuse_units(series.names, series.units, inputs.paths[0])
        if series.attrs:  # a table has no room for what it is
            refuse_other(series.about, inputs.paths[0], file)
        refuse_apart(
            spectra,
            ("bands", layout.bands, series.names),
            ("rows and columns", layout.shape, (1, 1)),
            ("times in", time_unit(layout.time_unit), time_unit(series.time_unit)),
        )
        dates = places_of(series.times, layout, spectra)
        level, rest = file.get_pixels(_PIXEL)
        columns = [
            unwhiten_group(
                series.values[:, [k]],
                (level[k].ravel(), rest[k].reshape(-1, 1)),
                dates,
                stored_spectrum(file, (k, 0, 0)),
            )
            for k in range(len(series.names))
        ]
    values = np.concatenate(columns, axis=1)
    back = replace(series, values=values, units=layout.units, attrs=layout.attrs)
    with drafts((path,), output.overwrite) as (draft,):
        write_series(path, draft, back, _history(series, output))
    run = {"series": len(columns), "seconds": round(time.perf_counter() - begun, 3)}
    return WhitenedRaster(path, {}, run)


def _white(series: Series, found: list[Whitened]) -> Series:
    """Put whitened values in place of a series', and say that they are."""
    values = np.concatenate([group.values for group in found], axis=1)
    described = zip(series.names, series.attrs or ({},) * len(series.names), strict=True)
    attrs = tuple(whitened_attrs(name, attrs) for name, attrs in described)
    return replace(series, values=values, units=("1",) * len(series.names), attrs=attrs)


def _history(series: Series, output: Output) -> dict[str, str]:
    lines = (output.command, str(series.about.get("history", "")))
    return {"history": "\n".join(filter(None, lines))}


def _layout(series: Series, dates: Dates, settings: WhitenSettings) -> SpectraLayout:
    where = frame(dates.samples, settings.rows)
    return SpectraLayout(
        bands=series.names,
        units=series.units,
        samples=dates.samples,
        before=where.before,
        rows=where.tiling.rows,
        times=where.tiling.times,
        bins=segment_length(dates.samples, 1) // 2 + 1,
        step=dates.step,
        time_unit=series.time_unit,
        blocks=(1, 1),
        shape=(1, 1),
        first=(0, 0),
        share=1,
        attrs=series.attrs,
    )


def _refuse_large(layout: SpectraLayout, settings: RunSettings, kept: bool) -> None:
    """Refuse series that do not fit: a series is transformed whole, and its spectrum maybe kept.

    Raises
    ------
    BudgetError
    """
    size = 8 * layout.rows * layout.times
    needed = resident() + size * (_NUMBERS + 4 * len(layout.bands))
    needed += KEPT + _WRITTEN * size if kept else 0
    allowed = settings.memory or default_memory()
    if needed > allowed:
        raise BudgetError(
            f"memory: series of {layout.samples} samples need {needed / MB:.0f} MB, "
            f"{allowed / MB:.0f} MB are allowed; --memory raises the budget."
        )


def _judge(found: list[Whitened], path: str) -> dict[str, Any]:
    sums = [group.sums for group in found if group.sums is not None]
    if not any(np.isfinite(group.values).any() for group in found):
        raise InputError(f"{path}: no valid number found, one series at least is wanted")
    if not sums:
        raise InputError(f"{path}: every series is constant, noise to measure is wanted")
    silent = len(found) - len(sums)
    return {**verdict(total_of(sums)), "groups": len(found), "constant_groups": silent}


def _keep(sheet: SpectraFile, found: list[Whitened], judged: dict[str, Any]) -> None:
    for k, group in enumerate(found):
        sheet.put((k, 0, 0), (group.spectrum.density, group.spectrum.relative))
    level = np.array([group.level for group in found]).reshape(-1, 1, 1)
    rest = np.array([group.rest for group in found]).reshape(len(found), -1, 1, 1)
    sheet.put_pixels(_PIXEL, level, rest)
    sheet.note(judged)
