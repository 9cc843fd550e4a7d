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
        help="A raster of patches (see --patch), or a table whose column input names rasters.",
        show_default=False,
    ),
]
PatchSide = Annotated[
    int | None, typer.Option("--patch", help="Side of a patch in a raster of patches, in pixels.")
]
Bands = Annotated[
    list[str] | None,
    typer.Option("-b", "--bidx", help="Bands to use: 1-based numbers, ranges 1..3, or names."),
]
Resampling = Annotated[
    Literal["nearest", "bilinear"],
    typer.Option("-r", "--resampling", help="How bands on a coarser grid are resampled."),
]
AssumeCrs = Annotated[
    str | None, typer.Option("--assume-crs", help="CRS of inputs that have none (EPSG:n, WKT).")
]
AssumeNodata = Annotated[
    float | None,
    typer.Option("--assume-nodata", help="Nodata value, as stored, of bands that declare none."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
CreationOptions = Annotated[
    list[str] | None,
    typer.Option("--co", metavar="KEY=VALUE", help="GDAL creation option; may be repeated."),
]
TileSize = Annotated[
    int | None,
    typer.Option("--tile-size", help="Side of a tile in pixels; 0: untiled. Default: planned."),
]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        parser=parse_bytes,
        help="Memory budget, such as 4GB. Default: half of what the process may use.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "-j",
        "--jobs",
        metavar="N",
        parser=parse_jobs,
        help="Tiles worked on at once, or ALL_CPUS (default).",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run.")
]
Scan = Annotated[
    Literal["cpu", "cuda", "reference"] | None,
    typer.Option("--scan", help="Kernel of the selective scan. Default: suits the device."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Print more, and tracebacks of bugs.")
]
Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress", help="Show progress on stderr. Default: unless --quiet."
    ),
]
Coverage = Annotated[
    float | None,
    typer.Option(
        "--coverage", help="Share of prediction sets that should hold the true class, such as 0.9."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        help="Most epochs that a network is trained for. "
        f"Default: {TrainingSettings.epochs}; for series {TemporalTraining.epochs}.",
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        "--patience",
        help="Stop after so many validations without a better result. "
        f"Default: {TrainingSettings.patience}; for a downscaler {DownscalerTraining.patience}.",
    ),
]
Algorithm = Annotated[
    Literal["network", "forest", "svm", "discriminant", "ensemble"] | None,
    typer.Option(
        "--algorithm",
        help="Learning method; ensemble joins several. Default: network; for patches and series "
        "ensemble. Scenes have no discriminant; patches have svm and ensemble alone.",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        help="Vectors with a class column, or a class raster; for patches a raster or table with "
        "the class of each. For a scene it may be repeated: where sources overlap, the first "
        "counts.",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        help="Hold out each of so many parts in turn. Default: one part, once; for patches "
        f"{PatchSettings.folds}, for series {SeriesSettings.folds}.",
    ),
]
Block = Annotated[
    Any,
    typer.Option(
        "--block",
        metavar="SIDE",
        parser=parse_side,
        help="Side of a validation block in units of the coordinates; for a scene also 500m, 1km. "
        f"Default: 1/8 of a scene; for series {SERIES_BLOCK:g} degrees; for patches no blocks.",
    ),
]
SegmentSize = Annotated[
    int | None,
    typer.Option(
        "--size",
        help="Mean number of pixels in a superpixel. "
        f"Default: {SlicSettings.size}; for series {SERIES_SLIC.size}.",
    ),
]
Compactness = Annotated[
    Any,
    typer.Option(
        "--compactness",
        metavar="NUMBER|auto",
        parser=parse_compactness,
        help="Weight of position against spectrum; auto: each superpixel finds its own.",
    ),
]
ClassColumn = Annotated[
    str | None,
    typer.Option("--class-column", help="Column of the vector labels that names the class."),
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
    bool, typer.Option("--dry-run", help="Print the plan of tiles and memory, and do nothing.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Go on from what an earlier run of this command finished, or begin anew.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="i/N",
        help="Do only shard i of N (1 to N), into OUTPUT.shard-i-of-N; stcli merge joins them. "
        "Needs --tile-size.",
    ),
]
Format = Annotated[
    Literal["COG", "GTiff", "Zarr"], typer.Option("--of", help="Format of the outputs.")
]
Fingerprint = Annotated[
    Literal["stat", "full"],
    typer.Option(
        "--fingerprint",
        help="How a changed input is noticed before finished tiles are used again: by size, time "
        "and header, or by its full content.",
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option("--skip-existing", help="Leave outputs that exist, and count them as done."),
]
Percentiles = Annotated[
    str | None,
    typer.Option("--percentiles", metavar="P,...", help="Exact percentiles of each band."),
]
Indices = Annotated[
    list[str] | None,
    typer.Option("--index", metavar="NAME", help="Spectral index of the band means, such as NDVI."),
]
IndexBands = Annotated[
    list[str] | None,
    typer.Option(
        "--index-bands",
        metavar="LETTER=BAND,...",
        help="Bands for the letters of an index's formula, such as N=B08,R=B04.",
    ),
]
Texture = Annotated[
    bool, typer.Option("--texture", help="Grey-level co-occurrence measures of each band.")
]
Geometry = Annotated[
    bool,
    typer.Option("--geometry/--no-geometry", help="Write polygons, or a plain table (.parquet)."),
]
Borders = Annotated[
    str | None,
    typer.Option(
        "--borders", metavar="FILE", help="Also write a table of shared borders (.parquet)."
    ),
    WRITES,
]
Limits = Annotated[
    str | None,
    typer.Option(
        "--limits",
        metavar="LOW,HIGH",
        help="Lowest and highest possible value, for --conserve scadd.",
    ),
]
Guide = Annotated[
    list[str] | None,
    typer.Option("--guide", help="Finer bands of the same scene; may be repeated."),
]
Conserve = Annotated[
    Literal["add", "mult", "scadd", "none"],
    typer.Option("--conserve", help="How block means are made equal to the coarse values."),
]
SegmentsBand = Annotated[
    int | None,
    typer.Option(
        "--segments-band",
        help="Band of the label raster. Default: the only one, or the first scale.",
    ),
]
Shape = Annotated[
    float, typer.Option("--shape", help="When merging: weight of shape against spectrum.")
]
ShapeCompactness = Annotated[
    float,
    typer.Option(
        "--shape-compactness", help="Within shape: weight of compactness against smoothness."
    ),
]
_MODEL = typer.Option(
    "--model",
    help="Model folder made by stcli train; for noise: additive (default), multiplicative "
    "(speckle) or poisson (counts).",
)
Model = Annotated[str | None, _MODEL]
ModelWanted = Annotated[str, _MODEL]
_REFERENCE = typer.Option(
    "--reference",
    help="Class raster on the same grid; for segments also regions; for a map also a sample of "
    "points.",
)
Reference = Annotated[str | None, _REFERENCE]
ReferenceWanted = Annotated[str, _REFERENCE]
Uncertainty = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="FILE",
        help="Raster of entropy, margin and least confidence: classify writes it, sample-plan "
        "reads it.",
    ),
]
Factor = Annotated[
    Any,
    typer.Option(
        "--factor",
        metavar="N[,N]",
        parser=parse_factors,
        help="Fine pixels along a side of a coarse one; for training one or several, such as 2,4. "
        f"Default: what the fine raster's file says, or {DownscaleSettings.factor} to make one.",
    ),
]
Method = Annotated[
    Literal["ibp", "cubic", "bilinear", "nearest", "latent", "wavelet", "similar"] | None,
    typer.Option(
        "--method",
        help="To downscale: ibp (back-projection, default), cubic, bilinear, nearest, or latent "
        "(default with --model). To denoise: wavelet (default), or similar pixels (default for "
        "--model multiplicative).",
    ),
]
NoiseLevels = Annotated[
    int, typer.Option("--levels", help="Number of wavelet levels that get a noise map each.")
]
NoiseWindow = Annotated[
    int, typer.Option("--window", help="Side of the noise map's largest window in pixels; odd.")
]
Plot = Annotated[
    str | None,
    typer.Option("--plot", metavar="PNG", help="Also draw what was measured as a picture."),
    WRITES,
]
Along = Annotated[
    Literal["time", "space"],
    typer.Option(
        "--along", help="time: dates, by their spectrum; space: bands, by their local noise."
    ),
]
Psd = Annotated[
    str | None, typer.Option("--psd", metavar="FILE", help="File of spectra that --psd-out wrote.")
]
MaskBand = Annotated[
    str | None,
    typer.Option("--mask-band", help="Variable of a stack that marks clear pixels, such as SCL."),
]
Clear = Annotated[
    str | None,
    typer.Option("--clear", metavar="V,...", help="Values of --mask-band that mean clear."),
]
Dates = Annotated[
    list[str] | None,
    typer.Option(
        "--dates", metavar="DATE,...", help="ISO dates of the bands, in the order of the bands."
    ),
]
