"""``stcli check cog``."""

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
    """Check that GeoTIFFs are cloud-optimised.

    Example: stcli check cog landcover.tif
    """
    from stcli.workflows.files.check import check_all, cog

    with Console(quiet, verbose):
        results = check_all(paths, cog)
    tell("cog", results, json, quiet)
