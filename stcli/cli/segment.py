"""``stcli segment``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from stcli.cli import options
from stcli.cli.console import Console, print_json
from stcli.settings import MergeSettings, RunSettings, SlicSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    size: options.SegmentSize = SlicSettings.size,
    compactness: options.Compactness = SlicSettings.compactness,
    iterations: Annotated[
        int, typer.Option("--iterations", help="Rounds of moving the centres.")
    ] = SlicSettings.iterations,
    scale: options.Scales = None,
    shape: options.Shape = MergeSettings.shape,
    shape_compactness: options.ShapeCompactness = MergeSettings.compactness,
    objects: options.ObjectTable = None,
    percentiles: options.Percentiles = None,
    index: options.Indices = None,
    index_bands: options.IndexBands = None,
    texture: options.Texture = False,
    geometry: options.Geometry = True,
    borders: options.Borders = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Cut a raster into superpixels (SLIC), and merge them into objects: a raster of labels.

    Example: stcli segment scene.tif objects.tif --scale 20,50,100 --objects objects.gpkg
    """
    from stcli.workflows.hierarchy import segment_objects
    from stcli.workflows.job import Inputs, Output
    from stcli.workflows.segment import segment

    sources, path = options.inputs_and_output(paths)
    options.refuse_mixed((path,), json)
    slic = SlicSettings(size=size, compactness=compactness, iterations=iterations)
    pairs = options.parse_pairs(co, "--co")
    inputs = Inputs(sources, options.parse_bands(bands), resampling, assume_crs)
    running, output = RunSettings(tile_size, memory, jobs), Output(overwrite, pairs, context.obj)
    merging = options.merge_settings(scale, shape, shape_compactness)
    wanted = options.object_settings(percentiles, index, index_bands, texture, geometry)
    options.refuse_lonely(objects, borders, wanted)
    with Console(quiet, verbose, progress) as console:
        if merging or objects:
            result: Any = segment_objects(
                inputs,
                path,
                (slic, running),
                (merging, (objects, borders), wanted),
                output=output,
                progress=console.progress,
            )
        else:
            result = segment(inputs, path, slic, running, output=output, progress=console.progress)
    console.say(f"{path}: {result.segments} segments in {result.run['seconds']:.1f} s")
    if json:
        print_json(asdict(result))


command.__name__ = "segment"
