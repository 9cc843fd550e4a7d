"""What ``merge`` writes as NetCDF: a variable a band, from the parts of shards or from rasters."""

from __future__ import annotations

from typing import Any

import numpy as np

from stcli.raster.writing.cubeparts import CubeForm
from stcli.raster.writing.layout import own_attrs, variables
from stcli.raster.writing.legend import flags
from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec
from stcli.raster.writing.output import OutputSpec
from stcli.workflows.job import Output


def cube_of(spec: OutputSpec, output: Output) -> CubeSpec:
    """Describe as a cube what would be a raster file: its bands, legend and provenance."""
    names = variables([band.name for band in spec.bands])
    bands = []
    for name, band in zip(names, spec.bands, strict=True):
        attrs: dict[str, Any] = {"long_name": band.name}
        legend = flags(band.categories or ())
        if legend:
            values, meanings = legend
            attrs |= {"flag_values": np.array(values, spec.dtype), "flag_meanings": meanings}
        bands.append(CubeBand(name, spec.dtype, spec.nodata, band.units or "1", attrs))
    facts = spec.overwrite, own_attrs(spec.tags), output.command
    return CubeSpec(spec.path, tuple(bands), None, *facts)


def cube_form(spec: OutputSpec, output: Output) -> CubeForm:
    """Say how the parts of a raster end as that cube."""
    return CubeForm(cube_of(spec, output), np.arange(len(spec.bands))[None])
