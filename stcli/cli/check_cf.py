"""``stcli check cf``."""

from __future__ import annotations

from stcli.cli import options
from stcli.cli.console import Console
from stcli.cli.verdicts import Files, tell


def command(
    paths: Files,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Check NetCDF files against the CF conventions.

    Example: stcli check cf cube.nc
    """
    from stcli.workflows.files.check import cf, check_all

    with Console(quiet, verbose):
        results = check_all(paths, cf)
    tell("cf", results, json, quiet)
