"""``stcli check agreement``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from stcli.cli import options
from stcli.cli.conserve import residual_table
from stcli.cli.console import Console, print_json
from stcli.errors import CheckError
from stcli.settings import RunSettings
from stcli.settings.checking import check


def command(
    fine: Annotated[str, typer.Argument(metavar="FINE", help="Fine raster.")],
    coarse: Annotated[str, typer.Argument(metavar="COARSE", help="Coarse raster.")],
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest relative difference that is accepted.")
    ] = 1e-6,
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Check that a fine raster agrees with a coarse one.

    The block means of the fine raster must be the values of the coarse one.

    Example: stcli check agreement fine.tif coarse.tif --tolerance 1e-6
    """
    from stcli.workflows.downscaling.conserve import agreement
    from stcli.workflows.job import Assumed, Inputs

    assumed = Assumed(assume_crs, assume_nodata)
    check(0 <= tolerance < math.inf, "--tolerance", f"{tolerance:g}", "0 or more, and finite")
    with Console(quiet, verbose, progress) as console:
        result = agreement(
            Inputs((fine,), assumed=assumed),
            Inputs((coarse,), assumed=assumed),
            RunSettings(tile_size, memory, jobs),
            progress=console.progress,
        )
    close = result.relative <= tolerance
    holds = close and not result.missing
    if json:
        print_json({"valid": holds, "tolerance": tolerance, **result.to_json()})
    else:
        print(residual_table(result.bands))
    if close and result.missing:
        raise CheckError(
            f"{fine}: no value in {result.missing} blocks that have one in {coarse}, none may be "
            f"missing; fill them, or mask them in {coarse}."
        )
    if not close:
        raise CheckError(
            f"{fine}: its block means are up to {result.relative:.3g} (relative) from {coarse}, "
            f"{tolerance:g} is allowed; stcli conserve brings them together."
        )
