"""The numbers that segments of a raster have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LabelSpace:
    """How labels are numbered: by lattice cell, row by row over the raster, from 1.

    A fragment that no kept segment touches (an island in nodata) is numbered after all cells, by
    its first pixel; so labels are unique in the raster without looking at another block.

    Attributes
    ----------
    origin : (int, int)
        Lattice position of the raster's first pixel.
    shape : (int, int)
        Rows and columns of the raster.
    step : int
        Pixels between seeds.
    """

    origin: tuple[int, int]
    shape: tuple[int, int]
    step: int

    @property
    def first(self) -> tuple[int, int]:
        """Row and column of the raster's first cell."""
        return self.origin[0] // self.step, self.origin[1] // self.step

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells that the raster touches."""
        rows, cols = (
            (o + n - 1) // self.step - f + 1
            for o, n, f in zip(self.origin, self.shape, self.first, strict=True)
        )
        return rows, cols

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint32, or int64 where labels would not fit."""
        largest = self.cells[0] * self.cells[1] + self.shape[0] * self.shape[1]
        return np.dtype(np.uint32 if largest < 2**32 else np.int64)
