"""``stcli downscale``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.errors import UsageError
from stcli.settings import DownscaleSettings, RunSettings, given


def command(
    context: typer.Context,
    paths: options.Paths,
    factor: options.Factor = None,
    method: options.Method = None,
    model: options.Model = None,
    force: Annotated[
        bool, typer.Option("--force", help="Use a model even if it was no better than ibp.")
    ] = False,
    members: Annotated[
        int | None,
        typer.Option(
            "--members", help="Draw so many members with the model; also writes mean and deviation."
        ),
    ] = None,
    seed: options.Seed = 0,
    guide: options.Guide = None,
    conserve: options.Conserve = "add",
    limits: options.Limits = None,
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
    """Make a raster finer and keep its block means.

    Example: stcli downscale coarse.tif fine.tif --factor 2
    """
    from stcli.workflows.downscaling.downscale import Help, downscale, plan_downscale
    from stcli.workflows.job import Assumed, Inputs, Output

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    if members is None and "seed" in parsing.asked(context):
        raise UsageError("--seed: no --members found, which it is for; leave it out.")
    chosen = method or ("latent" if model else "ibp")
    how = DownscaleSettings(
        method=chosen,
        conserve=conserve,
        limits=parsing.parse_limits(limits),
        **given(factor=parsing.one_factor(factor)),
    )
    fine = Inputs(tuple(guide), assumed=assumed) if guide else None
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    help = Help(Path(model) if model else None, fine, force, members, seed)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assumed)
    run = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            plan = plan_downscale(inputs, path, how, run, help=help, output=output)
            return print_plan(plan, json)
        result = downscale(
            *(inputs, path, how, run), help=help, output=output, progress=console.progress
        )
    console.say(
        f"{path}: by {result.method}, factor {how.factor}; block means within "
        f"{result.residual:.2g} (relative) of the input; {result.run['seconds']:.1f} s"
    )
    if json:
        print_json(asdict(result))
