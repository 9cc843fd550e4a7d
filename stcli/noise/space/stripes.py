"""Striping: the offset, and the gain, of each detector against its neighbours.

A pushbroom sensor has one detector a column; its lines differ from their neighbours' by an offset
and a gain, while scenes hardly ever change along a whole column. Letters: x the values (line,
column), a profile a number for each column.

* offsets: the steps from column to column, each the median over lines of ``x[c] - x[c-1]``, summed
  up, less their running median over `span` columns; what a median calls a step is common to most
  lines, and what is broad belongs to the scene;
* gains (on request, and before the offsets): likewise the logarithms' steps, each the slope k of
  ``d = x[c] - x[c-1]`` against ``m = (x[c] + x[c-1]) / 2``, that is ``2 atanh(k / 2)``. The slope
  is the difference of the medians of d in the upper and lower third of m over that of the medians
  of m (a resistant line; Tukey 1977); m has the noise of both columns, which so does not tilt it;
* what is a detector's is the same in every part of the lines, what is the scene's is not: of a
  profile's cosine waves each keeps the share ``1 - CAUTION E / P`` (Wiener), with P its power and E
  the variance of its mean over parts of the lines, both averaged over neighbouring waves.

Moment matching (Gadallah, Csillag and Smith 2000, doi:10.1080/014311600210010) is the classical
form; medians of differences do not mistake one bright field for a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, idct
from scipy.ndimage import uniform_filter1d

from stcli.noise.space.separable import Plane

#: Lines with a value that a column needs, else it is left as it is.
FEWEST = 8
#: Parts of the lines that must agree at most, and neighbouring waves whose powers are averaged.
PARTS, WAVES = 4, 21
#: Columns whose steps are measured at once: what that takes of memory is then small.
COLUMNS = 256
#: By how much a wave's error is overestimated: neighbouring parts share some of the scene.
CAUTION = 1.5


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
    gain = np.ones(columns)
    if with_gain:
        gain = np.clip(np.exp(_agreed(lines - pivot, span, _gain_steps)), 0.5, 2.0)
    offset = _agreed((lines - pivot) / gain, span, _offset_steps)
    return Stripes(gain * offset, gain, pivot)


def striping(lines: Plane, span: int) -> float:
    """Give the deviation of the columns' offsets, from lines (row, col), in the band's unit."""
    return float(_agreed(lines, span, _offset_steps).std()) if lines.shape[1] >= 3 else 0.0


def _agreed(lines: Plane, span: int, steps: Callable[[Plane], Plane]) -> Plane:
    """Give a profile as far as parts of the lines agree on it; 0 where there are too few lines."""
    known = lines[np.isfinite(lines).any(axis=1)]
    if len(known) < 2 * FEWEST:
        return np.zeros(lines.shape[1])
    parts = np.array_split(known, max(2, min(PARTS, len(known) // (3 * FEWEST))))
    waves = dct(_profile(known, span, steps), norm="ortho")
    found = dct([_profile(part, span, steps) for part in parts], norm="ortho", axis=1)
    power = uniform_filter1d(waves**2, WAVES)
    error = uniform_filter1d(found.var(axis=0, ddof=1) / len(parts), WAVES)
    share = np.divide(error, power, out=np.ones(len(waves)), where=power > 0)
    out: Plane = idct(waves * np.maximum(1 - CAUTION * share, 0), norm="ortho")
    return out


def _profile(lines: Plane, span: int, steps: Callable[[Plane], Plane]) -> Plane:
    """Sum up the steps from column to column, without what is broad."""
    starts = range(0, lines.shape[1] - 1, COLUMNS)
    found = np.concatenate([steps(lines[:, c : c + COLUMNS + 1]) for c in starts])
    return _without_trend(np.concatenate([[0.0], np.cumsum(found)]), span)


def _offset_steps(lines: Plane) -> Plane:
    return _medians(np.diff(lines, axis=1))


def _gain_steps(lines: Plane) -> Plane:
    """Give steps of the gains' logarithms; 0 where fewer than `FEWEST` lines have both values."""
    rise, level = np.diff(lines, axis=1), (lines[:, 1:] + lines[:, :-1]) / 2
    counts, slopes = np.isfinite(level).sum(axis=0), np.zeros(level.shape[1])
    for count in np.unique(counts[counts >= FEWEST]):
        at = counts == count
        slopes[at] = _resistant(level[:, at], rise[:, at], int(count))
    return 2 * np.arctanh(np.clip(slopes, -1, 1) / 2)


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


def _resistant(m: Plane, e: Plane, count: int) -> Plane:
    """Slopes of e against m (line, column) by resistant lines, `count` values in each column."""
    order, third = np.argsort(m, axis=0, kind="stable"), count // 3  # NaN last
    (low, rest), (high, end) = (
        [np.median(np.take_along_axis(x, order[part], axis=0), axis=0) for x in (m, e)]
        for part in (slice(third), slice(count - third, count))
    )
    return np.divide(end - rest, high - low, out=np.zeros(len(low)), where=high > low)
