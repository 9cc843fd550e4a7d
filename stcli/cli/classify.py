"""``stcli classify``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, counted, percent, print_json, print_plan, table
from stcli.settings import DecisionSettings, RunSettings

#: Changes of class that are printed, commonest first.
_SHOWN = 5


def command(
    context: typer.Context,
    paths: options.Paths,
    model: options.ModelWanted,
    proba: Annotated[
        str | None,
        typer.Option("--proba", help="Also write class probabilities, one band for each class."),
        options.WRITES,
    ] = None,
    uncertainty: Annotated[options.Uncertainty, options.WRITES] = None,
    sets: Annotated[
        str | None,
        typer.Option(
            "--sets", metavar="FILE", help="Also write the prediction sets of --coverage."
        ),
        options.WRITES,
    ] = None,
    coverage: options.Coverage = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence", help="Pixels whose best class is less probable become 'unsure'."
        ),
    ] = None,
    refine: Annotated[
        float | None,
        typer.Option(
            "--refine",
            metavar="P",
            help="Classify segments less confident than P again, such as 0.7.",
        ),
    ] = None,
    fuse: Annotated[
        Literal["score"] | None,
        typer.Option(
            "--fuse", help="Apply a model of one date to a stack; surer dates weigh more."
        ),
    ] = None,
    tau: Annotated[
        float, typer.Option("--tau", help="For --fuse: a small value takes the surest date alone.")
    ] = 0.1,
    best_date: Annotated[
        str | None,
        typer.Option("--best-date", help="For --fuse: also write which date was surest."),
        options.WRITES,
    ] = None,
    dates: options.Dates = None,
    season: Annotated[
        str | None,
        typer.Option(
            "--season",
            metavar="DATE",
            help="First day of the season of a series. Default: the season with most dates.",
        ),
    ] = None,
    mask_band: options.MaskBand = None,
    clear: options.Clear = None,
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
    device: options.Device = "auto",
    scan: options.Scan = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Classify land cover with a trained model.

    Writes a raster of classes and, on request, of probabilities and uncertainty.

    Example: stcli classify scene.tif landcover.tif --model model/
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.landcover.classify import classify, plan_classify
    from stcli.workflows.landcover.classify_stack import (
        Stacking,
        classify_stack,
        plan_stack,
        stacked,
    )
    from stcli.workflows.landcover.dated import Dating
    from stcli.workflows.landcover.products import Products

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path, proba, uncertainty, sets, best_date), json and not dry_run)
    dating = Dating(
        parsing.parse_dates(dates), mask_band, parsing.parse_list(clear, "--clear"), season
    )
    stacking = Stacking(dating, fuse, tau, best_date)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assumed)
    decision = DecisionSettings(min_confidence, coverage, refine)
    products = Products(path, proba, uncertainty, sets, decision)
    how = RunSettings(tile_size, memory, jobs, device, scan, scheduler)
    part = parsing.parse_shard(shard, tile_size)
    pairs = parsing.parse_pairs(co, "--co")
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    with Console(quiet, verbose, progress) as console:
        run: Any = classify
        plan: Any = plan_classify
        folder = Path(model)
        if stacked(folder, stacking):
            run = partial(classify_stack, stacking=stacking)
            plan = partial(plan_stack, stacking=stacking)
        if dry_run:
            return print_plan(plan(inputs, products, folder, how, output=output), json)
        result = run(inputs, products, folder, how, output=output, progress=console.progress)
    rows = [("class", "%", "pixels")]
    for name, share in result.shares.items():
        rows.append((name, percent(share), str(result.pixels[name])))
    ran = result.run
    console.say(f"{path}: classified {counted(ran['tiles'], 'tile')} in {ran['seconds']:.1f} s")
    if verbose:
        console.say(f"scan: {ran['scan']} on {ran['device']}, because {ran['scan_reason']}")
    console.say(table(rows))
    if result.refined:
        console.say(_changed(result.refined))
    if json:
        print_json(asdict(result))


def _changed(refined: dict[str, Any]) -> str:
    """Say what refinement did, and the commonest changes."""
    text = (
        f"refined: {percent(refined['share'])} % of pixels in segments below {refined['below']:g}, "
        f"{percent(refined['agreement'])} % of {refined['views']} views agree; "
        f"{refined['changed']} pixels changed class"
    )
    pairs = [(f"{c['from']} to {c['to']}", str(c["pixels"])) for c in refined["changes"][:_SHOWN]]
    return f"{text}\n{table([('changed', 'pixels'), *pairs])}" if pairs else text
