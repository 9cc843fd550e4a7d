"""A cube's dates written as they were read: variables over time in a NetCDF, or bands."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.raster.reading.timecube import Cube
from stcli.raster.writing.draft import NO_DRAFTS, Drafts
from stcli.raster.writing.layout import edged, global_attrs, own_attrs, variable_scalars
from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec, create_cube
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.write import create_raster
from stcli.workflows.job import Output


class _Tiff:
    """Writes a cube's blocks (date, band, row, col) as bands of a GeoTIFF."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, window: Window, values: NDArray[Any]) -> None:
        """Write a block."""
        self._writer.write(window, np.ascontiguousarray(values.reshape(-1, *values.shape[2:])))

    def note(self, name: str, text: str) -> None:
        """Set a tag."""
        self._writer.note(name.upper(), text)


@contextlib.contextmanager
def dated_output(
    cube: Cube,
    path: str,
    output: Output,
    bands: tuple[CubeBand, ...],
    beside: Drafts = NO_DRAFTS,
    **facts: Any,
) -> Iterator[Any]:
    """Create an output of a cube's dates, in the form that its name asks for.

    Parameters
    ----------
    cube : Cube
    path : str
    output : Output
    bands : tuple of CubeBand
        The variables, where it is a NetCDF.
    beside : Drafts
        Files that appear just before it, whose block lies around this one.
    **facts
        Of the verb, for the file's provenance.
    """
    geobox = cube.raster.info.geobox
    if output.netcdf(path):
        with create_cube(cube_spec(cube, path, output, bands, **facts), geobox, beside) as writer:
            yield writer
        return
    with create_raster(tiff_spec(cube, path, output, **facts), geobox, beside) as writer:
        yield _Tiff(writer)


def cube_bands(
    cube: Cube, names: Sequence[str], attrs: Sequence[dict[str, Any]], units: Sequence[str]
) -> tuple[CubeBand, ...]:
    """Describe variables over a cube's dates, at its own heights and other scalar coordinates."""
    described = zip(names, units, attrs, cube.places[0], strict=True)
    return tuple(
        CubeBand(n, cube.dtype, units=u, attrs=a, scalars=variable_scalars(cube.raster, place))
        for n, u, a, place in described
    )


def cube_spec(
    cube: Cube, path: str, output: Output, bands: tuple[CubeBand, ...], **facts: Any
) -> CubeSpec:
    """Describe a cube's dates as a NetCDF of these variables, over the times that it has."""
    attrs = global_attrs(cube.raster) | own_attrs(output.tags(cube.raster.info, **facts))
    edges = edged(cube.raster)
    return CubeSpec(path, bands, cube.times, output.overwrite, attrs, output.command, edges)


def tiff_spec(
    cube: Cube, path: str, output: Output, units: Sequence[str] = (), **facts: Any
) -> OutputSpec:
    """Describe a cube's dates as a raster, a band a date and variable.

    Parameters
    ----------
    cube : Cube
    path : str
    output : Output
    units : sequence of str, optional
        Of the variables, ``"1"`` where none is known.
    **facts
        Of the verb, for the file's tags.
    """
    info, own = cube.raster.info, [None if unit == "1" else unit for unit in units]
    each = own * len(cube.places) or [None] * len(cube.band_names)
    return OutputSpec(
        path=path,
        dtype=cube.dtype,
        bands=tuple(OutputBand(n, units=u) for n, u in zip(cube.band_names, each, strict=True)),
        nodata=math.nan,
        kind="continuous",
        creation_options=output.creation_options,
        overwrite=output.overwrite,
        tags=output.tags(info, **facts),
        driver=output.driver,
    )
