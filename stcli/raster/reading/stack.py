"""Put coarser grids onto the finest one, so that a block never depends on its window.

A coarse grid *nests* in a fine one when they share the CRS, a coarse pixel spans a whole number
k of fine pixels, and its corners fall on corners of fine pixels. Sentinel-2's 20 m bands nest in
its 10 m bands, although the two grids may start 10 m apart. Everything then follows from the
global index of a fine pixel by integer arithmetic:

- nearest: fine column i lies in coarse column ``(i - offset) // k``;
- bilinear: its centre lies at ``(2 (i - offset) + 1 - k) / 2k`` coarse columns from the first
  coarse centre. Invalid coarse pixels weigh nothing, the weights of the others are normalised,
  and beyond the outermost centres the edge is repeated.

A fine pixel is valid when the coarse pixel that contains it is: nodata neither grows nor shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.raster.info import RasterInfo, grid_difference, pixel_size
from stcli.raster.reading.source import Source, SourceInfo, read_apart

Resampling = Literal["nearest", "bilinear"]

#: How far, in fine pixels, a coarse grid's corners may lie from fine corners.
NEST_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Nesting:
    """Where a coarse grid lies on a fine one.

    Attributes
    ----------
    factor : tuple of int
        Fine pixels in a coarse one (rows, cols).
    offset : tuple of int
        Fine (row, col) of the coarse grid's first corner; may be negative.
    shape : tuple of int
        Shape of the coarse grid.
    """

    factor: tuple[int, int]
    offset: tuple[int, int]
    shape: tuple[int, int]


def nest(fine: SourceInfo | RasterInfo, coarse: SourceInfo | RasterInfo) -> Nesting | None:
    """Find how a coarse grid nests in a fine one; None where they are one grid.

    Raises
    ------
    InputError
        The grid does not nest; both files and the difference are named.
    """
    difference = grid_difference(fine.geobox, coarse.geobox)
    if difference is None:
        return None
    nesting = _nesting(fine.geobox, coarse.geobox)
    if nesting is None or nesting.factor == (1, 1):
        raise InputError(
            f"{coarse.path}: its grid differs from that of {fine.path} and does not nest in it "
            f"({_describe(fine, coarse, difference)}); warp both onto one grid first"
        )
    span = zip(nesting.factor, nesting.offset, nesting.shape, fine.geobox.shape, strict=True)
    if any(o + k * n <= 0 or o >= size for k, o, n, size in span):
        raise InputError(
            f"{coarse.path}: lies wholly outside {fine.path}; rasters of one place are wanted"
        )
    return nesting


def _describe(
    fine: SourceInfo | RasterInfo, coarse: SourceInfo | RasterInfo, difference: str
) -> str:
    if fine.geobox.crs != coarse.geobox.crs or difference.startswith("different"):
        return difference
    relative = ~fine.geobox.transform @ coarse.geobox.transform
    return f"{difference}; offset {relative.f:.6g} rows and {relative.c:.6g} columns"


def _nesting(fine: GeoBox, coarse: GeoBox) -> Nesting | None:
    if fine.crs != coarse.crs:
        return None
    relative = ~fine.transform @ coarse.transform  # coarse pixel -> fine pixel
    factor = round(relative.e), round(relative.a)
    offset = round(relative.f), round(relative.c)
    rows, cols = (int(n) for n in coarse.shape)
    for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows)):
        col, row = relative @ corner
        ideal_row, ideal_col = offset[0] + factor[0] * corner[1], offset[1] + factor[1] * corner[0]
        if max(abs(row - ideal_row), abs(col - ideal_col)) > NEST_TOLERANCE:
            return None
    return Nesting(factor, offset, (rows, cols)) if min(factor) >= 1 else None


def finest(sources: list[Source]) -> SourceInfo:
    """Pick the file with the smallest pixels (the first of them): it defines the grid."""

    def area(source: Source) -> float:
        width, height = pixel_size(source.info.geobox)
        return float(f"{width * height:.12g}")  # equal sizes may differ in their last bits

    return min(sources, key=area).info


def read_nested(
    source: Source,
    nesting: Nesting | None,
    window: Window,
    indexes: tuple[int, ...],
    resampling: Resampling,
    each: bool = False,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read bands of one file on the fine grid.

    Parameters
    ----------
    source : Source
    nesting : Nesting or None
    window : Window
    indexes : tuple of int
    resampling : Resampling
    each : bool
        A valid mask for each band.

    Returns
    -------
    block : ndarray (band, row, col)
    valid : ndarray of bool (row, col); (band, row, col) of `each`
    """
    read = partial(read_apart, source) if each else source.read
    if nesting is None:
        return read(window, indexes)
    rows, cols, coarse_window = _axes(window, nesting, resampling)
    block, valid = read(coarse_window, indexes)
    inside = _inside(valid, rows, cols)
    if resampling == "nearest":
        return block[:, rows.nearest[:, None], cols.nearest], inside
    if not each:
        return _bilinear(block, valid, rows, cols), inside
    fine = [_bilinear(block[k : k + 1], mask, rows, cols) for k, mask in enumerate(valid)]
    return np.concatenate(fine), inside


def _axes(window: Window, nesting: Nesting, resampling: Resampling) -> tuple[_Axis, _Axis, Window]:
    """Give rows and columns of a window, and the coarse window that they lie in."""
    rows = _axis(window.row_off, window.height, nesting, 0, resampling)
    cols = _axis(window.col_off, window.width, nesting, 1, resampling)
    return rows, cols, Window(cols.start, rows.start, cols.length, rows.length)


def _inside(valid: NDArray[np.bool_], rows: _Axis, cols: _Axis) -> NDArray[np.bool_]:
    """Tell which fine pixels are valid, from the coarse mask or masks (…, row, col)."""
    inside = valid[..., rows.nearest[:, None], cols.nearest]
    inside &= rows.covered[:, None] & cols.covered[None, :]
    return inside


@dataclass(frozen=True)
class _Axis:
    """One axis of a window: for each fine index the coarse ones, counted from ``start``."""

    start: int
    length: int
    nearest: NDArray[np.int64]
    covered: NDArray[np.bool_]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weight: NDArray[np.float64]  # of high; low has 1 - weight


def _axis(first: int, length: int, nesting: Nesting, axis: int, resampling: Resampling) -> _Axis:
    k, size = nesting.factor[axis], nesting.shape[axis]
    index = np.arange(first, first + length, dtype=np.int64) - nesting.offset[axis]
    nearest = index // k
    covered = (nearest >= 0) & (nearest < size)
    nearest = nearest.clip(0, size - 1)
    low, rest = np.divmod(2 * index + 1 - k, 2 * k)  # exact: the same from every window
    high = (low + 1).clip(0, size - 1)
    low = low.clip(0, size - 1)
    used = (nearest, nearest) if resampling == "nearest" else (low, high)
    start, stop = int(used[0].min()), int(used[1].max()) + 1
    return _Axis(
        start, stop - start, nearest - start, covered, low - start, high - start, rest / (2 * k)
    )


def _bilinear(
    block: NDArray[Any], valid: NDArray[np.bool_], rows: _Axis, cols: _Axis
) -> NDArray[Any]:
    weight = _interpolate(valid.astype(np.float64), rows, cols)
    weight[weight == 0] = 1  # nothing valid near: the pixel is invalid whatever its value
    out = np.empty((len(block), *weight.shape), block.dtype)
    for k, band in enumerate(block):  # band by band: one float64 plane at a time
        values = _interpolate(np.where(valid, band, 0).astype(np.float64), rows, cols)
        values /= weight
        out[k] = values if block.dtype.kind == "f" else np.rint(values)
    return out


def _interpolate(plane: NDArray[np.float64], rows: _Axis, cols: _Axis) -> NDArray[np.float64]:
    down = rows.weight[:, None]
    tall = plane[rows.low] * (1 - down) + plane[rows.high] * down
    across = cols.weight[None, :]
    out: NDArray[np.float64] = tall[:, cols.low] * (1 - across) + tall[:, cols.high] * across
    return out
