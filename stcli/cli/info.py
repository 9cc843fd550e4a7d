"""``stcli info``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json


def command(
    inputs: options.Rasters,
    bands: options.Bands = None,
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    resampling: options.Resampling = "nearest",
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Say instead how each raster was made.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Describe rasters as stcli reads them, as JSON.

    Example: stcli info scene.tif
    """
    from stcli.workflows.files.info import describe
    from stcli.workflows.files.provenance import provenance as made
    from stcli.workflows.job import Assumed, Inputs

    assumed = Assumed(assume_crs, assume_nodata)
    with Console(quiet, verbose):
        if provenance:
            print_json({"files": [{"path": path, **asdict(made(path))} for path in inputs]})
            return
        source = Inputs(tuple(inputs), parsing.parse_bands(bands), resampling, assumed)
        print_json(describe(source))
