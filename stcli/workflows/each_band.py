"""Rasters whose bands have gaps of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import Raster
from stcli.workflows.floats import float_type


@dataclass(frozen=True)
class EachBand:
    """A raster whose bands have gaps of their own: float blocks with NaN where there is no value.

    Attributes
    ----------
    raster : Raster
    """

    raster: Raster

    @property
    def info(self) -> RasterInfo:
        """What the raster is."""
        return self.raster.info

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the blocks: float64 where float32 cannot hold the raster's values."""
        return float_type(self.raster.info)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read values (band, row, col) and where any band has one (row, col)."""
        block, valid = self.raster.read_each(window)
        values = block.astype(self.dtype, copy=False)
        values[~valid] = np.nan
        anywhere: NDArray[np.bool_] = np.any(valid, axis=0)
        return values, anywhere


@dataclass(frozen=True)
class OwnMasks:
    """A raster for what works band by band: a pixel that one band lacks is not lost to others."""

    raster: Raster

    @property
    def info(self) -> RasterInfo:
        """What the raster is."""
        return self.raster.info

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read values and valid masks; see `Raster.read_own`."""
        return self.raster.read_own(window)
