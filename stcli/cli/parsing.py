"""Reading what options say, where typer's own types do not."""

from __future__ import annotations

import math
import re
from typing import Literal

import typer

from stcli.errors import UsageError
from stcli.settings import MergeSettings, ObjectSettings
from stcli.settings.segmentation import check_scales

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MOST_JOBS = 4096
#: Options of a training that only a network heeds.
_OF_NETWORKS = ("epochs", "patience", "local_weight", "global_weight", "balance")


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
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_JOBS:
        raise typer.BadParameter(
            f"'{text}' is no number of jobs; wanted 1 to {_MOST_JOBS}, or ALL_CPUS"
        )
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
            bands.append(int(text) if text.isdecimal() else text)
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


def parse_names(texts: list[str] | None, lowest: int = 1) -> dict[int, str] | None:
    """Read ``1=water,2=forest``; values from `lowest`."""
    parts = [part for text in texts or [] for part in text.split(",") if part]
    pairs = parse_pairs(parts, "--class-names")
    if len(pairs) < len(parts):
        raise UsageError(f"--class-names: {','.join(parts)} found, each value once wanted.")
    for value in pairs:
        if not value.isdecimal() or not lowest <= int(value) <= 255:
            wanted = f"a value from {lowest} to 255 wanted."
            raise UsageError(f"--class-names: '{value}' found, {wanted}")
        if not pairs[value].strip():
            raise UsageError(f"--class-names: '{value}=' found, a name after it wanted.")
    return {int(value): name for value, name in pairs.items()} or None


def inputs_and_output(paths: list[str]) -> tuple[tuple[str, ...], str]:
    """Split the positional paths: inputs first, output last."""
    if len(paths) < 2:
        raise UsageError("INPUT and OUTPUT are wanted: one input or more, then the output.")
    return tuple(paths[:-1]), paths[-1]


def asked(context: typer.Context) -> set[str]:
    """Name the parameters that the user gave, be their values those of the defaults or not."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def refuse_network_words(asked: set[str], algorithm: str) -> None:
    """Refuse options, of those asked for, that shape a network alone, of another algorithm."""
    found = next((name for name in _OF_NETWORKS if name in asked), None)
    if found is not None:
        raise UsageError(
            f"--{found.replace('_', '-')}: is for a network, and --algorithm is {algorithm}; "
            "leave it out."
        )


def refuse_mixed(outputs: tuple[str | None, ...], json: bool) -> None:
    """Refuse an output and JSON on one stdout."""
    if json and {"-", "/vsistdout/"} & set(outputs):
        raise UsageError("--json: an output goes to stdout already; name a file for that output.")


def parse_numbers(text: str, count: int, option: str) -> tuple[float, ...]:
    """Read numbers joined by commas or spaces."""
    try:
        numbers = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise UsageError(f"{option}: '{text}' found, {count} numbers wanted.") from error
    if not all(map(math.isfinite, numbers)):
        raise UsageError(f"{option}: '{text}' found, {count} finite numbers wanted.")
    if len(numbers) != count:
        raise UsageError(f"{option}: {len(numbers)} numbers found, {count} wanted.")
    return numbers


def parse_side(text: str | tuple[float, str]) -> tuple[float, str]:
    """Read a length with its unit: ``500m`` and ``1km`` in metres, else in units of the CRS.

    Raises
    ------
    UsageError
    """
    if isinstance(text, tuple):
        return text
    number, factor, unit = text.strip(), 1.0, "crs"
    for suffix, metres in (("km", 1000.0), ("m", 1.0)):
        if number.endswith(suffix):
            number, factor, unit = number.removesuffix(suffix), metres, "m"
            break
    try:
        return float(number) * factor, unit
    except ValueError as error:
        raise UsageError(
            f"--block: '{text}' found, a length such as 500m, 1km or 0.1 wanted."
        ) from error


def plain_side(block: tuple[float, str] | None) -> float | None:
    """Take a side in units of the coordinates, where nothing says how long those are.

    Raises
    ------
    UsageError
        It was given in metres.
    """
    if block is None or block[1] == "crs":
        return block and block[0]
    raise UsageError(
        f"--block: {block[0]:g} m found; samples and patches stand in plain coordinates, a number "
        "in their units is wanted."
    )


def parse_factors(text: str | tuple[int, ...]) -> tuple[int, ...]:
    """Read ``2`` or ``2,4``: rising, each once.

    Raises
    ------
    UsageError
    """
    if isinstance(text, tuple):
        return text
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--factor: '{text}' found, 2, 4 or 2,4 wanted.")
    return tuple(sorted({int(part) for part in parts}))


def one_factor(factors: tuple[int, ...] | None) -> int | None:
    """Take the one factor that was given, if any.

    Raises
    ------
    UsageError
        There are several.
    """
    if factors is None or len(factors) == 1:
        return factors and factors[0]
    raise UsageError(f"--factor: {len(factors)} found, one is wanted; several are for train.")


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


def parse_limits(text: str | None) -> tuple[float, float] | None:
    """Read ``LOW,HIGH``."""
    if text is None:
        return None
    low, high = parse_numbers(text, 2, "--limits")
    if not low < high:
        raise UsageError(f"--limits: '{text}' found, LOW below HIGH wanted.")
    return low, high


def merge_settings(
    scale: str | None, shape: float, compactness: float, option: str = "--scale"
) -> MergeSettings | None:
    """Read how to merge; None where no scale is given.

    Raises
    ------
    UsageError
    """
    if scale is None:
        if (shape, compactness) != (MergeSettings.shape, MergeSettings.compactness):
            raise UsageError(f"--shape, --shape-compactness: are for merging; give {option}, too.")
        return None
    scales = parse_list(scale, option)
    check_scales(scales, option)
    return MergeSettings(scales, shape, compactness)


def refuse_lonely(objects: str | None, borders: str | None, wanted: ObjectSettings) -> None:
    """Refuse options of a table that nobody asked for.

    Raises
    ------
    UsageError
    """
    given = {
        "--borders": borders is not None,
        "--percentiles": bool(wanted.percentiles),
        "--index": bool(wanted.indices),
        "--index-bands": bool(wanted.index_bands),
        "--texture": wanted.texture,
        "--no-geometry": not wanted.geometry,
    }
    found = ", ".join(option for option, there in given.items() if there)
    if objects is None and found:
        raise UsageError(
            f"{found}: for a table of objects, and none is written; name one with --objects."
        )


def parse_dates(texts: list[str] | None) -> tuple[str, ...]:
    """Read dates apart or joined by commas."""
    return tuple(part.strip() for text in texts or [] for part in text.split(",") if part.strip())
