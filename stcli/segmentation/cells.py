"""Pixels packed cell by cell: the layout that the SLIC kernels read.

All pixels of a lattice cell share the nine centres that they may choose, so a cell is the unit of
work. Its S x S pixels lie band after band, row by row, and each band is padded to a multiple of
`WIDTH` pixels, so that the loops over pixels are whole vector instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import WIDTH, load, smaller, splat, store
from stcli.segmentation.kept import Kept
from stcli.settings import BandScaling

#: Choice of a pixel that is not valid.
NONE = np.uint8(255)
#: Choice of a pixel that has its own cell's centre.
_OWN = np.uint8(4)
#: Scaled bands are held within 2 to this power, so that their sums fit fixed-point numbers.
LIMIT_BITS = 13
_LIMIT = np.float32(2.0**LIMIT_BITS)
#: Bytes of a strip of rows that is converted at a time: it stays in a cache.
_STRIP = 1 << 20
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
        return -(-(self.step**2) // WIDTH) * WIDTH

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
    wide = not np.can_cast(values.dtype, np.float32)  # which could swallow all but an offset
    kind: type[np.floating[Any]] = np.float64 if wide else np.float32
    low, high = (np.asarray(side, dtype=kind) for side in (scaling.low, scaling.high))
    rest = np.zeros_like(low) if wide else low
    scale = rest.astype(np.float32), (high - low).astype(np.float32)
    many = max(1, _STRIP // (low.itemsize * layout.step * values.shape[0] * values.shape[2]))
    for first in range(rows.start, rows.stop, many):
        last = min(first + many, rows.stop)
        top = max(first * layout.step - layout.corner[0], 0)
        part = np.s_[top : max(last * layout.step - layout.corner[0], 0)]
        strip = values[:, part] - low[:, None, None] if wide else values[:, part]
        at = (layout.corner[0] if first == 0 else 0, layout.corner[1])
        cells = packed[0][first:last], packed[1][first:last]
        _pack(strip.astype(np.float32), valid[part], scale, at, layout.step, *cells)


@njit(**OPTIONS)
def _pack(values, valid, scaling, corner, step, pixels, choice):  # type: ignore[no-untyped-def]
    """Scale a strip, a band of a row of cells after the other, and cut it into its cells."""
    bands, height, width = values.shape
    lanes, flat, chosen = choice.shape[2], pixels.reshape(-1), choice.reshape(-1)
    lines = np.empty((step, width + WIDTH), dtype=np.float32)
    marks = np.empty((step, width + WIDTH), dtype=np.uint8)
    there = np.empty((step, width), dtype=np.float32)
    for cell_row in range(choice.shape[0]):
        top = cell_row * step - corner[0]
        rows = max(top, 0), min(top + step, height)
        for row in range(*rows):
            for col in range(width):
                there[row - top, col] = valid[row, col]
                marks[row - top, col] = _OWN if valid[row, col] else NONE
        seen = rows[0] - top, rows[1] - top
        first = cell_row * choice.shape[1]
        _cut(marks, seen, corner[1], (width, choice.shape[1]), chosen, (first * lanes, lanes), NONE)
        for band in range(bands):
            low, span = scaling[0][band], scaling[1][band]
            for row in range(*rows):
                _scale(values[band, row], there[row - top], low, span, lines[row - top])
            place = (first * bands + band) * lanes, bands * lanes
            _cut(lines, seen, corner[1], (width, choice.shape[1]), flat, place, np.float32(0.0))


@njit(**OPTIONS)
def _scale(values, there, low, span, line):  # type: ignore[no-untyped-def]
    """Scale a row and hold it within limits; 0 where `there` is not above 0."""
    nothing, limit = splat(np.float32(0.0)), splat(_LIMIT)
    least, whole = splat(-_LIMIT), values.size // WIDTH * WIDTH
    for col in range(0, whole, WIDTH):
        x = (load(values, col) - low) / span
        x = smaller(least, x, x, least)
        x = smaller(x, limit, x, limit)
        store(line, col, smaller(nothing, load(there, col), x, nothing))
    for col in range(whole, values.size):
        x = (values[col] - low) / span
        x = x if x > -_LIMIT else -_LIMIT
        x = x if x < _LIMIT else _LIMIT
        line[col] = x if there[col] > 0 else np.float32(0.0)


@njit(**OPTIONS)
def _cut(lines, rows, corner, counts, target, place, rest):  # type: ignore[no-untyped-def]
    """Cut a row of cells out of lines of pixels; `rest` where no pixel is.

    `rows` are the first of the lines that are there and the one after the last; `counts` the
    columns of pixels and of cells; `place` where the first cell's go, and how far each is from the
    next.
    """
    step, (width, cols), flat = lines.shape[0], counts, lines.reshape(-1)
    lanes = (step * step + WIDTH - 1) // WIDTH * WIDTH
    for cell_col in range(cols):
        left, base = cell_col * step - corner, place[0] + cell_col * place[1]
        if rows[1] - rows[0] == step and left >= 0 and left + step <= width:
            _cut_whole(flat, left, lines.shape[1], step, target, base, lanes)
            for lane in range(step * step, lanes):
                target[base + lane] = rest
            continue
        for lane in range(lanes):
            target[base + lane] = rest
        for row in range(*rows):
            for col in range(max(left, 0), min(left + step, width)):
                target[base + row * step + col - left] = lines[row, col]


@njit(inline="always", **OPTIONS)
def _cut_whole(flat, left, apart, step, target, base, lanes):  # type: ignore[no-untyped-def]
    """Cut a cell out of lines of pixels, each so far `apart` from the next.

    Rows are copied by whole vectors, whose rest the next row overwrites, or what comes after.
    """
    wide = (step + WIDTH - 1) // WIDTH * WIDTH
    for row in range(step):
        source, start = row * apart + left, base + row * step
        if row * step + wide <= lanes:
            for col in range(0, step, WIDTH):
                store(target, start + col, load(flat, source + col))
        else:
            for col in range(step):
                target[start + col] = flat[source + col]


@njit(**OPTIONS)
def unpack(choice, ways, first, last, at, labels):  # type: ignore[no-untyped-def]
    """Label pixels of the rows of cells `first` to `last`, in place.

    `ways` are the step, the block's corner, and the first column of cells and the one after the
    last; `labels` is int32 or int64 (row, col), a part of the block that begins at the pixel `at`:
    the chosen cell's place in the block from 1, cells counted row by row; 0 for none.
    """
    (step, corner, left_most, right_most), (height, width) = ways, labels.shape
    cols = choice.shape[1]
    away = np.empty(256, dtype=labels.dtype)
    for cell_row in range(first, last):
        top = cell_row * step - corner[0] - at[0]
        for cell_col in range(left_most, right_most):
            left = cell_col * step - corner[1] - at[1]
            here = cell_row * cols + cell_col + 1
            for k in range(9):
                away[k] = here + (k // 3 - 1) * cols + k % 3 - 1
            away[255] = 0
            for row in range(max(top, 0), min(top + step, height)):
                start = (row - top) * step - left
                for col in range(max(left, 0), min(left + step, width)):
                    labels[row, col] = away[choice[cell_row, cell_col, start + col]]
