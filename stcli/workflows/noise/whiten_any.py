"""``whiten`` and ``unwhiten``, whatever the input is and whichever way they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stcli.errors import UsageError
from stcli.raster.reading.assumed import NOTHING
from stcli.raster.tables.series import is_series, read_series, refuse_piped
from stcli.settings import NoiseMapSettings, RunSettings, WhitenSettings
from stcli.workflows.job import Inputs, Output, Progress, silent
from stcli.workflows.noise.unwhiten import plan_unwhiten_time, unwhiten_time
from stcli.workflows.noise.whiten import Spectra, plan_whiten_time, whiten_time
from stcli.workflows.noise.whiten_report import describe
from stcli.workflows.noise.whiten_series import unwhiten_series, whiten_series


@dataclass(frozen=True)
class Done:
    """What came out, and a line about it."""

    output: str
    report: dict[str, Any]
    run: dict[str, Any]
    text: str


def whiten(
    inputs: Inputs,
    path: str,
    whiten: WhitenSettings | NoiseMapSettings,
    settings: RunSettings,
    *,
    spectra: Spectra,
    output: Output,
    progress: Progress = silent,
) -> Done:
    """Whiten series or dates in time, or bands in space: as the settings are of.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, CheckError
    """
    if isinstance(whiten, NoiseMapSettings):
        from stcli.workflows.noise.whiten_space import whiten_space

        _refuse_spectra(spectra)
        done = whiten_space(inputs, path, whiten, settings, output=output, progress=progress)
        return Done(done.output, done.report, done.run, "whitened by the local noise map")
    _refuse_kept(output, settings)
    if _series(inputs):
        _refuse_gridded(inputs, output, whiten.share != WhitenSettings.share or spectra.dates)
        found = whiten_series(inputs, path, whiten, settings, spectra=spectra, output=output)
    else:
        _refuse_step(inputs, spectra)
        found = whiten_time(
            inputs, path, whiten, settings, spectra=spectra, output=output, progress=progress
        )
    return Done(found.output, found.report, found.run, describe(found.report))


def plan_whiten(
    inputs: Inputs,
    path: str,
    whiten: WhitenSettings | NoiseMapSettings,
    settings: RunSettings,
    *,
    spectra: Spectra,
    output: Output,
) -> dict[str, Any]:
    """Say what `whiten` would do. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    if isinstance(whiten, NoiseMapSettings):
        from stcli.workflows.noise.whiten_space import plan_whiten_space

        _refuse_spectra(spectra)
        return plan_whiten_space(inputs, path, whiten, settings, output=output)
    _refuse_kept(output, settings)
    _refuse_unplanned(inputs, spectra.step)
    _refuse_step(inputs, spectra)
    return plan_whiten_time(inputs, path, whiten, settings, spectra=spectra, output=output)


def unwhiten(
    along: str,
    inputs: Inputs,
    path: str,
    settings: RunSettings,
    *,
    spectra: str | None,
    dates: tuple[str, ...],
    output: Output,
    progress: Progress = silent,
) -> Done:
    """Undo `whiten`.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    if along == "space":
        from stcli.workflows.noise.whiten_space import unwhiten_space

        _refuse_spectra(Spectra(known=spectra, dates=dates))
        done = unwhiten_space(inputs, path, settings, output=output, progress=progress)
        return Done(done.output, done.report, done.run, "unwhitened")
    known = _named(spectra)
    if _series(inputs):
        _refuse_kept(output, settings)
        _refuse_gridded(inputs, output, dates)
        found = unwhiten_series(inputs, path, known, output=output)
    else:
        found = unwhiten_time(
            inputs, path, known, settings, output=output, progress=progress, dates=dates
        )
    return Done(found.output, found.report, found.run, "unwhitened")


def plan_unwhiten(
    along: str,
    inputs: Inputs,
    path: str,
    settings: RunSettings,
    *,
    spectra: str | None,
    dates: tuple[str, ...],
    output: Output,
) -> dict[str, Any]:
    """Say what `unwhiten` would do. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    if along == "space":
        from stcli.workflows.noise.whiten_space import plan_unwhiten_space

        _refuse_spectra(Spectra(known=spectra, dates=dates))
        return plan_unwhiten_space(inputs, path, settings, output=output)
    _refuse_unplanned(inputs)
    known = _named(spectra)
    return plan_unwhiten_time(inputs, path, known, settings, dates=dates, output=output)


def _refuse_spectra(spectra: Spectra) -> None:
    """Refuse along space what belongs to spectra in time.

    Raises
    ------
    UsageError
    """
    if spectra != Spectra():
        raise UsageError(
            "--psd, --psd-out, --strict, --plot, --dates and --step: go with --along time, "
            "--along space found."
        )


def _refuse_gridded(inputs: Inputs, output: Output, more: object) -> None:
    """Refuse for series what belongs to rasters; `more` is any that the caller has found.

    Raises
    ------
    UsageError
    """
    raster = inputs.assumed != NOTHING or inputs.resampling != "nearest" or output.creation_options
    if more or raster:
        raise UsageError(
            "--share, --dates, --co, --assume-crs, --assume-nodata and --resampling: go with "
            f"rasters, {inputs.paths[0]} holds series."
        )


def _refuse_step(inputs: Inputs, spectra: Spectra) -> None:
    """Refuse for a raster what belongs to series without times; raises `UsageError`."""
    if spectra.step is not None:
        raise UsageError(
            f"--step: {inputs.paths[0]} is a raster, series without times are wanted; for dates "
            "of bands give --dates."
        )


def _refuse_unplanned(inputs: Inputs, step: float | None = None) -> None:
    """Refuse to plan series without pixels, and first what are none.

    Raises
    ------
    UsageError, InputError
    """
    if _series(inputs):
        read_series(inputs.paths[0], inputs.bands, step)
        raise UsageError(
            f"--dry-run: {inputs.paths[0]} holds series, which are done at once; a raster, whose "
            "tiles can be planned, is wanted."
        )


def _named(spectra: str | None) -> str:
    """Give the file of spectra.

    Raises
    ------
    UsageError
        None is named.
    """
    if spectra is None:
        raise UsageError("--psd: none found, the file that whiten --psd-out wrote is wanted.")
    return spectra


def _refuse_kept(output: Output, settings: RunSettings) -> None:
    """Refuse what only outputs that are kept through a kill can have: not series, nor whitening.

    Whitening in time ends in files of spectra and a verdict, which all tiles write into.

    Raises
    ------
    UsageError
    """
    if settings.scheduler != "threads" or output.driver != Output().driver or output.kept:
        raise UsageError(
            "--of, --no-resume, --shard, --fingerprint and --scheduler: go with --along space, "
            "--along time found."
        )


def _series(inputs: Inputs) -> bool:
    """Tell whether the input holds series without pixels.

    Raises
    ------
    UsageError
        One of several does.
    InputError
        Series that come through a pipe.
    """
    for path in inputs.paths:
        refuse_piped(path)
    found = [is_series(path) for path in inputs.paths]
    if len(found) > 1 and any(found):
        raise UsageError(f"{inputs.paths[found.index(True)]}: holds series, one such input only.")
    return found[0]
