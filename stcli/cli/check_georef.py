"""``stcli check georef``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from stcli.cli import options
from stcli.cli.console import Console
from stcli.cli.verdicts import Files, tell


def command(
    paths: Files,
    like: Annotated[
        str | None, typer.Option("--like", help="Raster on whose grid the files must lie.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Check the georeferencing of rasters.

    They must say where they lie, and it must be possible that they lie there.

    Example: stcli check georef scene.tif
    """
    from stcli.workflows.files.check import check_all, georef, grid_of

    with Console(quiet, verbose):
        grid = None if like is None else grid_of(like)
        results = check_all(paths, partial(georef, like=grid))
    tell("georef", results, json, quiet)
