"""``stcli preview``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json


def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE PICTURE",
            help="One raster or several (stacked as bands on the finest grid), then a .png file.",
            show_default=False,
        ),
    ],
    outlines: Annotated[
        str | None,
        typer.Option("--outlines", help="Raster of segments whose outlines are drawn."),
    ] = None,
    longest: Annotated[
        int, typer.Option("--longest", help="Longer side of the picture in pixels.")
    ] = 1200,
    stretch: Annotated[
        str,
        typer.Option(
            "--stretch", metavar="LOW,HIGH", help="Percentiles that are drawn darkest and lightest."
        ),
    ] = "2,98",
    bounds: Annotated[
        str | None,
        typer.Option(
            "--bounds", metavar="MINX,MINY,MAXX,MAXY", help="Part to draw, in units of the CRS."
        ),
    ] = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw a raster as a PNG picture.

    Draws stretched bands, or classes with their legend, and outlines of segments.

    Example: stcli preview scene.tif scene.png --outlines segments.tif
    """
    from stcli.workflows.files.preview import View, preview
    from stcli.workflows.job import Assumed, Inputs

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json)
    low, high = parsing.parse_numbers(stretch, 2, "--stretch")
    box = parsing.parse_numbers(bounds, 4, "--bounds") if bounds is not None else None
    view = View(longest, (low, high), box, outlines)  # type: ignore[arg-type]
    with Console(quiet, verbose) as console:
        result = preview(
            Inputs(sources, parsing.parse_bands(bands), resampling, assumed),
            path,
            view,
            overwrite,
        )
        console.say(f"{path}: {result.shows}, {result.width} x {result.height} pixels")
    if json:
        print_json(asdict(result))
