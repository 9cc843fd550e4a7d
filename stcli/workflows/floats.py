"""Rasters of floats that hold what was made of an input's bands: their type, units, description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from stcli.raster.info import RasterInfo
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.workflows.job import Output


def float_type(info: RasterInfo) -> np.dtype[Any]:
    """Give float64 for bands that float32 does not hold to the last digit of their type."""
    wide = info.dtype.itemsize > (4 if info.dtype.kind == "f" else 2)
    return np.dtype(np.float64 if wide else np.float32)


def band_units(info: RasterInfo) -> list[str | None]:
    """Give the unit of each band, None where it is not told."""
    return [band.units for band in info.bands]


def float_spec(
    info: RasterInfo,
    path: str,
    names: Iterable[str],
    output: Output,
    *,
    units: Iterable[str | None] | None = None,
    **tags: Any,
) -> OutputSpec:
    """Describe a raster of floats with NaN for nodata.

    Parameters
    ----------
    info : RasterInfo
        Of the input.
    path : str
    names : iterable of str
        Of the bands.
    output : Output
    units : iterable of str or None, optional
        Of the bands, where they have any.
    **tags
        Facts for the file's provenance.
    """
    named = (
        zip(names, units, strict=True) if units is not None else ((name, None) for name in names)
    )
    return OutputSpec(
        path=path,
        dtype=float_type(info).name,
        bands=tuple(OutputBand(name, units=unit) for name, unit in named),
        nodata=np.nan,
        kind="continuous",
        creation_options=output.creation_options,
        overwrite=output.overwrite,
        tags=output.tags(info, **tags),
        driver=output.driver,
    )
