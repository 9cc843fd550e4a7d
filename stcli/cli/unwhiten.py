"""``stcli unwhiten``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.settings import RunSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    along: options.Along = "time",
    psd: options.Psd = None,
    dates: options.Dates = None,
    bands: options.Bands = None,
    assume_crs: options.AssumeCrs = None,
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
    """Turn whitened data back into what they were.

    Example: stcli unwhiten white.nc cube.nc --psd spectra.nc
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.noise.whiten_any import plan_unwhiten, unwhiten

    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    inputs = Inputs(sources, parsing.parse_bands(bands), "nearest", Assumed(assume_crs))
    run = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    asked, days = (along, inputs, path, run), parsing.parse_dates(dates)
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            plan = plan_unwhiten(*asked, spectra=psd, dates=days, output=output)
            return print_plan(plan, json)
        result = unwhiten(*asked, spectra=psd, dates=days, output=output, progress=console.progress)
    console.say(f"{path}: {result.text}")
    if json:
        print_json(asdict(result))
