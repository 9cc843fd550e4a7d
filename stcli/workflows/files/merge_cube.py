"""What ``merge`` writes as NetCDF: a variable a band, from the parts of shards or from rasters."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from stcli.engine.memory import Cost
from stcli.engine.run import BlockFunction, Tally
from stcli.engine.tiling import Tile
from stcli.raster.writing.layout import own_attrs, variables
from stcli.raster.writing.legend import flags
from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec, create_cube
from stcli.raster.writing.output import OutputSpec
from stcli.settings import RunSettings
from stcli.workflows.job import Output, Pass, Progress, plan_pass
from stcli.workflows.passes import Planned
from stcli.workflows.produce import Blocks


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
    command = shlex.join(output.argv) or "stcli"
    return CubeSpec(spec.path, tuple(bands), None, spec.overwrite, own_attrs(spec.tags), command)


def lay_cube(
    raster: Planned,
    function: BlockFunction,
    cube: CubeSpec,
    cost: Cost,
    settings: RunSettings,
    progress: Progress,
) -> tuple[Pass, Tally]:
    """Run a pass over a raster into a cube on its grid; return what ran.

    Raises
    ------
    BudgetError, InputError, OutputError
    """
    geobox: GeoBox = raster.info.geobox
    with create_cube(cube, geobox) as writer:
        work = plan_pass(raster, cost, settings)

        def sink(tile: Tile, blocks: Blocks | None) -> None:
            if blocks is not None:
                writer.write(tile.core, blocks[0])

        return work, work.run(function, sink, "merge", progress)
