"""``stcli assess-segments``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, percent, print_json, table
from stcli.settings import MergeSettings, RunSettings


def command(
    path: Annotated[str, typer.Argument(metavar="SEGMENTS", help="Label raster.")],
    reference: options.Reference = None,
    scene: Annotated[
        list[str] | None,
        typer.Option(
            "--scene", help="Raster that was segmented, on the same grid; may be repeated."
        ),
    ] = None,
    radius: Annotated[
        int, typer.Option("--radius", help="Distance in pixels within which boundaries agree.")
    ] = 2,
    suggest_scale: Annotated[
        str | None,
        typer.Option(
            "--suggest-scale", metavar="S,...", help="Suggest the best of these scales for merging."
        ),
    ] = None,
    shape: options.Shape = MergeSettings.shape,
    shape_compactness: options.ShapeCompactness = MergeSettings.compactness,
    segments_band: options.SegmentsBand = None,
    bands: options.Bands = None,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Measure the quality of segments.

    Compares their boundaries and regions with a reference, tells how much of a scene's variation
    they explain, and suggests a scale for merging.

    Example: stcli assess-segments segments.tif --reference landcover.tif --scene scene.tif --json
    """
    from stcli.workflows.job import Inputs
    from stcli.workflows.segmentation.assess_segments import Against, assess_segments

    inputs = Inputs(tuple(scene), parsing.parse_bands(bands)) if scene else None
    with Console(quiet, verbose, progress) as console:
        result = assess_segments(
            path,
            Against(reference, inputs, radius, segments_band),
            RunSettings(tile_size, memory, jobs),
            candidates=parsing.merge_settings(
                suggest_scale, shape, shape_compactness, "--suggest-scale"
            ),
            progress=console.progress,
        )
    if json:
        print_json(result)
    else:
        print(figures_table(result))


_SHARES = {
    "boundary_recall": "boundary recall",
    "boundary_precision": "boundary precision",
    "asa": "ASA",
    "undersegmentation": "under-segmentation error",
    "explained_variation": "explained variation",
}


def figures_table(result: dict[str, Any]) -> str:
    """Lay out the figures of segments."""
    sizes = result["sizes"]
    rows: list[tuple[str, ...]] = [("segments", str(result["segments"]))]
    rows += [(f"pixels, {name}", f"{sizes[name]:.4g}") for name in ("min", "p50", "max", "mean")]
    rows += [(title, percent(result[key])) for key, title in _SHARES.items() if key in result]
    text = table(rows)
    if "scales" in result:
        levels: list[tuple[str, ...]] = [("scale", "objects", "variance", "Moran's I", "score")]
        for level in result["scales"]["candidates"]:
            v, moran = (
                "–" if level[k] is None else f"{level[k]:.4g}" for k in ("variance", "moran")
            )
            score = f"{level['score']:.3f}"
            levels.append((f"{level['scale']:g}", str(level["objects"]), v, moran, score))
        text += f"\n\n{table(levels)}\nsuggested scale: {result['scales']['suggested']:g}"
    return text
