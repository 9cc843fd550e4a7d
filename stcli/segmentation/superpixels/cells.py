"""Pixels packed cell by cell: the layout that the SLIC kernels read.

All pixels of a lattice cell share the nine centres that they may choose, so a cell is the unit of
work. Its S x S pixels lie band after band, row by row, and each band is padded to a multiple of
`WIDTH` pixels, so that the loops over pixels are whole vector instructions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import float32, uint8
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import WIDTH, load, load_single, smaller, splat, store
from stcli.segmentation.superpixels.kept import Kept
from stcli.settings import BandScaling

#: Choice of a pixel that is not valid.
NONE = np.uint8(255)
#: Choice of a pixel that has its own cell's centre.
_OWN = np.uint8(4)
_LIMIT = np.float32(BandScaling.HELD)
#: Bytes of a strip of rows that is converted at a time: it stays in a cache.
_STRIP = 1 << 20
#: What is packed as it is: float32 and what fits it; other values are converted first.
DIRECT = (np.uint8, np.uint16, np.int16, np.float32)
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

    def row_bytes(self, bands: int) -> int:
        """Bytes of the packed pixels of a row of cells."""
        return 4 * self.cells[1] * bands * self.lanes

    @property
    def choice_bytes(self) -> int:
        """Bytes of the choices of all cells."""
        return math.prod(self.cells) * self.lanes

    def place(self) -> NDArray[np.float32]:
        """Row and column of each lane in its cell, (2, lane); 0 for padding."""
        place = np.zeros((2, self.lanes), dtype=np.float32)
        place[:, : self.step**2] = np.indices((self.step, self.step)).reshape(2, -1)
        return place


def empty(
    layout: Layout, bands: int, memory: Kept, held: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Make room for packed pixels (row, col, band · lane) and choices (row, col, lane).

    Both are kept, choices before pixels. Pixels of only `held` rows of cells, if given, which make
    room for others once they are done.
    """
    rows, cols = layout.cells
    choice = memory.array((rows, cols, layout.lanes), np.uint8)
    return memory.array((held or rows, cols, bands * layout.lanes), np.float32), choice


def pack(
    block: tuple[NDArray[Any], NDArray[np.bool_]],
    scaling: BandScaling,
    layout: Layout,
    packed: tuple[NDArray[np.float32], NDArray[np.uint8]],
    rows: range,
    above: int = 0,
) -> None:
    """Convert, scale and pack some rows of cells, in place.

    Parameters
    ----------
    block : (ndarray (band, row, col) of any real dtype, ndarray of bool (row, col))
        Values, and which of them are valid.
    packed : (ndarray of float32, ndarray of uint8)
        As `empty` makes them: the pixels of row r lie at r modulo the rows that are held. Choices
        become 4, a pixel's own cell, or `NONE`.
    rows : range
        Rows of cells, all pixels of which `block` holds.
    above : int
        Rows of pixels that lie above those of `block`.
    """
    values, valid = block
    wide = not np.can_cast(values.dtype, np.float32)  # which could swallow all but an offset
    kind: type[np.floating[Any]] = np.float64 if wide else np.float32
    low, high = (np.asarray(side, dtype=kind) for side in (scaling.low, scaling.high))
    rest = np.zeros_like(low) if wide else low
    unit = _unit(high - low) if wide else np.ones_like(low)
    scale = rest.astype(np.float32), ((high - low) * unit).astype(np.float32)
    many = max(1, _STRIP // (low.itemsize * layout.step * values.shape[0] * values.shape[2]))
    held, first = packed[0].shape[0], rows.start
    bottom = above + values.shape[1]
    direct = values.dtype in DIRECT and values.flags.c_contiguous
    while first < rows.stop:
        slot = first % held
        last = min(first + many, rows.stop, first + held - slot)
        top = max(first * layout.step - layout.corner[0], 0)
        part = slice(top - above, min(last * layout.step - layout.corner[0], bottom) - above)
        at = (layout.corner[0] if first == 0 else 0, layout.corner[1])
        cells = packed[0][slot : slot + last - first], packed[1][first:last]
        source, start = values, part.start
        if not direct:
            source, start = values[:, part], 0
            if wide:
                source = (source - low[:, None, None]) * unit[:, None, None]
            source = source.astype(np.float32)
        _pack(source, start, valid[part], scale, at, layout.step, *cells)
        first = last


def _unit(span: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Give powers of two that bring spans near 1, which float32 holds whatever they were."""
    powers = np.clip(-np.frexp(span)[1], -1000, 1000)
    return np.asarray(np.ldexp(1.0, powers), dtype=np.float64)


@njit(**OPTIONS)
def _pack(values, first, valid, scaling, corner, step, pixels, choice):  # type: ignore[no-untyped-def]
    """Scale a strip, a band of a row of cells after the other, and cut it into its cells.

    `valid` is the strip's; its values begin in the row `first` of `values`.
    """
    (bands, many, width), (cols, lanes) = values.shape, choice.shape[1:]
    height = valid.shape[0]
    stock, flat, chosen = values.reshape(-1), pixels.reshape(-1), choice.reshape(-1)
    apart = width + WIDTH
    lines = np.empty(step * apart, dtype=np.float32)
    there = np.empty(step * apart, dtype=np.float32)
    marks = np.empty(step * apart, dtype=np.uint8)
    sizes = step, width, cols
    for cell_row in range(choice.shape[0]):
        top = cell_row * step - corner[0]
        rows = max(top, 0), min(top + step, height)
        seen, cell = (rows[0] - top, rows[1] - top), cell_row * cols
        for row in range(*rows):
            line = (row - top) * apart
            _mark(valid[row], there[line : line + width], marks[line : line + width])
        place = cell * lanes, lanes
        _cut(marks, apart, seen, corner[1], sizes, chosen, place, NONE)
        for band in range(bands):
            limits = scaling[0][band], scaling[1][band]
            for row in range(*rows):
                at, line = (band * many + first + row) * width, (row - top) * apart
                _scale(stock, at, width, there, limits, lines, line)
            place = (cell * bands + band) * lanes, bands * lanes
            _cut(lines, apart, seen, corner[1], sizes, flat, place, np.float32(0.0))


@njit(**OPTIONS)
def _mark(valid, there, marks):  # type: ignore[no-untyped-def]
    """Say of pixels of a row whether they are there, and what they choose at first."""
    for col in range(valid.size):
        there[col] = float32(valid[col])
    for col in range(valid.size):
        marks[col] = NONE - (NONE - _OWN) * uint8(valid[col])


@njit(inline="always", **OPTIONS)
def _scale(values, at, count, there, limits, lines, line):  # type: ignore[no-untyped-def]
    """Scale pixels of a row and hold them within limits; 0 where `there` is not above 0."""
    (low, span), nothing, limit = limits, splat(np.float32(0.0)), splat(_LIMIT)
    least, whole = splat(-_LIMIT), count // WIDTH * WIDTH
    for col in range(0, whole, WIDTH):
        x = (load_single(values, at + col) - low) / span
        x = smaller(least, x, x, least)
        x = smaller(x, limit, x, limit)
        store(lines, line + col, smaller(nothing, load(there, line + col), x, nothing))
    for col in range(whole, count):
        y = (np.float32(values[at + col]) - low) / span
        y = y if y > -_LIMIT else -_LIMIT
        y = y if y < _LIMIT else _LIMIT
        lines[line + col] = y if there[line + col] > 0 else np.float32(0.0)


@njit(**OPTIONS)
def _cut(lines, apart, rows, inset, sizes, target, place, rest):  # type: ignore[no-untyped-def]
    """Cut cells out of lines of pixels, each so far `apart` from the next; `rest` where none is.

    `rows` are the first of the lines that are there and the one after the last; the first cell
    begins `inset` columns before them. `sizes` are the side of a cell, and columns of pixels and
    of cells; `place` is where the first cell's pixels go, and how far each is from the next.
    """
    step, width, many = sizes
    lanes = (step * step + WIDTH - 1) // WIDTH * WIDTH
    for number in range(many):
        left, base = number * step - inset, place[0] + number * place[1]
        if rows[1] - rows[0] == step and left >= 0 and left + step <= width:
            _cut_whole(lines, left, apart, step, target, base, lanes)
            for lane in range(step * step, lanes):
                target[base + lane] = rest
            continue
        for lane in range(lanes):
            target[base + lane] = rest
        for row in range(*rows):
            for col in range(max(left, 0), min(left + step, width)):
                target[base + row * step + col - left] = lines[row * apart + col]


@njit(inline="always", **OPTIONS)
def _cut_whole(lines, left, apart, step, target, base, lanes):  # type: ignore[no-untyped-def]
    """Cut a cell out of lines of pixels.

    Rows are copied by whole vectors, whose rest the next row overwrites, or what comes after.
    """
    wide = (step + WIDTH - 1) // WIDTH * WIDTH
    whole = min(step, (lanes - wide) // step + 1)  # rows that end within the cell
    for row in range(whole):
        source, start = row * apart + left, base + row * step
        store(target, start, load(lines, source))
        for col in range(WIDTH, step, WIDTH):
            store(target, start + col, load(lines, source + col))
    for row in range(whole, step):
        for col in range(step):
            target[base + row * step + col] = lines[row * apart + left + col]


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
