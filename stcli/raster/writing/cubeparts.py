"""Parts that end as a NetCDF: kept through a kill like those of any output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.raster.writing.netcdf_write import CubeSpec, create_cube
from stcli.raster.writing.parts import Parts, Stored


@dataclass(frozen=True)
class CubeForm:
    """How bands become a cube: give it parts, and it gives those that end so.

    Attributes
    ----------
    cube : CubeSpec
    order : ndarray of int, (time, band)
        Place of each of the cube's bands among those of a part; one row without a time axis.
    """

    cube: CubeSpec
    order: NDArray[np.int64]

    def __call__(self, parts: Parts) -> CubeParts:
        """Turn parts into such that end as the cube."""
        return CubeParts(self, parts)

    def laid(self, block: NDArray[Any]) -> NDArray[Any]:
        """Turn a block (band, row, col) into what `CubeWriter.write` takes."""
        ordered: NDArray[Any] = block[self.order]
        return ordered if self.cube.times is not None else ordered[0]


class CubeParts(Parts):
    """Parts whose output is a NetCDF, written from them tile by tile."""

    def __init__(self, form: CubeForm, parts: Parts) -> None:
        super().__init__(parts.folder, parts.spec, parts.shape, parts.shards)
        self.form = form

    def assemble(self, final: Path, geobox: GeoBox, stored: Stored, threads: int) -> Path:
        """Write the parts into a cube, read that back, and flush it; see `Parts.assemble`."""
        spec = replace(self.form.cube, path=str(final), overwrite=True)
        with create_cube(spec, geobox) as writer:
            for tile, known in stored():
                block = self.load(tile, known)
                if block is None:
                    raise OSError(f"the part {self.path(tile.index)} has changed")
                writer.write(tile.core, self.form.laid(block))
        return final
