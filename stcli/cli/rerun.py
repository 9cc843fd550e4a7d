"""``stcli rerun``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stcli.cli import options
from stcli.cli.console import Console, print_json


def command(
    path: Annotated[str, typer.Argument(metavar="OUTPUT", help="A raster that stcli wrote.")],
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Print the command that made a raster.

    It is quoted for a shell.

    Example: stcli rerun landcover.tif
    """
    from stcli.workflows.files.provenance import provenance

    with Console(verbose=verbose):
        found = provenance(path)
    if json:
        print_json({"path": path, **asdict(found)})
    else:
        print(found.command)
