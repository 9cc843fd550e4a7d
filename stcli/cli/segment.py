"""``stcli segment``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.settings import MergeSettings, RunSettings, SlicSettings, given


def command(
    context: typer.Context,
    paths: options.Paths,
    size: options.SegmentSize = None,
    size_unit: Annotated[
        Literal["px", "m2"],
        typer.Option("--size-unit", help="Unit of --size: pixels, or square metres on the ground."),
    ] = "px",
    compactness: options.Compactness = SlicSettings.compactness,
    iterations: Annotated[
        int, typer.Option("--iterations", help="Rounds in which superpixels move their centres.")
    ] = SlicSettings.iterations,
    min_size: Annotated[
        float,
        typer.Option(
            "--min-size", help="Share of --size below which a segment is absorbed by a neighbour."
        ),
    ] = SlicSettings.min_size,
    scaling: Annotated[
        str,
        typer.Option(
            "--scaling",
            metavar="percentiles|LOW:HIGH,...|FILE",
            help="How bands are scaled: measured, given (one pair, or one for each band), or as "
            "in a label raster.",
        ),
    ] = "percentiles",
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="S,...",
            help="Merge superpixels into objects up to this heterogeneity; several give nested "
            "levels, one band each.",
        ),
    ] = None,
    shape: options.Shape = MergeSettings.shape,
    shape_compactness: options.ShapeCompactness = MergeSettings.compactness,
    objects: Annotated[
        str | None,
        typer.Option(
            "--objects",
            metavar="FILE",
            help="Also write a table of the objects (of the first scale) with polygons: .gpkg, "
            ".fgb, .parquet.",
        ),
        options.WRITES,
    ] = None,
    percentiles: options.Percentiles = None,
    index: options.Indices = None,
    index_bands: options.IndexBands = None,
    texture: options.Texture = False,
    geometry: options.Geometry = True,
    borders: options.Borders = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    of: options.Format = "COG",
    resume: options.Resume = True,
    shard: options.Shard = None,
    fingerprint: options.Fingerprint = "stat",
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    scheduler: options.Scheduler = "threads",
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Cut a raster into superpixels or objects.

    Writes a raster of labels. Superpixels (SLIC) are merged into objects with --scale.

    Example: stcli segment scene.tif objects.tif --scale 20,50,100 --objects objects.gpkg
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.segmentation.given import Given
    from stcli.workflows.segmentation.hierarchy import refuse_parts, segment_objects
    from stcli.workflows.segmentation.segment import plan_segment, segment

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    ground = size_unit == "m2"
    slic = SlicSettings(
        compactness=compactness,
        iterations=iterations,
        min_size=min_size,
        **given(size=None if ground else size),
    )
    chosen = Given((size or SlicSettings.size) if ground else None, scaling)
    inputs = Inputs(sources, parsing.parse_bands(bands), resampling, assumed)
    run = RunSettings(tile_size, memory, jobs, scheduler=scheduler)
    part = parsing.parse_shard(shard, tile_size)
    pairs = parsing.parse_pairs(co, "--co")
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    merging = parsing.merge_settings(scale, shape, shape_compactness)
    wanted = parsing.object_settings(percentiles, index, index_bands, texture, geometry)
    parsing.refuse_lonely(objects, borders, wanted)
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            if merging or objects:
                refuse_parts(path, output)
            return print_plan(plan_segment(inputs, path, slic, run, chosen, output=output), json)
        if merging or objects:
            result: Any = segment_objects(
                inputs,
                path,
                (slic, run, chosen),
                (merging, (objects, borders), wanted),
                output=output,
                progress=console.progress,
            )
        else:
            result = segment(
                inputs, path, slic, run, given=chosen, output=output, progress=console.progress
            )
    console.say(f"{path}: {result.segments} segments in {result.run['seconds']:.1f} s")
    if json:
        print_json(asdict(result))
