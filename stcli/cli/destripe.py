"""``stcli destripe``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.settings import DestripeSettings, RunSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    along: Annotated[
        Literal["columns", "rows"], typer.Option("--stripes", help="Which way the stripes run.")
    ] = "columns",
    gain: Annotated[
        bool,
        typer.Option("--gain", help="Correct the gain of each detector, too, not only its offset."),
    ] = False,
    span: Annotated[
        int, typer.Option("--span", help="Columns beyond which a change belongs to the scene; odd.")
    ] = DestripeSettings.span,
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
    """Remove the stripes of single detectors.

    Example: stcli destripe strip.tif even.tif --stripes columns
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.noise.destripe import destripe, plan_destripe

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    how = DestripeSettings(along=along, gain=gain, span=span)
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assumed)
    run = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan_destripe(inputs, path, how, run, output=output), json)
        result = destripe(inputs, path, how, run, output=output, progress=console.progress)
    for band in result.bands:
        found = f"striping {band['before']:.4g}, now {band['after']:.4g}"
        if not (band["largest_offset"] or band["largest_gain"]):
            found = "no stripes that all parts of the lines share; left as it is"
        console.say(f"{band['band']}: {found}")
    if json:
        print_json(asdict(result))
