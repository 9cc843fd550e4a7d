"""What to write: the specification of an output, and the creation options that follow from it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.crs import CRS

from stcli.raster.writing.legend import Colour

Driver = Literal["COG", "GTiff", "Zarr"]
STDOUT = ("-", "/vsistdout/")
#: Side of a block in pixels, halved while one of all bands takes more bytes, down to the least.
BLOCK, _LEAST_SIDE, _MOST_BYTES = 512, 128, 1 << 23
_OVERVIEWS = {"classes": "MODE", "labels": "NEAREST", "continuous": "AVERAGE"}
#: Of ZSTD: 9 % more bytes than level 9 in a tenth of the time, on noisy 16-bit bands.
_LEVEL = "1"
#: Of what is read once and then removed.
_CODEC = {
    "TILED": "YES",
    "COMPRESS": "ZSTD",
    "ZSTD_LEVEL": _LEVEL,
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "1",  # tiles are at work beside it
}
#: A block of one band is what an open part keeps in memory.
_RAW = {"TILED": "YES", "COMPRESS": "NONE", "INTERLEAVE": "BAND"}
_LOSSLESS = {"NONE", "DEFLATE", "ZSTD", "LZW", "LZMA", "PACKBITS"}
#: A COG's names of predictors, as a GeoTIFF's numbers.
_NAMED = {"NO": "1", "STANDARD": "2", "FLOATING_POINT": "3"}
#: What YES means, for whole numbers and for others.
_PREDICTORS = ("2", "3")
#: What a GeoTIFF calls the COG's LEVEL.
_LEVELS = {"ZSTD": "ZSTD_LEVEL", "DEFLATE": "ZLEVEL"}
#: Creation options of which each block of a GeoTIFF can be packed alone, and those of its bytes.
_FILE_WIDE = {"BIGTIFF", "NUM_THREADS"}
_BLOCKWISE = {"COMPRESS", "PREDICTOR", "ZSTD_LEVEL", "ZLEVEL", "TILED", "BLOCKXSIZE", "BLOCKYSIZE"}


@dataclass(frozen=True)
class OutputBand:
    """One band of an output.

    Attributes
    ----------
    name : str
        The band's description.
    colors : dict of int to (red, green, blue, alpha), optional
        Colour table, 0–255; for the only band of an 8- or 16-bit raster.
    categories : tuple of str, optional
        ``categories[i]`` names value i; ``''`` for an unused value.
    units : str, optional
        Unit of the values.
    """

    name: str
    colors: dict[int, Colour] | None = None
    categories: tuple[str, ...] | None = None
    units: str | None = None


@dataclass(frozen=True)
class OutputSpec:
    """What to write and how.

    Attributes
    ----------
    path : str
        A local file, or ``-`` or ``/vsistdout/`` for stdout.
    dtype : str
        Data type of the file and of the blocks.
    bands : tuple of OutputBand
    nodata : float, int or None
        Declared nodata value; ``nan`` is fine for floats. Pixels never written hold it.
    kind : {'labels', 'classes', 'continuous'}
        Decides overviews (nearest, mode, average) and predictor (none for labels and classes).
    creation_options : dict
        GDAL's, values untouched; they override ours.
    overwrite : bool
        Replace an existing output.
    tags : dict
        Dataset tags; ``AREA_OR_POINT`` is honoured.
    driver : {'COG', 'GTiff', 'Zarr'}
    threads : int or None
        Threads that finish the file, unless GDAL_NUM_THREADS says otherwise; None for all.
    """

    path: str
    dtype: str
    bands: tuple[OutputBand, ...]
    nodata: float | int | None
    kind: Literal["labels", "classes", "continuous"]
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    driver: Driver = "COG"
    threads: int | None = None


def side_of(spec: OutputSpec) -> int:
    """Side of the blocks that an output has: halved until one of all bands is no more than 8 MB."""
    return side_of_pixels(np.dtype(spec.dtype).itemsize * len(spec.bands))


def side_of_pixels(pixel: int) -> int:
    """Side of the blocks of an output whose pixels have so many bytes in all bands."""
    side = BLOCK
    while side > _LEAST_SIDE and side**2 * pixel > _MOST_BYTES:
        side //= 2
    return side


def block_bytes(spec: OutputSpec) -> int:
    """Bytes of a block of all bands of the final file, as its creation options cut it."""
    used, side = options(spec), str(side_of(spec))
    names = ("BLOCKSIZE",) * 2 if spec.driver == "COG" else ("BLOCKYSIZE", "BLOCKXSIZE")
    sides = [used.get(name, side) for name in names]
    pixels = math.prod(int(size) if size.isdecimal() else BLOCK for size in sides)
    return pixels * np.dtype(spec.dtype).itemsize * len(spec.bands)


def grid(spec: OutputSpec, geobox: GeoBox) -> dict[str, Any]:
    """Size, bands, data type, nodata, CRS and transform of an output, as rasterio takes them."""
    crs = None if geobox.crs is None else CRS.from_wkt(geobox.crs.to_wkt())
    return {
        "height": int(geobox.shape[0]),
        "width": int(geobox.shape[1]),
        "count": len(spec.bands),
        "dtype": spec.dtype,
        "nodata": spec.nodata,
        "crs": crs,
        "transform": geobox.transform,
    }


def profile(spec: OutputSpec, geobox: GeoBox) -> dict[str, Any]:
    """Creation profile of the spool: fast, since it is read once."""
    return {
        "driver": "GTiff",
        **grid(spec, geobox),
        **_CODEC,
        "BLOCKXSIZE": side_of(spec),
        "BLOCKYSIZE": side_of(spec),
        "PREDICTOR": _predictor(spec),
        "SPARSE_OK": "TRUE",
    }


def part_profile(spec: OutputSpec, shape: tuple[int, ...]) -> dict[str, Any]:
    """Creation profile of a part (band, row, col): as the spool, without a place on Earth.

    The grid is that of the raster and is written once; a transform that is not the identity
    spares a warning for each part. Labels and classes shrink to a tenth and are packed; packing
    continuous values twice would cost more time than it saves room.
    """
    sides = {"BLOCKYSIZE": shape[1], "BLOCKXSIZE": shape[2]}
    blocks = {name: min(side_of(spec), -(-side // 16) * 16) for name, side in sides.items()}
    how = _RAW if spec.kind == "continuous" else {**_CODEC, "PREDICTOR": _predictor(spec)}
    return _small(spec, shape) | how | blocks


def _small(spec: OutputSpec, shape: tuple[int, ...]) -> dict[str, Any]:
    """Profile of a GeoTIFF without a place on Earth (band, row, col)."""
    return {
        "driver": "GTiff",
        "count": shape[0],
        "height": shape[1],
        "width": shape[2],
        "dtype": spec.dtype,
        "transform": Affine.scale(2),
    }


def packing(spec: OutputSpec) -> dict[str, str] | None:
    """Creation options of a GeoTIFF that a block's bytes follow from, where each is packed alone.

    None where they cannot: another format, a stream, strips, an option that is not known to
    leave blocks independent of each other, or overviews made otherwise than ours.
    """
    used: dict[str, str] | None = options(spec)
    if spec.driver == "COG":
        used = _tiled(spec)
    if used is None or spec.driver == "Zarr" or spec.path in STDOUT:
        return None
    if set(used) - _BLOCKWISE - _FILE_WIDE:
        return None
    tiled = used["TILED"].upper() in ("YES", "TRUE", "ON", "1")
    if not tiled or used["COMPRESS"].upper() not in _LOSSLESS:
        return None
    return {key: used[key] for key in sorted(_BLOCKWISE & set(used))}


def _tiled(spec: OutputSpec) -> dict[str, str] | None:
    """Creation options of a COG as those of a plain GeoTIFF; None where these cannot say it."""
    used = {key: value.upper() for key, value in options(spec).items()}
    resampling = used.pop("OVERVIEW_RESAMPLING", _OVERVIEWS[spec.kind])
    side, level = used.pop("BLOCKSIZE"), used.pop("LEVEL", None)
    named = {number: number for number in _NAMED.values()}
    named |= {"YES": _PREDICTORS[np.dtype(spec.dtype).kind == "f"], **_NAMED}
    predictor = named.get(used.pop("PREDICTOR", "NO"))
    if resampling != _OVERVIEWS[spec.kind] or predictor is None:
        return None
    how = {"TILED": "YES", "BLOCKXSIZE": side, "BLOCKYSIZE": side, "PREDICTOR": predictor}
    if level is not None:
        if used["COMPRESS"] not in _LEVELS:
            return None
        how[_LEVELS[used["COMPRESS"]]] = level
    return used | how


def head_options(spec: OutputSpec) -> dict[str, str]:
    """Creation options of the GeoTIFF that packed blocks are put into."""
    big = {key: value for key, value in options(spec).items() if key == "BIGTIFF"}
    return (packing(spec) or {}) | big


def block_side(spec: OutputSpec) -> int | None:
    """Side of the blocks that can be packed alone, where they are square; else None."""
    how = packing(spec) or {"BLOCKXSIZE": "", "BLOCKYSIZE": "?"}
    side = how["BLOCKXSIZE"]
    return int(side) if side == how["BLOCKYSIZE"] and side.isdecimal() and int(side) else None


def packed_profile(spec: OutputSpec, shape: tuple[int, ...]) -> dict[str, Any]:
    """Creation profile of an array (band, row, col) whose blocks are packed as the output's."""
    return _small(spec, shape) | (packing(spec) or {}) | {"NUM_THREADS": "1"}


def options(spec: OutputSpec) -> dict[str, str]:
    """Creation options of the final file, the user's last."""
    ours = {"COMPRESS": "ZSTD", "BIGTIFF": "IF_SAFER", "NUM_THREADS": _threads(spec)}
    if spec.driver == "COG":
        named = {number: name for name, number in _NAMED.items()}
        ours |= {
            "BLOCKSIZE": str(side_of(spec)),
            "LEVEL": _LEVEL,
            "PREDICTOR": named[_predictor(spec)],
            "OVERVIEW_RESAMPLING": _OVERVIEWS[spec.kind],
        }
    else:
        ours |= {
            "TILED": "YES",
            "BLOCKXSIZE": str(side_of(spec)),
            "BLOCKYSIZE": str(side_of(spec)),
            "ZSTD_LEVEL": _LEVEL,
            "PREDICTOR": _predictor(spec),
        }
    chosen = {key.upper(): value for key, value in spec.creation_options.items()}
    if "COMPRESS" in chosen:  # our level and predictor belong to our codec
        for key in ("LEVEL", "ZSTD_LEVEL", "PREDICTOR"):
            ours.pop(key, None)
    return ours | chosen


def _predictor(spec: OutputSpec) -> str:
    """None for labels and classes: rows repeat the one above, differences along them do not."""
    if spec.kind != "continuous":
        return "1"
    return "3" if np.dtype(spec.dtype).kind == "f" else "2"


def _threads(spec: OutputSpec) -> str:
    return os.environ.get("GDAL_NUM_THREADS", str(spec.threads or "ALL_CPUS"))


def exact(spec: OutputSpec) -> bool:
    """Tell whether the final file must hold the very values of the spool, on its grid."""
    used = options(spec)
    changing = {"NBITS", "DISCARD_LSB", "TARGET_SRS", "TILING_SCHEME", "RES", "EXTENT"}
    return used["COMPRESS"].upper() in _LOSSLESS and not changing & set(used)


def describe(spec: OutputSpec, geobox: GeoBox) -> dict[str, Any]:
    """Say in plain facts what an output is and where its pixels are; `described` reads it."""
    crs = None if geobox.crs is None else geobox.crs.to_wkt()
    return {
        "spec": asdict(spec),
        "geobox": {"shape": list(geobox.shape), "transform": geobox.transform[:6], "crs": crs},
    }


def described(facts: dict[str, Any]) -> tuple[OutputSpec, GeoBox]:
    """Read what `describe` said; raises KeyError, TypeError or ValueError for other facts."""
    bands = tuple(
        OutputBand(
            band["name"],
            band["colors"] and {int(k): tuple(v) for k, v in band["colors"].items()},
            band["categories"] and tuple(band["categories"]),
            band.get("units"),
        )
        for band in facts["spec"]["bands"]
    )
    where = facts["geobox"]
    grid = GeoBox(tuple(where["shape"]), Affine(*where["transform"]), where["crs"])
    return OutputSpec(**{**facts["spec"], "bands": bands}), grid
