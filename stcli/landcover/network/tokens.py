"""Superpixels as tokens: which pixels make a token, and in which order tokens are scanned.

Tokens are ordered by the lattice cells of their centroids. Along the serpentine, cell rows follow
one another, every second one backwards; along the Hilbert curve, quarters of quarters do. Cells are
counted on the CRS lattice, so the order is fixed by the raster, not by the window. (Neighbours in
label order lie far apart on the ground.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.tally import BOTTOM, COLS, RIGHT, ROWS, SIZE, measure

#: Bits of a cell's row and column on the Hilbert curve, counted from -2 ** 30.
_BITS = 31
#: Shape features of a token: log size, extent down and across, fill of its bounding box.
SHAPE_FEATURES = 4


@dataclass(frozen=True)
class Tokens:
    """The tokens of one window.

    Attributes
    ----------
    index : ndarray of int64 (row, col)
        Position in the scanned sequence of each pixel's token; `count` where there is none.
    shape : ndarray of float32 (token, SHAPE_FEATURES)
    across : ndarray of int64 (token,)
        The tokens, as positions in the sequence, along the serpentine of the columns.
    """

    index: NDArray[np.int64]
    shape: NDArray[np.float32]
    across: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of tokens."""
        return len(self.shape)


def tokenise(
    labels: NDArray[Any], lattice: tuple[int, int], step: int, order: str = "serpentine"
) -> Tokens:
    """Make tokens of the segments of a window.

    Parameters
    ----------
    labels : ndarray of int (row, col)
        0 for none.
    lattice : (int, int)
        Lattice position of the window's first pixel.
    step : int
        Pixels between the lattice's seeds.
    order : str
        See `stcli.settings.NetworkSettings`.

    Returns
    -------
    Tokens
    """
    place, found = measure(np.ascontiguousarray(labels, dtype=np.int64))
    size = found[:, SIZE]
    row, col = (
        (found[:, total] + size * at) // size // step  # whole numbers: exact whatever the window
        for total, at in zip((ROWS, COLS), lattice, strict=True)
    )
    # places of pixels rise with the tokens' numbers, and decide within a cell
    first = np.arange(len(found))
    if order == "hilbert":
        along = np.lexsort((first, _hilbert(row, col)))
    else:
        along = _serpentine(row, col, first)
    rank = np.empty(len(along) + 1, dtype=np.int64)
    rank[along], rank[-1] = first, len(along)
    return Tokens(rank[place], _shape(found, step)[along], rank[_serpentine(col, row, first)])


def _serpentine(
    row: NDArray[np.int64], col: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Order tokens along rows, every second one backwards; `first` decides within a cell."""
    return np.lexsort((first, np.where(row % 2, -col, col), row))


def _hilbert(row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of cells on a Hilbert curve that is fixed on the lattice.

    From the largest quarter to the smallest: each gives two bits, and turns what lies in it.
    """
    y, x = (axis + (1 << (_BITS - 1)) for axis in (row, col))
    place = np.zeros_like(x)
    for bit in range(_BITS - 1, -1, -1):
        right, down = (x >> bit) & 1, (y >> bit) & 1
        place = (place << 2) | ((3 * right) ^ down)
        low = (1 << bit) - 1
        x, y = x & low, y & low
        turn, flip = down == 0, (down == 0) & (right == 1)
        x, y = np.where(flip, low - x, x), np.where(flip, low - y, y)
        x, y = np.where(turn, y, x), np.where(turn, x, y)
    return place


def _shape(found: NDArray[np.int64], step: int) -> NDArray[np.float32]:
    """Describe each token's size and box in units of the lattice step."""
    size = found[:, SIZE]
    down, across = ((found[:, last] - found[:, last - 1] + 1) / step for last in (BOTTOM, RIGHT))
    fill = size / np.maximum(down * across * step**2, 1)
    features = [np.log(size / step**2), down - 1, across - 1, fill]
    return np.stack(features, axis=1).astype(np.float32)
