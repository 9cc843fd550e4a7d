"""SLIC superpixels whose seeds stand on a lattice anchored to the CRS grid.

A pixel of lattice cell c considers only the centres of the 3x3 cells around c, so a label never
leaves the 3x3 cells around its own, and an iteration reaches two cells. Nothing is defined by the
block: cells are cut on the lattice, centres are summed cell by cell in a fixed order, and the
position of a centre is kept as an offset from its own cell, so the same pixels give the same bits
in any block that holds `halo(settings)` pixels around them.

Source: Achanta et al. 2012, doi:10.1109/TPAMI.2012.120; the distance is
D² = mean over bands of (x - centre)² + compactness² · (distance / step)².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stcli.segmentation.connectivity import REACH, connect
from stcli.settings import BandScaling, SlicSettings

_NONE = np.uint8(255)


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


@dataclass(frozen=True)
class Block:
    """Pixels of a part of the raster.

    Attributes
    ----------
    values : ndarray (band, row, col)
        Any real dtype; ignored where not valid.
    valid : ndarray of bool (row, col)
    lattice : (int, int)
        Lattice position of the first pixel.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    lattice: tuple[int, int]


def halo(settings: SlicSettings) -> int:
    """Pixels around a block that make its labels exact.

    Two cells an iteration (see the module), then the reach of the fragment rule.
    """
    return (2 * settings.iterations + REACH) * settings.step


def slic(
    block: Block, scaling: BandScaling, settings: SlicSettings, space: LabelSpace
) -> NDArray[Any]:
    """Segment a block.

    Returns
    -------
    ndarray (row, col) of ``space.dtype``
        Label of the segment of each pixel, 0 where not valid. Exact at `halo(settings)` pixels
        from an edge of the block that is not an edge of the raster.
    """
    features = scaled(block.values, block.valid, scaling)
    step = settings.step
    corner = np.array([at % step for at in block.lattice], dtype=np.int64)
    choice = _assign(features, block.valid, corner, step, settings)
    first = [at // step - f for at, f in zip(block.lattice, space.first, strict=True)]
    cell_cols = space.cells[1]
    labels = _labels(choice, corner, step, np.array([*first, cell_cols]))
    at = [b - o for b, o in zip(block.lattice, space.origin, strict=True)]
    island = space.cells[0] * cell_cols + 1 + at[0] * space.shape[1] + at[1]
    smallest = int(np.ceil(settings.min_size * settings.size))
    return connect(labels, smallest, step, (island, space.shape[1])).astype(space.dtype)


def scaled(
    values: NDArray[Any], valid: NDArray[np.bool_], scaling: BandScaling
) -> NDArray[np.float32]:
    """Scale bands to about [0, 1] with bands last, 0 where not valid.

    Returns
    -------
    ndarray of float32 (row, col, band)
    """
    low = np.asarray(scaling.low, dtype=np.float32)
    span = np.asarray(scaling.high, dtype=np.float32) - low
    features = np.empty((*valid.shape, len(low)), dtype=np.float32)
    for band in range(len(low)):
        features[..., band] = (values[band].astype(np.float32) - low[band]) / span[band]
    features[~valid] = 0
    return features


def _assign(
    features: NDArray[np.float32],
    valid: NDArray[np.bool_],
    corner: NDArray[np.int64],
    step: int,
    settings: SlicSettings,
) -> NDArray[np.uint8]:
    """Choose for each pixel one of the nine cells around its own (3·dr + dc), 255 for none."""
    rows, cols = (int(c + n - 1) // step + 1 for c, n in zip(corner, valid.shape, strict=True))
    bands = features.shape[2]
    choice = np.where(valid, np.uint8(4), _NONE)
    centres = np.zeros((rows, cols, bands + 2), dtype=np.float32)
    sums = np.zeros((rows, cols, 9, bands + 3), dtype=np.float64)
    present = np.zeros((rows, cols), dtype=np.bool_)
    weight = np.float32(bands * (settings.compactness / step) ** 2)
    _sum_cells(features, choice, corner, step, sums)
    _move_centres(sums, centres, present)
    for _ in range(settings.iterations):
        _nearest(features, choice, (centres, present), corner, step, weight)
        _sum_cells(features, choice, corner, step, sums)
        _move_centres(sums, centres, present)
    return choice


@njit(cache=True, nogil=True)
def _sum_cells(features, choice, corner, step, sums):  # type: ignore[no-untyped-def]
    """Sum bands, offsets and count of each cell's pixels, apart for each of their nine choices."""
    height, width, bands = features.shape
    for cell_row in range(sums.shape[0]):
        top = cell_row * step - corner[0]
        for cell_col in range(sums.shape[1]):
            left = cell_col * step - corner[1]
            part = sums[cell_row, cell_col]
            part[:] = 0.0
            for row in range(max(top, 0), min(top + step, height)):
                for col in range(max(left, 0), min(left + step, width)):
                    k = choice[row, col]
                    if k == 255:
                        continue
                    for band in range(bands):
                        part[k, band] += features[row, col, band]
                    # offsets from the chosen cell's first pixel: exact integers in any block
                    part[k, bands] += row - top - (k // 3 - 1) * step
                    part[k, bands + 1] += col - left - (k % 3 - 1) * step
                    part[k, bands + 2] += 1.0


@njit(cache=True, nogil=True)
def _move_centres(sums, centres, present):  # type: ignore[no-untyped-def]
    """Move each centre to the mean of its pixels, gathered from the 3x3 cells in fixed order."""
    rows, cols, bands = sums.shape[0], sums.shape[1], sums.shape[3] - 3
    total = np.empty(bands + 3)
    for row in range(rows):
        for col in range(cols):
            total[:] = 0.0
            for k in range(9):
                # pixels that chose this cell by k lie in the cell opposite to k
                r, c = row - (k // 3 - 1), col - (k % 3 - 1)
                if 0 <= r < rows and 0 <= c < cols:
                    for j in range(bands + 3):
                        total[j] += sums[r, c, k, j]
            if total[bands + 2] > 0.0:
                present[row, col] = True
                for j in range(bands + 2):
                    centres[row, col, j] = total[j] / total[bands + 2]


@njit(cache=True, nogil=True)
def _nearest(features, choice, state, corner, step, weight):  # type: ignore[no-untyped-def]
    """Give each valid pixel to the nearest of the nine centres around its cell."""
    centres, present = state
    height, width, bands = features.shape
    near = np.empty((9, bands + 2), dtype=np.float32)
    which = np.empty(9, dtype=np.uint8)
    for cell_row in range(centres.shape[0]):
        top = cell_row * step - corner[0]
        for cell_col in range(centres.shape[1]):
            left = cell_col * step - corner[1]
            count = _gather(centres, present, (cell_row, cell_col, step), near, which)
            for row in range(max(top, 0), min(top + step, height)):
                for col in range(max(left, 0), min(left + step, width)):
                    if choice[row, col] == 255:
                        continue
                    best = np.float32(np.inf)
                    for i in range(count):
                        spectral = np.float32(0.0)
                        for band in range(bands):
                            gap = features[row, col, band] - near[i, band]
                            spectral += gap * gap
                        down = np.float32(row - top) - near[i, bands]
                        across = np.float32(col - left) - near[i, bands + 1]
                        distance = spectral + weight * (down * down + across * across)
                        if distance < best:
                            best = distance
                            choice[row, col] = which[i]


@njit(cache=True, nogil=True)
def _gather(centres, present, cell, near, which):  # type: ignore[no-untyped-def]
    """Copy the centres around a cell, their positions as offsets from that cell; count them."""
    row, col, step = cell
    bands = centres.shape[2] - 2
    count = 0
    for k in range(9):
        r, c = row + k // 3 - 1, col + k % 3 - 1
        if r < 0 or c < 0 or r >= centres.shape[0] or c >= centres.shape[1] or not present[r, c]:
            continue
        near[count, :bands] = centres[r, c, :bands]
        near[count, bands] = centres[r, c, bands] + (k // 3 - 1) * step
        near[count, bands + 1] = centres[r, c, bands + 1] + (k % 3 - 1) * step
        which[count] = k
        count += 1
    return count


@njit(cache=True, nogil=True)
def _labels(choice, corner, step, first):  # type: ignore[no-untyped-def]
    """Label each pixel by its chosen cell in the raster, from 1; 0 for none."""
    labels = np.zeros(choice.shape, dtype=np.int64)
    for row in range(choice.shape[0]):
        for col in range(choice.shape[1]):
            k = choice[row, col]
            if k != 255:
                cell_row = (row + corner[0]) // step + k // 3 - 1 + first[0]
                cell_col = (col + corner[1]) // step + k % 3 - 1 + first[1]
                labels[row, col] = cell_row * first[2] + cell_col + 1
    return labels
