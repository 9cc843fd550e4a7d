"""Stacks of dates for the network: their composite, its superpixels, and what both take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.dates import Dates, composite
from stcli.landcover.network.windows import Scene
from stcli.raster.reading.datestack import DateStack
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, pixel_bytes, slic
from stcli.settings import BandScaling, SlicSettings


@dataclass(frozen=True)
class Growing:
    """How superpixels are grown on the composite of a stack.

    Attributes
    ----------
    scaling : BandScaling
        Of the composite's bands.
    slic : SlicSettings
    space : LabelSpace
    days : tuple of int
        Of the stack's dates, since 1970-01-01.
    """

    scaling: BandScaling
    slic: SlicSettings
    space: LabelSpace
    days: tuple[int, ...]

    def scene(
        self, block: NDArray[np.float32], valid: NDArray[np.bool_], lattice: tuple[int, int]
    ) -> Scene:
        """Segment a block of dates.

        Parameters
        ----------
        block : ndarray of float32 (date · band, row, col)
            NaN where a date is not clear.
        valid : ndarray of bool (row, col)
            What may be seen; nowhere else is a segment, and so no series either.
        lattice : (int, int)
            Lattice position of the first pixel.
        """
        dates = Dates(block, np.array(self.days, dtype=np.int64))
        values = np.where(valid, composite(block, dates.bands), np.float32(0))
        segments = slic(Block(values, valid, lattice), self.scaling, self.slic, self.space)
        return Scene(values, valid, segments, lattice, dates)


def growing_bytes(stack: DateStack, settings: SlicSettings, shape: tuple[int, int]) -> int:
    """Bytes a pixel that reading a stack and `Growing.scene` hold at their peak."""
    bands = len(stack.variables)
    made = 2 * 2 * 4 * bands  # the composite, and where it is valid
    dates = 4 * bands * len(stack.dates)
    return stack.read_bytes + dates + made + 2 + pixel_bytes(2 * bands, settings, shape)


def clear_cells(sampled: NDArray[Any], bands: int) -> NDArray[Any]:
    """Turn samples of a stack (date · band, pixel) into those of its clear cells (band, cell)."""
    cells = sampled.reshape(-1, bands, sampled.shape[1]).swapaxes(0, 1).reshape(bands, -1)
    return cells[:, np.isfinite(cells[0])]
