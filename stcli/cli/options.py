"""Every option, declared once: its words, its help, its type."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import typer

from stcli.errors import UsageError
from stcli.settings import MergeSettings, ObjectSettings

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str) -> int:
    """Read ``4GB``, ``4G``, ``512MiB`` or a plain number of bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if not match or (match[3] and not match[2]):
        raise typer.BadParameter(f"'{text}' is no size; wanted for example 4GB or 512MiB")
    unit = match[2].upper()
    return round(float(match[1]) * (_BINARY[unit] if match[3] else _UNITS[unit]))


def parse_jobs(text: str) -> int | None:
    """Read a number of workers, or ALL_CPUS."""
    if text.upper() == "ALL_CPUS":
        return None
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"'{text}' is no number of jobs; wanted 1 or more, or ALL_CPUS")
    return int(text)


def parse_bands(texts: list[str] | None) -> tuple[int | str, ...]:
    """Read band numbers, ranges ``1..3`` and names, apart or joined by commas.

    Raises
    ------
    UsageError
        Nothing is named, or a range runs backwards: none of it may come to mean all bands.
    """
    bands: list[int | str] = []
    for text in (part for given in texts or [] for part in given.split(",") if part):
        span = re.fullmatch(r"(\d+)\.\.(\d+)", text)
        if span and int(span[1]) > int(span[2]):
            raise UsageError(f"--bidx: '{text}' found, a rising range such as 1..3 wanted.")
        if span:
            bands.extend(range(int(span[1]), int(span[2]) + 1))
        else:
            bands.append(int(text) if text.isdigit() else text)
    if texts and not bands:
        raise UsageError(f"--bidx: '{','.join(texts)}' found, a band's number or name wanted.")
    return tuple(bands)


def parse_pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Read ``KEY=VALUE`` pairs, values untouched."""
    pairs = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option}: '{text}' found, KEY=VALUE wanted.")
        pairs[key] = value
    return pairs


def parse_shard(text: str | None, tile_size: int | None) -> tuple[int, int] | None:
    """Read ``3/8``.

    Raises
    ------
    UsageError
        It is no shard, or no tile size is given: each shard would plan its own tiles.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard: '{text}' found, i/N wanted, with i from 1 to N.")
    if not tile_size:
        raise UsageError("--shard: give --tile-size too, so that all shards cut the same tiles.")
    return int(match[1]), int(match[2])


def parse_compactness(text: str | float) -> float | Literal["auto"]:
    """Read a number, or auto."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        message = f"'{text}' is no compactness; wanted a number >= 0, or auto"
        raise typer.BadParameter(message) from None


def parse_names(texts: list[str] | None) -> dict[int, str] | None:
    """Read ``1=water,2=forest``."""
    parts = [part for text in texts or [] for part in text.split(",") if part]
    pairs = parse_pairs(parts, "--class-names")
    for value in pairs:
        if not value.isdigit() or not 1 <= int(value) <= 255:
            raise UsageError(f"--class-names: '{value}' found, a value from 1 to 255 wanted.")
    return {int(value): name for value, name in pairs.items()} or None


def inputs_and_output(paths: list[str]) -> tuple[tuple[str, ...], str]:
    """Split the positional paths: inputs first, output last."""
    if len(paths) < 2:
        raise UsageError("INPUT and OUTPUT are wanted: one input or more, then the output.")
    return tuple(paths[:-1]), paths[-1]


def refuse_mixed(outputs: tuple[str | None, ...], json: bool) -> None:
    """Refuse a raster and JSON on one stdout."""
    if json and {"-", "/vsistdout/"} & set(outputs):
        raise UsageError("--json: stdout takes the raster already, name a file for one of them.")


def parse_numbers(text: str, count: int, option: str) -> tuple[float, ...]:
    """Read numbers joined by commas or spaces."""
    try:
        numbers = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise UsageError(f"{option}: '{text}' found, {count} numbers wanted.") from error
    if len(numbers) != count:
        raise UsageError(f"{option}: {len(numbers)} numbers found, {count} wanted.")
    return numbers


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
SegmentSize = Annotated[int, typer.Option("--size", help="Mean pixels of a superpixel.")]
Compactness = Annotated[
    Any,
    typer.Option(
        "--compactness",
        metavar="NUMBER|auto",
        parser=parse_compactness,
        help="Weight of position against spectrum; auto suits each superpixel.",
    ),
]
MinSize = Annotated[
    float,
    typer.Option("--min-size", help="Share of --size below which a segment is absorbed."),
]
SizeUnit = Annotated[
    Literal["px", "m2"],
    typer.Option("--size-unit", help="Unit of --size: pixels, or square metres on the ground."),
]
Scaling = Annotated[
    str,
    typer.Option(
        "--scaling",
        metavar="percentiles|LOW:HIGH,...|FILE",
        help="Band scaling: measured, given (one pair, or one a band), or a label raster's own.",
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
        help="Take up the finished tiles of a run of this command that ended early, or drop them.",
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
]


def parse_list(text: str | None, option: str) -> tuple[float, ...]:
    """Read numbers joined by commas.

    Raises
    ------
    UsageError
    """
    numbers = []
    for part in (text or "").split(",") if text is not None else ():
        try:
            numbers.append(float(part))
        except ValueError:
            raise UsageError(f"{option}: '{part}' found, a number wanted.") from None
    return tuple(numbers)


def object_settings(
    percentiles: str | None,
    index: list[str] | None,
    index_bands: list[str] | None,
    texture: bool,
    geometry: bool,
) -> ObjectSettings:
    """Read what is wanted of objects.

    Raises
    ------
    UsageError
    """
    names = tuple(name for text in index or [] for name in text.split(",") if name)
    parts = [part for text in index_bands or [] for part in text.split(",") if part]
    pairs = tuple(parse_pairs(parts, "--index-bands").items())
    numbers = parse_list(percentiles, "--percentiles")
    return ObjectSettings(numbers, names, pairs, texture, geometry)


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


def parse_limits(text: str | None) -> tuple[float, float] | None:
    """Read ``LOW,HIGH``."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--limits: '{text}' found, LOW,HIGH wanted.") from error
    if not low < high:
        raise UsageError(f"--limits: '{text}' found, LOW below HIGH wanted.")
    return low, high


Bounds = Annotated[
    str | None,
    typer.Option(
        "--bounds", metavar="MINX,MINY,MAXX,MAXY", help="Part to look at, in units of the CRS."
    ),
]
SegmentsBand = Annotated[int, typer.Option("--segments-band", help="Band of the label raster.")]
Scales = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="S,...",
        help="Merge into objects up to this heterogeneity; several: nested levels, a band each.",
    ),
]
Shape = Annotated[
    float, typer.Option("--shape", help="In merging: weight of shape against spectrum.")
]
ShapeCompactness = Annotated[
    float,
    typer.Option("--shape-compactness", help="In shape: weight of compactness against smoothness."),
]
ObjectTable = Annotated[
    str | None,
    typer.Option(
        "--objects",
        metavar="FILE",
        help="Table of the objects (of the first scale) with polygons: .gpkg, .fgb, .parquet.",
    ),
]


def merge_settings(scale: str | None, shape: float, compactness: float) -> MergeSettings | None:
    """Read how to merge; None where no scale is given.

    Raises
    ------
    UsageError
    """
    if scale is None:
        return None
    return MergeSettings(parse_list(scale, "--scale"), shape, compactness)


def refuse_lonely(objects: str | None, borders: str | None, wanted: ObjectSettings) -> None:
    """Refuse options of a table that nobody asked for.

    Raises
    ------
    UsageError
    """
    if objects is None and (borders is not None or wanted != ObjectSettings()):
        raise UsageError(
            "--borders, --percentiles, --index, --texture and --no-geometry: describe a table of "
            "objects and none is written; name one with --objects."
        )


NoiseModel = Annotated[
    Literal["additive", "multiplicative", "poisson"],
    typer.Option("--model", help="Noise: added, a share of the value (speckle), or of counts."),
]
NoiseLevels = Annotated[
    int, typer.Option("--levels", help="Wavelet levels that get a noise map of their own.")
]
NoiseWindow = Annotated[
    int, typer.Option("--window", help="Side of the noise map's largest window in pixels, odd.")
]
NoiseSource = Annotated[
    str,
    typer.Option(
        "--noise",
        metavar="local|global|FILE",
        help="Noise at each pixel, one for all pixels, or a raster that stcli noise wrote.",
    ),
]
NoisePlot = Annotated[
    str | None, typer.Option("--plot", metavar="PNG", help="Draw the noise map's first band.")
]
Along = Annotated[
    Literal["time", "space"],
    typer.Option("--along", help="Dates by their spectrum, or bands by their local noise."),
]
Psd = Annotated[
    str | None, typer.Option("--psd", metavar="FILE", help="Spectra that --psd-out wrote.")
]
PsdOut = Annotated[
    str | None,
    typer.Option(
        "--psd-out", metavar="FILE", help="Write the spectra (NetCDF): unwhiten needs them."
    ),
]
Dates = Annotated[
    list[str] | None,
    typer.Option("--dates", metavar="DATE,...", help="ISO dates of the bands, in their order."),
]


def parse_dates(texts: list[str] | None) -> tuple[str, ...]:
    """Read dates apart or joined by commas."""
    return tuple(part.strip() for text in texts or [] for part in text.split(",") if part.strip())
