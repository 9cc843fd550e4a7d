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

from stcli.landcover.tokens import SHAPE_FEATURES
from stcli.landcover.windows import Window
from stcli.settings import BandScaling

#: Sides of the boxes around a pixel.
BOXES = (5, 15)
#: Rasters of more bands get no pairs: their number grows with the square.
PAIRED = 8


def feature_count(bands: int) -> int:
    """Features of a pixel of so many bands."""
    pairs = bands * (bands - 1) // 2 if bands <= PAIRED else 0
    return bands + pairs + 2 * bands * (len(BOXES) + 1) + SHAPE_FEATURES


def window_features(window: Window, scaling: BandScaling, step: int) -> NDArray[np.float32]:
    """Describe the pixels of a window.

    Parameters
    ----------
    window : Window
    scaling : BandScaling
    step : int
        Pixels between the segments' seeds.

    Returns
    -------
    ndarray of float32 (row, col, feature)
        0 where not valid.
    """
    valid = window.valid
    raw = np.where(valid, window.values, 0).astype(np.float32)
    bands = window.scaled(scaling)
    planes = [*bands, *_pairs(raw)]
    for side in BOXES:
        planes.extend(_box_moments(bands, valid, side))
    planes.extend(_segment_features(window, bands, step))
    result = np.stack(planes, axis=2).astype(np.float32)
    result[~valid] = 0
    return result


def feature_bytes(bands: int, pixels: int) -> int:
    """Bytes that `window_features` holds at its peak: planes, their stack, sums in float64."""
    return pixels * (3 * 4 * feature_count(bands) + 4 * 8 * bands + 64)


def _pairs(raw: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Normalised difference of each pair of bands; 0 where both are 0."""
    count = len(raw)
    pairs = [(a, b) for a in range(count) for b in range(a)] if count <= PAIRED else []
    result = []
    for a, b in pairs:
        total = np.abs(raw[a]) + np.abs(raw[b])
        result.append((raw[a] - raw[b]) / np.where(total > 0, total, np.float32(1)))
    return result


def _box_moments(
    bands: NDArray[np.float32], valid: NDArray[np.bool_], side: int
) -> list[NDArray[np.float64]]:
    """Mean and deviation of each band over the valid pixels of the box around a pixel."""
    count = np.maximum(_box_sum(valid.astype(np.float64), side), 1)
    result = []
    for band in bands.astype(np.float64):
        mean = _box_sum(band, side) / count
        square = _box_sum(band * band, side) / count
        result += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    return result


def _box_sum(plane: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sum the box of `side` pixels around each pixel (row, col), cut at the window's edge."""
    sums = np.pad(plane, 1).cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    reach = side // 2
    ends = []
    for n in plane.shape:
        at = np.arange(n)
        ends.append((np.maximum(at - reach, 0), np.minimum(at + reach + 1, n)))
    (top, bottom), (left, right) = ends
    rows = sums[bottom] - sums[top]
    return np.asarray(rows[:, right] - rows[:, left])


def _segment_features(
    window: Window, bands: NDArray[np.float32], step: int
) -> list[NDArray[np.float64]]:
    """Mean and deviation of each band over a pixel's segment, and the segment's shape."""
    labels, place = np.unique(window.segments, return_inverse=True)
    place = place.reshape(window.segments.shape)
    flat, count = place.ravel(), len(labels)
    size = np.bincount(flat, minlength=count).astype(np.float64)
    columns = []
    for band in bands:
        values = band.ravel().astype(np.float64)
        mean = np.bincount(flat, values, count) / size
        square = np.bincount(flat, values * values, count) / size
        columns += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    columns += _shapes(place, size, step)
    return [column[place] for column in columns]


def _shapes(place: NDArray[Any], size: NDArray[np.float64], step: int) -> list[NDArray[np.float64]]:
    """Log size, extents and fill of each segment, in units of the lattice step."""
    extents = []
    for axis in (0, 1):
        at = np.broadcast_to(np.expand_dims(np.arange(place.shape[axis]), 1 - axis), place.shape)
        low, high = np.full(len(size), place.size), np.full(len(size), -1)
        np.minimum.at(low, place.ravel(), at.ravel())
        np.maximum.at(high, place.ravel(), at.ravel())
        extents.append((high - low + 1) / step)
    fill = size / (extents[0] * extents[1] * step**2)
    return [np.log(size / step**2), *extents, fill]
