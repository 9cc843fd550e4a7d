"""Options of several commands, each declared once; what one alone has stands in its own module."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from stcli.cli.parsing import (
    parse_bytes,
    parse_compactness,
    parse_factors,
    parse_jobs,
    parse_side,
)
from stcli.settings import (
    SERIES_BLOCK,
    SERIES_SLIC,
    DownscalerTraining,
    DownscaleSettings,
    PatchSettings,
    SeriesSettings,
    SlicSettings,
    TemporalTraining,
    TrainingSettings,
)

#: Marks an option whose value names an output beside OUTPUT.
WRITES = "names an output"

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT OUTPUT",
        help="One raster or several (stacked as bands on the finest grid), then the output.",
        show_default=False,
    ),
]
Rasters = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="One raster or several (stacked as bands on the finest grid).",
        show_default=False,
    ),
]
Patches = Annotated[
    str,
    typer.Argument(
        metavar="PATCHES",
        help="A raster of patches (see --patch), or a table with a raster a row in column input.",
        show_default=False,
    ),
]
PatchSide = Annotated[
    int | None, typer.Option("--patch", help="Side of a patch in a raster of patches, in pixels.")
]
Bands = Annotated[
    list[str] | None,
    typer.Option("-b", "--bidx", help="Bands: 1-based numbers, ranges 1..3, or names."),
]
Resampling = Annotated[
    Literal["nearest", "bilinear"],
    typer.Option("-r", "--resampling", help="Of bands on a coarser grid."),
]
AssumeCrs = Annotated[
    str | None, typer.Option("--assume-crs", help="CRS of inputs that have none (EPSG:n, WKT).")
]
AssumeNodata = Annotated[
    float | None,
    typer.Option("--assume-nodata", help="Stored value without data, of bands that declare none."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
CreationOptions = Annotated[
    list[str] | None,
    typer.Option("--co", metavar="KEY=VALUE", help="GDAL creation option; may be repeated."),
]
TileSize = Annotated[
    int | None,
    typer.Option("--tile-size", help="Side of a tile in pixels; 0 for untiled. Default: planned."),
]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        parser=parse_bytes,
        help="Memory budget, such as 4GB. Default: half of what may be used.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "-j", "--jobs", metavar="N", parser=parse_jobs, help="Tiles at once, or ALL_CPUS (default)."
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run.")
]
Scan = Annotated[
    Literal["cpu", "cuda", "reference"] | None,
    typer.Option("--scan", help="What runs the selective scan. Default: suits the device."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; tracebacks of bugs.")]
Progress = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Progress on stderr. Default: unless --quiet."),
]
Coverage = Annotated[
    float | None,
    typer.Option(
        "--coverage", help="Share of prediction sets that hold the true class, such as 0.9."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        help="Epochs of a network at most. "
        f"Default: {TrainingSettings.epochs}; of series {TemporalTraining.epochs}.",
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        "--patience",
        help="Validations without a better result before stopping. "
        f"Default: {TrainingSettings.patience}; of a downscaler {DownscalerTraining.patience}.",
    ),
]
Algorithm = Annotated[
    Literal["network", "forest", "svm", "discriminant", "ensemble"] | None,
    typer.Option(
        "--algorithm",
        help="What learns; ensemble: several together. Default: network; of patches and series "
        "ensemble. No discriminant for scenes; svm or ensemble for patches.",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        help="Vectors with a class column, or a class raster; of patches a raster or table with a "
        "class for each. May be repeated for a scene: where sources overlap, the first counts.",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        help="Hold out each of so many parts in turn. Default: one part, once; of patches "
        f"{PatchSettings.folds}, of series {SeriesSettings.folds}.",
    ),
]
Block = Annotated[
    Any,
    typer.Option(
        "--block",
        metavar="SIDE",
        parser=parse_side,
        help="Side of a validation block in units of the coordinates; of a scene also 500m, 1km. "
        f"Default: 1/8 of a scene; of series {SERIES_BLOCK:g} degrees; patches have none.",
    ),
]
SegmentSize = Annotated[
    int | None,
    typer.Option(
        "--size",
        help="Mean pixels of a superpixel. "
        f"Default: {SlicSettings.size}; of series {SERIES_SLIC.size}.",
    ),
]
Compactness = Annotated[
    Any,
    typer.Option(
        "--compactness",
        metavar="NUMBER|auto",
        parser=parse_compactness,
        help="Weight of position against spectrum; auto suits each superpixel.",
    ),
]
ClassColumn = Annotated[
    str | None, typer.Option("--class-column", help="Column of vector labels with the class.")
]
Layer = Annotated[str | None, typer.Option("--layer", help="Layer of a vector file.")]
ClassNames = Annotated[
    list[str] | None,
    typer.Option(
        "--class-names",
        metavar="V=NAME,...",
        help="Names of the values of a class raster; other values stay unlabelled.",
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="WHO",
        help="threads, processes, serial, local (a dask cluster on this machine), or the address "
        "of a dask scheduler, such as tcp://host:8786.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Plan tiles and memory, say so, and do nothing.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Take up what a run of this command that ended early has finished, or begin anew.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="i/N",
        help="Do only shard i of N (1 to N), into OUTPUT.shard-i-of-N; stcli merge joins them. "
        "Wants --tile-size.",
    ),
]
Format = Annotated[
    Literal["COG", "GTiff", "Zarr"], typer.Option("--of", help="Format of the outputs.")
]
Fingerprint = Annotated[
    Literal["stat", "full"],
    typer.Option(
        "--fingerprint",
        help="What tells a changed input before finished tiles are taken up: size, time and "
        "header, or the full content.",
    ),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave outputs that exist: they are done already.")
]
Percentiles = Annotated[
    str | None,
    typer.Option("--percentiles", metavar="P,...", help="Percentiles of each band, exact."),
]
Indices = Annotated[
    list[str] | None,
    typer.Option("--index", metavar="NAME", help="Spectral index of the means, such as NDVI."),
]
IndexBands = Annotated[
    list[str] | None,
    typer.Option(
        "--index-bands",
        metavar="LETTER=BAND,...",
        help="Bands that the letters of an index's formula stand for, such as N=B08,R=B04.",
    ),
]
Texture = Annotated[
    bool, typer.Option("--texture", help="Grey-level co-occurrence figures of each band.")
]
Geometry = Annotated[
    bool, typer.Option("--geometry/--no-geometry", help="Polygons, or a plain table (.parquet).")
]
Borders = Annotated[
    str | None,
    typer.Option("--borders", metavar="FILE", help="Table of shared borders (.parquet)."),
    WRITES,
]
Limits = Annotated[
    str | None,
    typer.Option("--limits", metavar="LOW,HIGH", help="Possible values, for --conserve scadd."),
]
Guide = Annotated[
    list[str] | None,
    typer.Option("--guide", help="Finer bands of the same scene; may be repeated."),
]
Conserve = Annotated[
    Literal["add", "mult", "scadd", "none"],
    typer.Option("--conserve", help="How block means become the coarse values."),
]
SegmentsBand = Annotated[
    int | None,
    typer.Option(
        "--segments-band",
        help="Band of the label raster. Default: the only one, or the first scale.",
    ),
]
Shape = Annotated[
    float, typer.Option("--shape", help="In merging: weight of shape against spectrum.")
]
ShapeCompactness = Annotated[
    float,
    typer.Option("--shape-compactness", help="In shape: weight of compactness against smoothness."),
]
_MODEL = typer.Option(
    "--model",
    help="Folder made by stcli train; of noise: additive (default), multiplicative (speckle) or "
    "poisson (counts).",
)
Model = Annotated[str | None, _MODEL]
ModelWanted = Annotated[str, _MODEL]
_REFERENCE = typer.Option(
    "--reference",
    help="Classes on the same grid; for segments also regions; for a map also a sample of points.",
)
Reference = Annotated[str | None, _REFERENCE]
ReferenceWanted = Annotated[str, _REFERENCE]
Uncertainty = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="FILE",
        help="Entropy, margin and least confidence: classify writes them, sample-plan reads them.",
    ),
]
Factor = Annotated[
    Any,
    typer.Option(
        "--factor",
        metavar="N[,N]",
        parser=parse_factors,
        help="Fine pixels along a side of a coarse one; to train one or several, as 2,4. "
        f"Default: what a fine raster's file says, else {DownscaleSettings.factor} to make one.",
    ),
]
Method = Annotated[
    Literal["ibp", "cubic", "bilinear", "nearest", "latent", "wavelet", "similar"] | None,
    typer.Option(
        "--method",
        help="To refine: ibp (back-projection, default), cubic, bilinear, nearest, or latent "
        "(default with --model). To denoise: wavelet (default), or similar pixels (default for "
        "--model multiplicative).",
    ),
]
NoiseLevels = Annotated[
    int, typer.Option("--levels", help="Wavelet levels that get a noise map of their own.")
]
NoiseWindow = Annotated[
    int, typer.Option("--window", help="Side of the noise map's largest window in pixels, odd.")
]
Plot = Annotated[
    str | None,
    typer.Option("--plot", metavar="PNG", help="Draw what was measured as a picture."),
    WRITES,
]
Along = Annotated[
    Literal["time", "space"],
    typer.Option("--along", help="Dates by their spectrum, or bands by their local noise."),
]
Psd = Annotated[
    str | None, typer.Option("--psd", metavar="FILE", help="Spectra that --psd-out wrote.")
]
MaskBand = Annotated[
    str | None,
    typer.Option("--mask-band", help="Variable of a stack that tells clear pixels, as SCL."),
]
Clear = Annotated[
    str | None,
    typer.Option("--clear", metavar="V,...", help="Values of --mask-band that are clear."),
]
Dates = Annotated[
    list[str] | None,
    typer.Option("--dates", metavar="DATE,...", help="ISO dates of the bands, in their order."),
]
