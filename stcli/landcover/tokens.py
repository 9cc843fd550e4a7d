"""Superpixels as tokens: which pixels make a token, and in which order tokens are scanned.

The order is a serpentine over the lattice cells of the segments' centroids: cell rows one after
the other, every second one backwards. Cells are counted on the CRS lattice, so the order is fixed
by the raster, not by the window. (Neighbours in label order lie far apart on the ground.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """

    index: NDArray[np.int64]
    shape: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Number of tokens."""
        return len(self.shape)


def tokenise(labels: NDArray[Any], lattice: tuple[int, int], step: int) -> Tokens:
    """Make tokens of the segments of a window.

    Parameters
    ----------
    labels : ndarray of int (row, col)
        0 for none.
    lattice : (int, int)
        Lattice position of the window's first pixel.
    step : int
        Pixels between the lattice's seeds.

    Returns
    -------
    Tokens
    """
    rows, cols = np.nonzero(labels)
    found, first, inverse = np.unique(labels[rows, cols], return_index=True, return_inverse=True)
    size = np.bincount(inverse, minlength=len(found))
    at = (rows + lattice[0], cols + lattice[1])
    order, rank = _serpentine(inverse, at, size, (step, first))
    index = np.full(labels.shape, len(found), dtype=np.int64)
    index[rows, cols] = rank[inverse]
    shape = _shape(inverse, (rows, cols), size, step)
    return Tokens(index, shape[order])


def _serpentine(
    inverse: NDArray[np.int64],
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    size: NDArray[np.int64],
    keys: tuple[int, NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order tokens along the serpentine; return the order and each token's rank in it.

    `keys` are the lattice's step and each token's first pixel, which decides within a cell.
    """
    step, first = keys
    cells = []
    for axis in at:
        total = np.zeros(len(size), dtype=np.int64)
        np.add.at(total, inverse, axis)  # integers: exact whatever the window
        cells.append(total // np.maximum(size, 1) // step)
    row, col = cells
    order = np.lexsort((first, np.where(row % 2, -col, col), row))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return order, rank


def _shape(
    inverse: NDArray[np.int64],
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    size: NDArray[np.int64],
    step: int,
) -> NDArray[np.float32]:
    """Describe each token's size and box in units of the lattice step."""
    extent = []
    for axis in at:
        low = np.full(len(size), np.iinfo(np.int64).max)
        high = np.full(len(size), np.iinfo(np.int64).min)
        np.minimum.at(low, inverse, axis)
        np.maximum.at(high, inverse, axis)
        extent.append((high - low + 1) / step)
    fill = size / np.maximum(extent[0] * extent[1] * step**2, 1)
    features = [np.log(np.maximum(size, 1) / step**2), extent[0] - 1, extent[1] - 1, fill]
    return np.stack(features, axis=1).astype(np.float32).reshape(-1, SHAPE_FEATURES)
