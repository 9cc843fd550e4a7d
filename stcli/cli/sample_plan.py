"""``stcli sample-plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stcli.cli import options
from stcli.cli.console import Console, print_json, table
from stcli.settings import RunSettings


def command(
    context: typer.Context,
    classes: Annotated[
        str, typer.Argument(metavar="MAP", help="Class raster.", show_default=False)
    ],
    path: Annotated[
        str,
        typer.Argument(metavar="OUTPUT", help="GeoPackage to write (.gpkg).", show_default=False),
    ],
    points: Annotated[int, typer.Option("--points", help="Number of points to visit.")] = 100,
    uncertainty: options.Uncertainty = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Plan field checks of a class raster.

    Draws points by class and doubt, and a short path through them.

    Example: stcli sample-plan map.tif points.gpkg --points 200 --uncertainty doubt.tif
    """
    from stcli.workflows.job import Output
    from stcli.workflows.landcover.sample_plan import Wish, sample_plan

    with Console(quiet, verbose, progress) as console:
        found = sample_plan(
            Wish(classes, uncertainty, points, seed),
            path,
            RunSettings(tile_size, memory, jobs),
            output=Output(overwrite, {}, context.obj),
            progress=console.progress,
        )
    rows = [("class", "points"), *((name, str(n)) for name, n in found.classes.items())]
    far = "no CRS" if found.metres is None else f"{found.metres / 1000:.1f} km from first to last"
    console.say(f"{path}: {found.points} points, {far}")
    console.say(table(rows))
    if json:
        print_json(asdict(found))
