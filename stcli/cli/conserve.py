"""``stcli conserve``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan, table
from stcli.settings import Conserving, RunSettings


def command(
    context: typer.Context,
    fine: Annotated[str, typer.Argument(metavar="FINE", help="Fine raster, by any method.")],
    coarse: Annotated[str, typer.Argument(metavar="COARSE", help="Coarse raster to agree with.")],
    path: Annotated[str, typer.Argument(metavar="OUTPUT", help="Fine raster to write.")],
    how: options.Conserve = "add",
    limits: options.Limits = None,
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
    """Make a fine raster agree with a coarse one.

    Changes it so that its block means are the values of the coarse raster.

    Example: stcli conserve fine.tif coarse.tif agreeing.tif --conserve mult
    """
    from stcli.workflows.downscaling.conserve import conserve_rasters, plan_conserve
    from stcli.workflows.job import Assumed, Inputs, Output

    assumed = Assumed(assume_crs, assume_nodata)
    parsing.refuse_mixed((path,), json and not dry_run)
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    asked = (
        Inputs((fine,), assumed=assumed),
        Inputs((coarse,), assumed=assumed),
        path,
        Conserving(how, parsing.parse_limits(limits)),
        RunSettings(tile_size, memory, jobs, scheduler=scheduler),
    )
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan_conserve(*asked, output=output), json)
        result = conserve_rasters(*asked, output=output, progress=console.progress)
    apart = max(band.relative for band in result.after)
    lacking = f"; {result.missing} blocks with a value there have none" if result.missing else ""
    console.say(
        f"{path}: {how}; block means were up to {result.relative:.3g} (relative) from {coarse}, "
        f"now {apart:.3g}{lacking}"
    )
    if json:
        print_json(result.to_json())


def residual_table(bands: Sequence[Any]) -> str:
    """Lay out residuals, band by band."""
    rows = [("band", "blocks", "largest", "relative", "missing")]
    for b in bands:
        figures = f"{b.largest:.6g}", f"{b.relative:.3g}", str(b.missing)
        rows.append((b.band, str(b.blocks), *figures))
    return table(rows)
