"""Pixels packed cell by cell: the layout that the SLIC kernels read.

All pixels of a lattice cell share the nine centres that they may choose, so a cell is the unit of
work. Its S x S pixels lie band after band, row by row, and each band is padded to a multiple of
`LANES` pixels, so that the loops over pixels are whole vector instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stcli.segmentation.kept import Kept
from stcli.settings import BandScaling

#: Pixels that a vector instruction takes at most.
LANES = 16
#: Choice of a pixel that is not valid.
NONE = np.uint8(255)
#: Scaled bands are held within 2 to this power, so that their sums fit fixed-point numbers.
LIMIT_BITS = 13
_LIMIT = np.float32(2.0**LIMIT_BITS)
#: Rows of a block that are converted to float32 at a time.
_STRIP = 64
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@dataclass(frozen=True)
class Layout:
    """Where the cells of a block lie.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the block.
    corner : (int, int)
        Row and column of the block's first pixel in its cell.
    step : int
        Side of a cell in pixels.
    """

    shape: tuple[int, int]
    corner: tuple[int, int]
    step: int

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells that the block touches."""
        rows, cols = (
            (at + n - 1) // self.step + 1 for at, n in zip(self.corner, self.shape, strict=True)
        )
        return rows, cols

    @property
    def lanes(self) -> int:
        """Pixels of a packed cell, padding counted."""
        return -(-(self.step**2) // LANES) * LANES

    def place(self) -> NDArray[np.float32]:
        """Row and column of each lane in its cell, (2, lane); 0 for padding."""
        place = np.zeros((2, self.lanes), dtype=np.float32)
        place[:, : self.step**2] = np.indices((self.step, self.step)).reshape(2, -1)
        return place


def empty(
    layout: Layout, bands: int, memory: Kept
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Make room for packed pixels (row, col, band · lane), kept, and choices (row, col, lane)."""
    pixels = memory.array((*layout.cells, bands * layout.lanes), np.float32)
    return pixels, np.empty((*layout.cells, layout.lanes), dtype=np.uint8)


def pack(
    block: tuple[NDArray[Any], NDArray[np.bool_]],
    scaling: BandScaling,
    layout: Layout,
    packed: tuple[NDArray[np.float32], NDArray[np.uint8]],
    rows: range,
) -> None:
    """Convert, scale and pack some rows of cells, in place.

    Parameters
    ----------
    block : (ndarray (band, row, col) of any real dtype, ndarray of bool (row, col))
        Values, and which of them are valid.
    packed : (ndarray of float32, ndarray of uint8)
        As `empty` makes them. Choices become 4, a pixel's own cell, or `NONE`.
    rows : range
        Rows of cells.
    """
    values, valid = block
    low = np.asarray(scaling.low, dtype=np.float32)
    span = np.asarray(scaling.high, dtype=np.float32) - low
    many = max(1, _STRIP // layout.step)
    for first in range(rows.start, rows.stop, many):
        last = min(first + many, rows.stop)
        top = max(first * layout.step - layout.corner[0], 0)
        part = np.s_[top : max(last * layout.step - layout.corner[0], 0)]
        strip = values[:, part].astype(np.float32)
        at = (layout.corner[0] if first == 0 else 0, layout.corner[1])
        cells = packed[0][first:last], packed[1][first:last]
        _pack(strip, valid[part], (low, span), at, layout.step, *cells)


@njit(**OPTIONS)
def _pack(values, valid, scaling, corner, step, pixels, choice):  # type: ignore[no-untyped-def]
    """Scale a strip's rows one by one and cut them into its cells."""
    bands, height, width = values.shape
    lanes = choice.shape[2]
    line = np.empty(width, dtype=np.float32)
    for cell_row in range(choice.shape[0]):
        top = cell_row * step - corner[0]
        whole_rows = top >= 0 and top + step <= height
        for cell_col in range(choice.shape[1]):
            left = cell_col * step - corner[1]
            choice[cell_row, cell_col] = NONE
            if not (whole_rows and left >= 0 and left + step <= width):
                pixels[cell_row, cell_col] = np.float32(0.0)
            for band in range(bands):
                for lane in range(step * step, lanes):
                    pixels[cell_row, cell_col, band * lanes + lane] = np.float32(0.0)
        for band in range(bands):
            for row in range(max(top, 0), min(top + step, height)):
                _scale(values[band, row], valid[row], scaling[0][band], scaling[1][band], line)
                start = band * lanes + (row - top) * step
                _cut(line, corner[1], step, start, pixels[cell_row])
        for row in range(max(top, 0), min(top + step, height)):
            start = (row - top) * step
            for cell_col in range(choice.shape[1]):
                left = cell_col * step - corner[1]
                for col in range(max(left, 0), min(left + step, width)):
                    if valid[row, col]:
                        choice[cell_row, cell_col, start + col - left] = 4


@njit(**OPTIONS)
def _scale(values, valid, low, span, line):  # type: ignore[no-untyped-def]
    """Scale a row and hold it within limits; 0 where not valid."""
    for col in range(values.size):
        x = (values[col] - low) / span
        x = x if x > -_LIMIT else -_LIMIT
        x = x if x < _LIMIT else _LIMIT
        line[col] = x if valid[col] else np.float32(0.0)


@njit(**OPTIONS)
def _cut(line, corner, step, start, pixels):  # type: ignore[no-untyped-def]
    """Cut a row of one band into cells."""
    for cell_col in range(pixels.shape[0]):
        left = cell_col * step - corner
        if left >= 0 and left + step <= line.size:
            for col in range(step):
                pixels[cell_col, start + col] = line[left + col]
        else:
            for col in range(max(left, 0), min(left + step, line.size)):
                pixels[cell_col, start + col - left] = line[col]


@njit(**OPTIONS)
def unpack(choice, corner, step, first, last, labels):  # type: ignore[no-untyped-def]
    """Label pixels of the rows of cells `first` to `last`, in place.

    `labels` is int32 or int64 (row, col): the chosen cell's place in the block from 1, cells
    counted row by row; 0 for none.
    """
    height, width = labels.shape
    cols = choice.shape[1]
    away = np.empty(256, dtype=labels.dtype)
    for cell_row in range(first, last):
        top = cell_row * step - corner[0]
        for cell_col in range(cols):
            left = cell_col * step - corner[1]
            here = cell_row * cols + cell_col + 1
            for k in range(9):
                away[k] = here + (k // 3 - 1) * cols + k % 3 - 1
            away[255] = 0
            for row in range(max(top, 0), min(top + step, height)):
                start = (row - top) * step - left
                for col in range(max(left, 0), min(left + step, width)):
                    labels[row, col] = away[choice[cell_row, cell_col, start + col]]
