"""``stcli check seams``."""

from __future__ import annotations

from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console
from stcli.cli.verdicts import Files, tell
from stcli.settings import RunSettings


def command(
    paths: Files,
    period: Annotated[
        int | None,
        typer.Option(
            "--period", help="Side of the suspected tiles in pixels. Default: all sides are tried."
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            help="Score from which seams are reported; 3 means one false alarm in 1000.",
        ),
    ] = 3.0,
    classes: Annotated[
        bool | None,
        typer.Option(
            "--classes/--continuous", help="Kind of the values. Default: by the data type."
        ),
    ] = None,
    bands: options.Bands = None,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Look for the seams of tiles.

    Seams are evenly spaced lines along which values jump.

    Example: stcli check seams landcover.tif
    """
    from stcli.workflows.files.check import check_all
    from stcli.workflows.files.seams import check_seams
    from stcli.workflows.job import Inputs

    chosen = parsing.parse_bands(bands)
    with Console(quiet, verbose, progress) as console:
        results = check_all(
            paths,
            lambda path: check_seams(
                Inputs((path,), chosen),
                RunSettings(tile_size, memory, jobs),
                period=period,
                threshold=threshold,
                classes=classes,
                progress=console.progress,
            ),
        )
    tell("seams", results, json, quiet)
