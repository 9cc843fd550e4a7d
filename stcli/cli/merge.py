"""``stcli merge``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from stcli.cli import options
from stcli.cli.console import Console, print_json
from stcli.settings import RunSettings


def command(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SHARD... OUTPUT",
            help="All directories that --shard left, in any order, then the output.",
            show_default=False,
        ),
    ],
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    of: Annotated[
        Literal["COG", "GTiff", "Zarr"] | None,
        typer.Option("--of", help="Format of the output. Default: that of the shards' command."),
    ] = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Join the shards of one job into the output that the whole job would have written.

    Example: stcli merge segments.tif.shard-*-of-8 segments.tif
    """
    from stcli.workflows.job import Output
    from stcli.workflows.merge import merge

    sources, path = options.inputs_and_output(paths)
    options.refuse_mixed((path,), json)
    output = Output(overwrite, options.parse_pairs(co, "--co"), context.obj)
    with Console(quiet, verbose) as console:
        result = merge(sources, path, RunSettings(jobs=jobs), output=output, driver=of)
    console.say(f"{path}: {result.parts} shards joined in {result.run['seconds']:.1f} s")
    if json:
        print_json(asdict(result))


command.__name__ = "merge"
