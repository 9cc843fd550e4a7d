"""Rows of a block are read and packed when rounds come to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.segmentation.superpixels.cells import Layout, pack
from stcli.settings import BandScaling

#: Values (band, row, col) and validity (row, col).
Pixels = tuple[NDArray[Any], NDArray[np.bool_]]
#: Gives the pixels of some rows: the first, and the one after the last.
Read = Callable[[int, int], Pixels]


class Feed:
    """Packs rows of cells, read a strip of pixels at a time; each row of cells once, from the top.

    Parameters
    ----------
    read : callable
    stops : sequence of int
        After which rows of pixels a strip ends, rising; the last is the number of all rows.
    scaling : BandScaling
    layout : Layout
    packed : (ndarray of float32, ndarray of uint8)
        As `stcli.segmentation.superpixels.cells.empty` makes them.
    """

    def __init__(
        self,
        read: Read,
        stops: Sequence[int],
        scaling: BandScaling,
        layout: Layout,
        packed: tuple[NDArray[np.float32], NDArray[np.uint8]],
    ) -> None:
        self._read, self._stops = read, iter(stops)
        self._scaling, self._layout, self._packed = scaling, layout, packed
        self._top = self._stop = 0
        self._strip: Pixels | None = None

    def __call__(self, first: int, last: int) -> None:
        """Pack rows of cells: the first, and the one after the last."""
        while first < last:
            top, bottom = self._rows(first)
            if self._strip is not None and bottom <= self._stop:
                until = min(last, self._whole())
                self._pack(self._strip, self._top, range(first, until))
                first = until
            else:
                self._pack(self._joined(top, bottom), top, range(first, first + 1))
                first += 1

    def _rows(self, cell_row: int) -> tuple[int, int]:
        """Rows of pixels of a row of cells."""
        top = cell_row * self._layout.step - self._layout.corner[0]
        return max(top, 0), min(top + self._layout.step, self._layout.shape[0])

    def _whole(self) -> int:
        """Rows of cells that end within the strip, counted from the block's first."""
        if self._stop == self._layout.shape[0]:
            return self._layout.cells[0]
        return (self._stop + self._layout.corner[0]) // self._layout.step

    def _joined(self, top: int, bottom: int) -> Pixels:
        """Pixels of a row of cells, the last of which are read now: strip by strip."""
        values, valid = [], []
        if self._strip is not None and top < self._stop:
            values.append(self._strip[0][:, top - self._top :].copy())
            valid.append(self._strip[1][top - self._top :].copy())
        while self._stop < bottom:
            self._strip = None  # makes room
            self._top, self._stop = self._stop, next(self._stops)
            self._strip = self._read(self._top, self._stop)
            values.append(self._strip[0][:, : bottom - self._top])
            valid.append(self._strip[1][: bottom - self._top])
        return np.concatenate(values, axis=1), np.concatenate(valid)

    def _pack(self, pixels: Pixels, above: int, rows: range) -> None:
        pack(pixels, self._scaling, self._layout, self._packed, rows, above)
