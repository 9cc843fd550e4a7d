"""Striping: the offset, and the gain, of each detector against its neighbours.

A pushbroom sensor has one detector a column; its lines differ from their neighbours' by an offset
and a gain, while scenes hardly ever change along a whole column. Letters: x the values (line,
column), m their running mean over `span` columns, e = x - m.

* offset of a column: the steps from column to column, each the median over lines of
  ``x[c] - x[c-1]``, summed up, less their running median over `span` columns; what a median calls a
  step is common to most lines, and what is broad belongs to the scene;
* gain of a column (on request): slope of e against m, as the difference of the medians of e in the
  upper and lower third of m over that of the medians of m (a resistant line; Tukey 1977), less its
  own running median, and likewise the offset at the same time.

Moment matching (Gadallah, Csillag and Smith 2000, doi:10.1080/014311600210010) is the classical
form; medians of differences do not mistake one bright field for a detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.noise.space.separable import Plane

#: Lines with a value that a column needs, else it is left as it is.
FEWEST = 8


@dataclass(frozen=True)
class Stripes:
    """What each column's detector adds: ``x = gain * (x' - pivot) + pivot + offset``.

    Attributes
    ----------
    offset, gain : ndarray of float64 (column,)
        0 and 1 where nothing is known.
    pivot : float
        In the band's unit.
    """

    offset: Plane
    gain: Plane
    pivot: float

    def remove(self, values: Plane, first: int, axis: int) -> Plane:
        """Take the stripes out of a plane (row, col) that begins at column (or row) `first`."""
        part = slice(first, first + values.shape[axis])
        shape = (1, -1) if axis == 1 else (-1, 1)
        offset, gain = self.offset[part].reshape(shape), self.gain[part].reshape(shape)
        out: Plane = (values - self.pivot - offset) / gain + self.pivot
        return out


def find_stripes(lines: Plane, span: int, with_gain: bool) -> Stripes:
    """Measure stripes on sampled lines.

    Parameters
    ----------
    lines : ndarray of float64 (line, column)
        NaN where invalid.
    span : int
        Columns beyond which a change belongs to the scene, odd.
    with_gain : bool
        Look for gains too.
    """
    pivot = float(np.nanmedian(lines)) if np.isfinite(lines).any() else 0.0
    columns = lines.shape[1]
    if columns < 3:
        return Stripes(np.zeros(columns), np.ones(columns), pivot)
    if not with_gain:
        return Stripes(_offsets(lines, span), np.ones(columns), pivot)
    slope, level = _lines_of(lines - pivot, span)
    slope, level = _without_trend(slope, span), _without_trend(level, span)
    return Stripes(level, np.clip(1 + slope, 0.5, 2.0), pivot)


def striping(lines: Plane, span: int) -> float:
    """Give the deviation of the columns' offsets, from lines (row, col), in the band's unit."""
    return float(_offsets(lines, span).std()) if lines.shape[1] >= 3 else 0.0


def _offsets(lines: Plane, span: int) -> Plane:
    steps = _medians(np.diff(lines, axis=1))
    return _without_trend(np.concatenate([[0.0], np.cumsum(steps)]), span)


def _medians(planes: Plane) -> Plane:
    """Median of each column; 0 where fewer than `FEWEST` lines, or all there are, have a value."""
    known = np.isfinite(planes)
    enough = known.sum(axis=0) >= min(FEWEST, len(planes))
    out = np.zeros(planes.shape[1])
    if enough.any():
        out[enough] = np.nanmedian(planes[:, enough], axis=0)
    return out


def _without_trend(profile: Plane, span: int) -> Plane:
    """Subtract the trend: a line through both outer thirds' medians, then the running median."""
    columns, third = np.arange(len(profile)), max(1, len(profile) // 3)
    rise = np.median(profile[-third:]) - np.median(profile[:third])
    level = profile - rise * columns / max(1, len(profile) - third)
    half = min(span // 2, (len(profile) - 1) // 2)
    before, after = _beyond(level[: 2 * half + 1]), _beyond(level[: -2 * half - 2 : -1])
    longer = np.concatenate([before[::-1], level, after])
    windows = np.lib.stride_tricks.sliding_window_view(longer, 2 * half + 1)
    out: Plane = level - np.median(windows, axis=1)
    return out - np.median(out)


def _beyond(end: Plane) -> Plane:
    """Carry a profile on beyond its first column, outwards, by half of these `end` columns.

    They are turned about the level there, which a resistant line tells (Theil 1950, Sen 1968,
    doi:10.1080/01621459.1968.10480934), so that a slope goes on: mirrored, it would bend.
    """
    at = np.arange(len(end))
    rise, run = end[:, None] - end, at[:, None] - at
    slope = np.median(rise[run > 0] / run[run > 0]) if len(end) > 1 else 0.0
    level: Plane = 2 * np.median(end - slope * at) - end[1 : len(end) // 2 + 1]
    return level


def _lines_of(lines: Plane, span: int) -> tuple[Plane, Plane]:
    """Fit e = slope * m + level in each column by a resistant line."""
    known = np.isfinite(lines)
    half = span // 2
    sums, counts = (
        _running(part, half) for part in (np.where(known, lines, 0.0), known.astype(np.float64))
    )
    mean = np.where(known, sums / np.maximum(counts, 1), np.nan)
    slope, level = np.zeros(lines.shape[1]), np.zeros(lines.shape[1])
    for column in range(lines.shape[1]):
        part = known[:, column]
        if part.sum() >= 3 * FEWEST:
            slope[column], level[column] = _resistant(
                mean[part, column], (lines - mean)[part, column]
            )
    return slope, level


def _running(plane: Plane, half: int) -> Plane:
    """Sum over the columns within `half`, fewer at the ends."""
    total = np.cumsum(np.pad(plane, ((0, 0), (half + 1, half))), axis=1)
    out: Plane = total[:, 2 * half + 1 :] - total[:, : -2 * half - 1]
    return out


def _resistant(m: NDArray[np.float64], e: NDArray[np.float64]) -> tuple[float, float]:
    order = np.argsort(m, kind="stable")
    third = len(m) // 3
    low, high = order[:third], order[-third:]
    rise = np.median(m[high]) - np.median(m[low])
    slope = (np.median(e[high]) - np.median(e[low])) / rise if rise > 0 else 0.0
    return float(slope), float(np.median(e - slope * m))
