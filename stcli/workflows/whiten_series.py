"""``whiten`` and ``unwhiten`` of series without pixels: each column on its own spectrum."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from dataclasses import replace
from typing import Any

import numpy as np
from rasterio.windows import Window

from stcli.engine.memory import MB, default_memory, resident
from stcli.errors import BudgetError, InputError
from stcli.noise.dates import Dates
from stcli.noise.diagonal import inside_cells, verdict
from stcli.noise.frame import frame
from stcli.noise.groups import Whitened, unwhiten_group, whiten_group
from stcli.noise.stationary import segment_length
from stcli.raster.series import Series, read_series, refuse_series, write_series
from stcli.raster.spectra import SpectraFile, SpectraLayout, create_spectra, open_spectra
from stcli.settings import RunSettings, WhitenSettings
from stcli.workflows.job import Inputs, Output, refuse_clash
from stcli.workflows.whiten import Spectra, WhitenedRaster
from stcli.workflows.whiten_groups import dates_of, same_layout, stored_spectrum
from stcli.workflows.whiten_report import refuse_failed, total_of

#: float64 numbers that a sample of a frame needs at the peak of a transform and its checks.
_NUMBERS = 30
_PIXEL = Window(0, 0, 1, 1)


def whiten_series(
    inputs: Inputs,
    path: str,
    whiten: WhitenSettings,
    settings: RunSettings,
    *,
    spectra: Spectra | None = None,
    output: Output | None = None,
) -> WhitenedRaster:
    """Whiten the columns of a table, or the one-dimensional variables of a file.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, CheckError
    """
    begun, spectra, output = time.perf_counter(), spectra or Spectra(), output or Output()
    known, out = spectra.known, spectra.out
    refuse_clash(
        [*inputs.paths, *filter(None, [known])], [path, *filter(None, [out, spectra.plot])]
    )
    for target in filter(None, [path, out, spectra.plot]):
        refuse_series(target, output.overwrite)
    series = read_series(inputs.paths[0], inputs.bands)
    dates = dates_of(series.times, inputs.paths[0], whiten)
    layout = _layout(series, dates, whiten)
    _refuse_large(layout, settings)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_spectra(known)) if known else None
        if file is not None:
            same_layout(file.layout, layout, str(known))
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
        if out:
            sheet = stack.enter_context(create_spectra(out, layout, output.overwrite))
            _keep(sheet, found, judged)
        values = np.concatenate([group.values for group in found], axis=1)
        white = replace(series, values=values, units=("1",) * len(series.names))
        attrs = {
            "history": shlex.join(output.argv) or "stcli whiten",
            "stcli_diagonal": json.dumps(judged),
        }
        if spectra.plot:
            _draw(spectra.plot, found[0], layout, output)
        write_series(path, white, output.overwrite, attrs)
    run = {"series": len(found), "seconds": round(time.perf_counter() - begun, 3)}
    return WhitenedRaster(path, judged, run)


def unwhiten_series(
    inputs: Inputs, path: str, spectra: str, *, output: Output | None = None
) -> WhitenedRaster:
    """Undo `whiten_series` with the file of spectra that it wrote.

    Raises
    ------
    UsageError, InputError, OutputError
    """
    begun, output = time.perf_counter(), output or Output()
    refuse_clash([*inputs.paths, spectra], [path])
    refuse_series(path, output.overwrite)
    series = read_series(inputs.paths[0], inputs.bands)
    with open_spectra(spectra) as file:
        layout = file.layout
        dates = dates_of(series.times, inputs.paths[0], WhitenSettings(uneven="order"))
        with contextlib.suppress(InputError):
            dates = dates_of(series.times, inputs.paths[0], WhitenSettings())
        same_layout(
            replace(layout, units=()),
            replace(_layout(series, dates, WhitenSettings(rows=layout.rows)), units=()),
            spectra,
        )
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
    back = replace(series, values=np.concatenate(columns, axis=1), units=layout.units)
    write_series(path, back, output.overwrite, {"history": shlex.join(output.argv)})
    run = {"series": len(columns), "seconds": round(time.perf_counter() - begun, 3)}
    return WhitenedRaster(path, {}, run)


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
    )


def _refuse_large(layout: SpectraLayout, settings: RunSettings) -> None:
    """Refuse series that do not fit: a series is transformed whole.

    Raises
    ------
    BudgetError
    """
    size = 8 * layout.rows * layout.times
    needed = resident() + size * (_NUMBERS + 4 * len(layout.bands))
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


def _draw(path: str, group: Whitened, layout: SpectraLayout, output: Output) -> None:
    from stcli.raster.plots import draw_whitening

    spectrum, unit = group.spectrum, layout.time_unit
    draw_whitening(
        path,
        (
            spectrum.on_cells()[:, inside_cells(spectrum)],
            spectrum.step * spectrum.frame.tiling.rows,
            0.5 / spectrum.step,
        ),
        group.values[np.isfinite(group.values)],
        (unit, f"({layout.units[0]})² {unit}"),
        output.overwrite,
    )
