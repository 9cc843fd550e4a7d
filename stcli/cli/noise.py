"""``stcli noise``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan, table
from stcli.settings import NoiseMapSettings, RunSettings, given


def command(
    context: typer.Context,
    paths: options.Paths,
    model: options.Model = None,
    levels: options.NoiseLevels = NoiseMapSettings.levels,
    window: options.NoiseWindow = NoiseMapSettings.window,
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
    """Measure the noise of a raster at each pixel.

    Writes its standard deviation as a raster, and prints a table of the bands.

    Example: stcli noise scene.tif noise.tif --json
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.noise.noise import noise, plan_noise

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    settings = NoiseMapSettings(levels=levels, window=window, **given(model=model))
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assumed)
    run = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan_noise(inputs, path, settings, run, output=output), json)
        result = noise(
            *(inputs, path, settings, run), output=output, plot=plot, progress=console.progress
        )
    if json:
        print_json(asdict(result))
    elif path not in ("-", "/vsistdout/"):
        print(rows(result.bands))


def rows(bands: list[dict[str, Any]]) -> str:
    """Lay out a table of the bands' noise."""
    lines = [("band", "sigma", "5 %", "95 %", "SNR dB", "gain", "read noise")]
    for band in bands:
        fit = band["poisson"] or {"gain": None, "read_noise": None}
        figures = [band[name] for name in ("sigma", "sigma_5", "sigma_95", "snr_db")]
        figures += [fit["gain"], fit["read_noise"]]
        lines.append((band["band"], *("–" if f is None else f"{f:.4g}" for f in figures)))
    return table(lines)
