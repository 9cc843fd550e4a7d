"""``stcli mnf``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.errors import UsageError
from stcli.settings import NoiseMapSettings, RunSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="Turn components back into bands.")
    ] = False,
    components: Annotated[
        int | None, typer.Option("--components", help="Keep only the first so many components.")
    ] = None,
    window: options.NoiseWindow = NoiseMapSettings.window,
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
    """Turn bands into components by falling SNR, or back.

    These are noise-whitened principal components (minimum noise fraction).

    Example: stcli mnf cube.tif components.tif
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.noise.mnf import mnf, plan_mnf, plan_unmnf, unmnf

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assumed)
    settings = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    if inverse and window != NoiseMapSettings.window:
        raise UsageError("--window: goes with measuring the noise, --inverse found.")
    how = () if inverse else (NoiseMapSettings(window=window),)
    run: Any = unmnf if inverse else mnf
    plan: Any = plan_unmnf if inverse else plan_mnf
    asked, more = (inputs, path, *how, settings), {"components": components, "output": output}
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan(*asked, **more), json)
        result = run(*asked, **more, progress=console.progress)
    known = [f"{snr:.1f}" for snr in result.snr_db[:10] if snr is not None]
    console.say(f"{path}: written" + (f"; SNR in dB: {', '.join(known)}" if known else ""))
    if json:
        print_json(asdict(result))
