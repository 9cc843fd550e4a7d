"""Where a float raster goes: a GeoTIFF, or a NetCDF cube with the input's variables and times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from stcli.errors import UsageError
from stcli.raster.reading.frames import ending
from stcli.raster.reading.read import Raster
from stcli.raster.writing.cubeparts import CubeForm
from stcli.raster.writing.hidden import is_own
from stcli.raster.writing.layout import Layout, edged, layout, own_attrs, widened
from stcli.raster.writing.netcdf_write import CubeSpec, refuse_cube
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.write import refuse_output
from stcli.workflows.floats import float_type
from stcli.workflows.job import Output


@dataclass(frozen=True)
class Target:
    """An output of floats with the bands of a raster, NaN for no value.

    Attributes
    ----------
    raster : Raster
        Where bands, variables, times and attributes come from.
    path : str
        NetCDF by its suffix, else GeoTIFF.
    output : Output
    threads : int
        That finish a GeoTIFF.
    facts : dict
        What the file says of how it was made.
    dtype : str
        Of the values.
    suffixes : tuple of str
        Put after each band's name, before its time, one output band each; `widened` says how
        they lie.
    """

    raster: Raster
    path: str
    output: Output
    threads: int
    facts: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    suffixes: tuple[str, ...] = ("",)

    @classmethod
    def of(cls, raster: Raster, path: str, output: Output, threads: int) -> Target:
        """Choose the format by the path, and floats that hold the raster's values.

        Raises
        ------
        UsageError
            GDAL's creation options for NetCDF, which GDAL does not write here; or a shard.
        """
        target = cls(raster, path, output, threads, dtype=float_type(raster.info).name)
        if target.netcdf:
            refuse_shard(path, output)
        return target

    @property
    def netcdf(self) -> bool:
        """Whether it is written as a NetCDF file."""
        return self.output.netcdf(self.path)

    def saying(self, **facts: Any) -> Target:
        """Add facts to what the file says."""
        return replace(self, facts={**self.facts, **facts})

    def holding(self, suffixes: tuple[str, ...]) -> Target:
        """Hold several bands of each of the raster's, named by what is put after its name."""
        return replace(self, suffixes=suffixes)

    def refuse(self, geobox: GeoBox) -> None:
        """Refuse an output that cannot be written, before any work; raises `OutputError`."""
        overwrite = self.output.overwrite or is_own(self.path)
        if self.netcdf:
            refuse_cube(CubeSpec(self.path, (), overwrite=overwrite), geobox)
        else:
            refuse_output(replace(self.spec, overwrite=overwrite))

    @property
    def form(self) -> CubeForm | None:
        """How its parts end, if not as a GeoTIFF or Zarr."""
        if not self.netcdf:
            return None
        laid = widened(layout(self.raster), self.suffixes)
        return CubeForm(self._cube(laid), laid.order)

    @property
    def spec(self) -> OutputSpec:
        """What to write, as a raster."""
        info, output = self.raster.info, self.output
        return OutputSpec(
            self.path,
            self.dtype,
            tuple(self._bands()),
            np.nan,
            "continuous",
            output.creation_options,
            output.overwrite,
            output.tags(info, **self.facts),
            output.driver,
            self.threads,
        )

    def _bands(self) -> Iterator[OutputBand]:
        """Describe the bands of a raster: names, and the units of those that they are made of."""
        for band in self.raster.info.bands:
            for end in self.suffixes:
                yield OutputBand(ending(band.name, end), units=band.units)

    def _cube(self, plan: Layout) -> CubeSpec:
        facts = self.output.tags(self.raster.info, **self.facts)
        return CubeSpec(
            self.path,
            tuple(replace(band, dtype=self.dtype) for band in plan.bands),
            plan.times,
            self.output.overwrite,
            {**plan.attrs, **own_attrs(facts)},
            self.output.command,
            edged(self.raster),
        )


def refuse_shard(path: str, output: Output) -> None:
    """Refuse a shard of a NetCDF: its parts would be joined without variables and times.

    Raises
    ------
    UsageError
    """
    if output.shard is not None:
        raise UsageError(
            f"{path}: --shard found, none is wanted for NetCDF; write shards of a GeoTIFF and "
            "join them by stcli merge into NetCDF."
        )
