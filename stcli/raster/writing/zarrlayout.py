"""What a Zarr of stcli is made of: options, arrays, attributes, coordinates.

One array holds the output: (row, col) for one band, (band, row, col) for several, in square chunks
of one band. Beside it lie the coordinates ``x`` and ``y`` of pixel centres, for several bands
their names as ``band`` and, where they differ, their units as the store's attribute
``band_units``, and the CF grid mapping ``spatial_ref``; the array's attribute ``_CRS`` is
GDAL's own. So xarray and GDAL both see where the pixels are, what they are called, and nodata
(the array's fill value). GDAL 3.10 reads format 2, the default, and not what is written as 3.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.errors import UsageError
from stcli.raster.axes import axis_attrs
from stcli.raster.reading.zarrtags import BAND_UNITS
from stcli.raster.writing.legend import flags
from stcli.raster.writing.output import BLOCK, OutputSpec

#: By format; gzip, which format 3 has for zlib, would write the time into each chunk.
_CODECS = {"2": ("ZSTD", "ZLIB", "NONE"), "3": ("ZSTD", "NONE")}


def zarr_options(spec: OutputSpec) -> dict[str, Any]:
    """Read the creation options of a Zarr: format, codec, side of a chunk.

    Raises
    ------
    UsageError
        An option is unknown, or its value is.
    """
    chosen = {"ZARR_FORMAT": "2", "COMPRESS": "ZSTD", "BLOCKSIZE": str(BLOCK)}
    given = {key.upper(): value.upper() for key, value in spec.creation_options.items()}
    if unknown := sorted(set(given) - set(chosen)):
        raise UsageError(f"--co {unknown[0]}: unknown to Zarr; {', '.join(chosen)} are known.")
    chosen |= given
    side, form = chosen["BLOCKSIZE"], chosen["ZARR_FORMAT"]
    codecs = _CODECS.get(form, ())
    for option, holds, wanted in (
        ("ZARR_FORMAT", form in _CODECS, "2 or 3"),
        ("COMPRESS", chosen["COMPRESS"] in codecs, f"{' or '.join(codecs)} in format {form}"),
        ("BLOCKSIZE", side.isdecimal() and int(side) > 0, "a number of pixels"),
    ):
        if not holds:
            raise UsageError(f"--co {option}={chosen[option]}: {wanted} is wanted.")
    return {"format": int(form), "codec": chosen["COMPRESS"], "side": int(side)}


def refuse_rotated(spec: OutputSpec, geobox: GeoBox) -> None:
    """Refuse a grid whose rows and columns have no coordinate of their own; raises `UsageError`."""
    if geobox.transform.b or geobox.transform.d:
        raise UsageError(
            f"{spec.path}: a rotated grid has no x and y for each column and row, which Zarr "
            "wants; write --of COG."
        )


def create(folder: Path, spec: OutputSpec, geobox: GeoBox) -> None:
    """Write a store's metadata and coordinates into an empty directory."""
    import zarr

    chosen = zarr_options(spec)
    several = len(spec.bands) > 1
    dims = ("band", "y", "x") if several else ("y", "x")
    rows, cols = (int(size) for size in geobox.shape)
    group = zarr.open_group(
        str(folder),
        mode="w",
        zarr_format=chosen["format"],
        attributes={"Conventions": "CF-1.8", **_mixed_units(spec), **spec.tags},
    )
    side = chosen["side"]
    shape = (len(spec.bands), rows, cols) if several else (rows, cols)
    chunks = (1, side, side) if several else (side, side)
    make = _Maker(group, chosen["format"])
    pixels = {"fill": spec.nodata, "codec": _codec(chosen)}
    facts = _attributes(spec, geobox)
    make(array_name(spec), dims, shape, spec.dtype, facts, chunks, **pixels)
    for axis, values in _coordinates(geobox).items():
        told = axis_attrs(geobox.crs, axis.upper())
        array = make(axis, (axis,), values.shape, "float64", told, values.shape)
        array[...] = values
    if several and chosen["format"] == 2:  # format 3 has no settled type for texts
        names = np.array([band.name for band in spec.bands])
        make("band", ("band",), names.shape, names.dtype, {}, names.shape)[...] = names
    make("spatial_ref", (), (), "int32", _mapping(geobox), ())[...] = 0
    with warnings.catch_warnings(action="ignore"):  # format 3 has yet to specify it
        zarr.consolidate_metadata(group.store)


class _Maker:
    """Creates the arrays of a store."""

    def __init__(self, group: Any, form: int) -> None:
        self.group, self.form = group, form

    def __call__(
        self,
        name: str,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: Any,
        attributes: dict[str, Any],
        chunks: tuple[int, ...],
        fill: Any = None,
        codec: Any = None,
    ) -> Any:
        two = self.form == 2
        if two:
            attributes = {"_ARRAY_DIMENSIONS": list(dims), **attributes}
        return self.group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            compressors=codec,
            fill_value=fill if two or fill is not None else 0,
            attributes=attributes,
            dimension_names=None if two else dims,
        )


def _codec(chosen: dict[str, Any]) -> Any:
    """Choose a codec whose bytes do not depend on threads."""
    import numcodecs
    from zarr.codecs import ZstdCodec

    if chosen["format"] == 3:
        return {"ZSTD": ZstdCodec(level=1)}.get(chosen["codec"])
    known = {"ZSTD": numcodecs.Zstd(level=1), "ZLIB": numcodecs.Zlib(level=6)}
    return known.get(chosen["codec"])


def array_name(spec: OutputSpec) -> str:
    """Name of the array: its only band's, where that is a plain word."""
    name = spec.bands[0].name
    plain = len(spec.bands) == 1 and name.isidentifier() and name not in ("x", "y", "spatial_ref")
    return name if plain else "data"


def _attributes(spec: OutputSpec, geobox: GeoBox) -> dict[str, Any]:
    names = [band.name for band in spec.bands]
    found: dict[str, Any] = {"long_name": names if len(names) > 1 else names[0]}
    if geobox.crs is not None:
        found |= {"grid_mapping": "spatial_ref", "_CRS": {"wkt": geobox.crs.to_wkt()}}
    units = {band.units for band in spec.bands}
    if len(units) == 1 and None not in units:
        found["units"] = units.pop()
    if legend := flags(spec.bands[0].categories or ()):
        found["flag_values"], found["flag_meanings"] = legend
    return found


def _mixed_units(spec: OutputSpec) -> dict[str, list[str]]:
    """Units of bands that differ in them: an array has but one, and GDAL gives it to each band."""
    units = [band.units or "" for band in spec.bands]
    return {BAND_UNITS: units} if len(set(units)) > 1 else {}


def _coordinates(geobox: GeoBox) -> dict[str, NDArray[np.float64]]:
    """Coordinates of pixel centres."""
    where, (rows, cols) = geobox.transform, geobox.shape
    columns = np.arange(cols, dtype=np.float64) + 0.5
    lines = np.arange(rows, dtype=np.float64) + 0.5
    return {"x": where.c + where.a * columns, "y": where.f + where.e * lines}


def _mapping(geobox: GeoBox) -> dict[str, Any]:
    where = geobox.transform
    numbers = (where.c, where.a, where.b, where.f, where.d, where.e)
    found = {"GeoTransform": " ".join(repr(float(number)) for number in numbers)}
    if geobox.crs is not None:
        found["crs_wkt"] = geobox.crs.to_wkt()
    return found
