"""``stcli merge``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json
from stcli.settings import RunSettings


def command(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT... OUTPUT",
            help="All directories that --shard left, or rasters on one grid (first on top), "
            "then the output: a raster, or NetCDF by its suffix (.nc).",
            show_default=False,
        ),
    ],
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    of: options.Format = "COG",
    resume: options.Resume = True,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    scheduler: options.Scheduler = "threads",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Join the shards of a job, or rasters on one grid.

    Also turns a Zarr into a raster.

    Example: stcli merge segments.tif.shard-*-of-8 segments.tif
    """
    from stcli.workflows.files.merge import merge
    from stcli.workflows.job import Output

    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json)
    pairs = parsing.parse_pairs(co, "--co")
    output = Output(overwrite, pairs, context.obj, of, resume)
    run = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    with Console(quiet, verbose, progress) as console:
        result = merge(sources, path, run, output=output, progress=console.progress)
    console.say(f"{path}: {result.parts} parts joined in {result.run['seconds']:.1f} s")
    if json:
        print_json(asdict(result))
