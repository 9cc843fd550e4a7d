"""Every option, declared once: its words, its help, its type."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from stcli.errors import UsageError

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
    float, typer.Option("--compactness", help="Weight of position against spectrum.")
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
