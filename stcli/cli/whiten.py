"""``stcli whiten``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.errors import UsageError
from stcli.settings import NoiseMapSettings, RunSettings, WhitenSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    along: options.Along = "time",
    psd: options.Psd = None,
    psd_out: Annotated[
        str | None,
        typer.Option(
            "--psd-out",
            metavar="FILE",
            help="Also write the spectra (NetCDF), which unwhiten needs.",
        ),
        options.WRITES,
    ] = None,
    share: Annotated[
        int, typer.Option("--share", help="Side in pixels of the blocks that share a spectrum.")
    ] = WhitenSettings.share,
    rows: Annotated[
        int | None,
        typer.Option("--rows", help="Number of frequency rows. Default: suits the length."),
    ] = None,
    stationary: Annotated[
        bool, typer.Option("--stationary", help="Assume that the spectrum does not change in time.")
    ] = False,
    uneven: Annotated[
        Literal["refuse", "order"],
        typer.Option(
            "--uneven", help="Unevenly spaced dates: refuse, or take in order as if even."
        ),
    ] = "refuse",
    dates: options.Dates = None,
    step: Annotated[
        float | None,
        typer.Option("--step", help="Seconds between samples of series that have no times."),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Write nothing and exit with 7 if the result is not white."),
    ] = False,
    plot: options.Plot = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    of: options.Format = "COG",
    resume: options.Resume = True,
    shard: options.Shard = None,
    fingerprint: options.Fingerprint = "stat",
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    scheduler: options.Scheduler = "threads",
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Whiten dates, series or bands.

    Dates and series by a spectrum that changes in time, bands by a map of their local noise.

    Example: stcli whiten cube.nc white.nc --psd-out spectra.nc
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.noise.whiten import Spectra
    from stcli.workflows.noise.whiten_any import plan_whiten, whiten

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    settings = WhitenSettings(share, rows, not stationary, uneven)
    if along == "space" and settings != WhitenSettings():
        raise UsageError(
            "--share, --rows, --stationary and --uneven: go with --along time, --along space found."
        )
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    spectra = Spectra(psd, psd_out, strict, plot, parsing.parse_dates(dates), step)
    asked = (
        Inputs(sources, parsing.parse_bands(bands), resampling, assumed),
        path,
        settings if along == "time" else NoiseMapSettings(),
        RunSettings(tile_size, memory, jobs, scheduler=scheduler),
    )
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan_whiten(*asked, spectra=spectra, output=output), json)
        result = whiten(*asked, spectra=spectra, output=output, progress=console.progress)
    console.say(f"{path}: {result.text}")
    if json:
        print_json(asdict(result))
