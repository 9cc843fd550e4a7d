"""What the forest and the support vectors see of a pixel: itself, its surroundings, its segment.

All is computed inside one lattice window, as the network does, so no block can change it.

::

    B        scaled bands
    pairs    normalised differences (a - b) / (|a| + |b|) of bands in their own unit: NDVI, NDWI and
             their like, whatever the bands are called; of at most `PAIRED` bands
    2 B each mean and deviation in boxes of `BOXES` pixels a side
    2 B      mean and deviation over the segment
    4        the segment's log size, extent down and across, fill of its box
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.landcover.network.tokens import SHAPE_FEATURES
from stcli.landcover.network.windows import Window, precise
from stcli.landcover.tally import BOTTOM, LEFT, RIGHT, SIZE, TOP, measure
from stcli.settings import BandScaling

#: Sides of the boxes around a pixel.
BOXES = (5, 15)
#: Rasters of more bands get no pairs: their number grows with the square.
PAIRED = 8


def feature_count(bands: int) -> int:
    """Features of a pixel of so many bands."""
    pairs = bands * (bands - 1) // 2 if bands <= PAIRED else 0
    return bands + pairs + 2 * bands * (len(BOXES) + 1) + SHAPE_FEATURES


def window_features(
    window: Window, scaling: BandScaling, step: int, where: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Describe pixels of a window.

    Parameters
    ----------
    window : Window
    scaling : BandScaling
    step : int
        Pixels between the segments' seeds.
    where : ndarray of bool (row, col)
        The pixels, all of them valid.

    Returns
    -------
    ndarray of float32 (pixel, feature)
        In the order of rows.
    """
    bands, valid = window.scaled(scaling), np.ascontiguousarray(window.valid)
    count, places = len(bands), np.flatnonzero(where)
    result = np.empty((len(places), feature_count(count)), dtype=np.float32)
    result[:, :count] = bands.reshape(count, -1)[:, places].T
    first = count
    if count <= PAIRED:
        first += _pairs(window.values.reshape(count, -1)[:, places], result[:, count:])
    for side in BOXES:
        _boxes(bands, valid, side // 2, places, result[:, first : first + 2 * count])
        first += 2 * count
    number, found = measure(np.ascontiguousarray(window.segments, dtype=np.int64))
    _segments(bands, number, len(found), places, result[:, first : first + 2 * count])
    shape = np.vstack([_shape(found, step), np.zeros((1, SHAPE_FEATURES))])
    result[:, first + 2 * count :] = shape[number.ravel()[places]]
    return result


def feature_bytes(bands: int, pixels: int) -> int:
    """Bytes that `window_features` holds at its peak: result, bands, what measures segments."""
    return pixels * (4 * feature_count(bands) + 3 * 4 * bands + 160)


def _pairs(values: NDArray[Any], out: NDArray[np.float32]) -> int:
    """Normalised difference of each pair of bands (band, pixel), 0 where both are 0; their count.

    They are the first columns of `out` (pixel, feature).
    """
    kind = precise(values.dtype)
    raw, count = values.astype(kind) * kind(0.5), 0  # halves: sums of any two are finite
    for a in range(len(raw)):
        for b in range(a):
            total = np.abs(raw[a]) + np.abs(raw[b])
            out[:, count] = (raw[a] - raw[b]) / np.where(total > 0, total, kind(1))
            count += 1
    return count


def _shape(found: NDArray[np.int64], step: int) -> NDArray[np.float64]:
    """Log size, extents and fill of each segment, in units of the lattice step."""
    size = found[:, SIZE].astype(np.float64)
    down, across = (found[:, b] - found[:, a] + 1 for a, b in ((TOP, BOTTOM), (LEFT, RIGHT)))
    columns = [np.log(size / step**2), down / step, across / step]
    columns.append(size / (columns[1] * columns[2] * step**2))
    return np.stack(columns, axis=1)


@njit(cache=True, nogil=True)
def _boxes(bands, valid, reach, places, out):  # type: ignore[no-untyped-def]
    """Write mean and deviation over the valid pixels of boxes: `out` (pixel, 2 * band).

    Sums from the window's first corner on give those of any box by four of them (Crow 1984,
    doi:10.1145/800031.808600). `bands` (band, row, col) are 0 where not valid.
    """
    rows, cols = valid.shape
    counts, sums, squares = (
        np.zeros((rows + 1, cols + 1)),
        np.zeros((rows + 1, cols + 1)),
        np.zeros((rows + 1, cols + 1)),
    )
    _integrate(valid, counts, squares)
    for band in range(len(bands)):
        _integrate(bands[band], sums, squares)
        for i, place in enumerate(places):
            row, col = place // cols, place % cols
            box = max(row - reach, 0), min(row + reach + 1, rows)
            span = max(col - reach, 0), min(col + reach + 1, cols)
            count = max(_within(counts, box, span), 1.0)
            mean = _within(sums, box, span) / count
            square = _within(squares, box, span) / count
            out[i, 2 * band] = mean
            out[i, 2 * band + 1] = np.sqrt(max(square - mean * mean, 0.0))


@njit(cache=True, nogil=True)
def _integrate(plane, sums, squares):  # type: ignore[no-untyped-def]
    """Sum values and squares of a plane (row, col) over all before a corner: (row + 1, col + 1)."""
    rows, cols = plane.shape
    down, down_squares = np.zeros(cols), np.zeros(cols)
    for row in range(rows):
        total, total_squares = 0.0, 0.0
        for col in range(cols):
            value = np.float64(plane[row, col])
            down[col] += value
            down_squares[col] += value * value
            total += down[col]
            total_squares += down_squares[col]
            sums[row + 1, col + 1] = total
            squares[row + 1, col + 1] = total_squares


@njit(cache=True, nogil=True)
def _within(sums, rows, cols):  # type: ignore[no-untyped-def]
    """Sum a box from its first row and column to those after its last."""
    (top, bottom), (left, right) = rows, cols
    return (sums[bottom, right] - sums[top, right]) - (sums[bottom, left] - sums[top, left])


@njit(cache=True, nogil=True)
def _segments(bands, number, count, places, out):  # type: ignore[no-untyped-def]
    """Write mean and deviation over a pixel's segment: `out` (pixel, 2 * band).

    `number` (row, col) is that of a pixel's segment; `count` where there is none.
    """
    flat, size = number.ravel(), np.zeros(count + 1)
    for segment in flat:
        size[segment] += 1
    for band in range(len(bands)):
        sums, squares = np.zeros(count + 1), np.zeros(count + 1)
        values = bands[band].ravel()
        for pixel, segment in enumerate(flat):
            value = np.float64(values[pixel])
            sums[segment] += value
            squares[segment] += value * value
        for i, place in enumerate(places):
            segment = flat[place]
            mean = sums[segment] / size[segment]
            square = squares[segment] / size[segment]
            out[i, 2 * band] = mean
            out[i, 2 * band + 1] = np.sqrt(max(square - mean * mean, 0.0))
