"""``stcli objects``."""

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
            metavar="SEGMENTS [SCENE...] OUTPUT",
            help="A label raster, the scene's rasters on its grid, and the table to write: "
            ".gpkg, .fgb, .parquet.",
            show_default=False,
        ),
    ],
    percentiles: options.Percentiles = None,
    index: options.Indices = None,
    index_bands: options.IndexBands = None,
    texture: options.Texture = False,
    geometry: options.Geometry = True,
    borders: options.Borders = None,
    segments_band: options.SegmentsBand = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    overwrite: options.Overwrite = False,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Measure the objects of a label raster.

    Writes a table with the figures, and the polygon, of each object.

    Example: stcli objects segments.tif scene.tif objects.gpkg --percentiles 10,50,90
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.segmentation.objects import Segments, Tables, objects

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    chosen = parsing.parse_bands(bands)
    scene = Inputs(sources[1:], chosen, resampling, assumed) if sources[1:] else None
    with Console(quiet, verbose, progress) as console:
        result = objects(
            Segments(sources[0], scene, segments_band),
            Tables(path, borders),
            parsing.object_settings(percentiles, index, index_bands, texture, geometry),
            RunSettings(tile_size, memory, jobs),
            output=Output(overwrite, {}, context.obj),
            progress=console.progress,
        )
    console.say(f"{path}: {result.objects} objects in {result.run['seconds']:.1f} s")
    if json:
        print_json(asdict(result))
