"""``stcli classify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, percent, print_json, print_plan, table
from stcli.settings import DecisionSettings, RunSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    model: Annotated[Path, typer.Option("--model", help="Folder made by stcli train landcover.")],
    proba: Annotated[
        str | None, typer.Option("--proba", help="Also write probabilities, a band a class.")
    ] = None,
    uncertainty: Annotated[
        str | None,
        typer.Option("--uncertainty", help="Also write entropy, margin and least confidence."),
    ] = None,
    sets: Annotated[
        str | None,
        typer.Option(
            "--sets", metavar="FILE", help="Also write the prediction sets of --coverage."
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option("--coverage", help="Share of --sets that hold the true class, such as 0.9."),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", help="Below this probability a pixel is 'unsure'."),
    ] = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
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
    device: options.Device = "auto",
    scan: options.Scan = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Classify land cover with a trained model: a raster of classes.

    Example: stcli classify scene.tif landcover.tif --model model/
    """
    from stcli.workflows.classify import classify, plan_classify
    from stcli.workflows.job import Inputs, Output
    from stcli.workflows.products import Products

    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path, proba, uncertainty, sets), json and not dry_run)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assume_crs)
    decision = DecisionSettings(min_confidence, coverage)
    products = Products(path, proba, uncertainty, sets, decision)
    how = RunSettings(tile_size, memory, jobs, device, scan, scheduler)
    part = parsing.parse_shard(shard, tile_size)
    pairs = parsing.parse_pairs(co, "--co")
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan_classify(inputs, products, model, how, output=output), json)
        result = classify(inputs, products, model, how, output=output, progress=console.progress)
    rows = [("class", "%", "pixels")]
    for name, share in result.shares.items():
        rows.append((name, percent(share), str(result.pixels[name])))
    run = result.run
    console.say(f"{path}: classified {run['tiles']} tiles in {run['seconds']:.1f} s")
    if verbose:
        console.say(f"scan: {run['scan']} on {run['device']}, because {run['scan_reason']}")
    console.say(table(rows))
    if json:
        print_json(asdict(result))


command.__name__ = "classify"
