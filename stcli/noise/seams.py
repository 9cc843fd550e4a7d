"""Find the seams of tiles in a raster: lines on a regular lattice across which values jump.

Work that is cut in tiles and shows it leaves a step, or a change of class, along lines at one
distance. Between two neighbouring columns c - 1 and c lies *boundary* c. Its profile value is

- of classes: the share of valid pixel pairs across it that differ;
- of continuous values: the mean of sqrt|d|, and, in cells of 32 pixels along the boundary, the
  mean of sqrt|mean d|, for the difference d across it. The first sees a change of texture, the
  second a faint step below the texture.

The profile is freed of the landscape by subtracting its running median, and its ranks are turned
into normal scores s, so that no single road or coast counts for more than its rank. For a period
T and an offset o the boundaries c = o (mod T), m of them, have the score z = sum(s) / sqrt(m),
normal under the hypothesis that seams are nowhere. All periods and offsets are tried, columns,
rows and both together ((z + z') / sqrt(2)); the probability of the best is corrected by the
number of trials (Bonferroni). The true period wins over its multiples, which use fewer of its
lines, and over its fractions, which mix in lines that are none.

Letters: T period in pixels, o offset in pixels, m boundaries on the lattice, s normal score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.special import log_ndtr, ndtri

#: Side of a cell, in pixels.
CELL = 32
#: Periods below this are texture, not tiles.
SHORTEST = 8
#: Fewer lines than this are no lattice.
FEWEST = 3
_WINDOW = 31
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seams:
    """The most suspect lattice of a raster.

    Attributes
    ----------
    period : int
        Pixels from line to line; 0 when the raster is too small for any.
    offset : (int or None, int or None)
        First row and first column that begin a tile; None for a direction without lines.
    score : float
        -log10 of the corrected probability that so regular an excess is chance; >= 0.
    excess : float
        Profile on the lattice's lines over its running median there, minus one; of the stronger
        direction.
    """

    period: int
    offset: tuple[int | None, int | None]
    score: float
    excess: float


def jumps(block: NDArray[np.generic], valid: NDArray[np.bool_], classes: bool) -> _Floats:
    """Measure the jump across each boundary of a block's columns.

    Parameters
    ----------
    block : ndarray, (band, row, col)
        Rows begin on a cell's edge.
    valid : ndarray of bool, (row, col)
    classes : bool
        Values are names, not numbers.

    Returns
    -------
    ndarray, (statistic, 2, col)
        Sum and count of each statistic at boundary c, between columns c - 1 and c; boundary 0 is
        empty. One statistic for classes; for continuous values two a band.
    """
    both = valid[:, 1:] & valid[:, :-1]
    found = []
    for band in block:
        if classes:
            found.append((np.sum((band[:, 1:] != band[:, :-1]) & both, 0), both.sum(0)))
            continue
        step = np.where(both, np.diff(band.astype(np.float64), axis=1), 0.0)
        found.append((np.sqrt(np.abs(step)).sum(0), both.sum(0)))
        edges = np.arange(0, len(step), CELL)
        counts = np.add.reduceat(both, edges, 0, dtype=np.int64)
        full = counts >= CELL // 2
        means = np.add.reduceat(step, edges, 0) / np.maximum(counts, 1)
        found.append((np.where(full, np.sqrt(np.abs(means)), 0).sum(0), full.sum(0)))
    return np.pad(np.array(found, dtype=np.float64), ((0, 0), (0, 0), (1, 0)))


def find_seams(columns: _Floats, rows: _Floats, period: int | None = None) -> Seams:
    """Find the most suspect lattice.

    Parameters
    ----------
    columns, rows : ndarray, (statistic, 2, n)
        Sums and counts over the whole raster, from `jumps`; `rows` from the transposed blocks.
    period : int, optional
        The only one to try.

    Returns
    -------
    Seams
    """
    sides = [_Side(rows), _Side(columns)]
    longest = max((side.length - 1) // FEWEST for side in sides)
    periods = [period] if period else range(SHORTEST, longest + 1)
    trials = [sum(T**power for T in periods) for power in (1, 2)]
    best: tuple[float, int, _Offset] = (0.0, 0, (None, None))
    for T in periods:
        lines = [side.best(T) for side in sides]
        for score, offset in _candidates(lines, trials):
            best = max(best, (score, T, offset), key=lambda found: found[0])
    score, found, offset = best
    excess = [s.excess(found, o) for s, o in zip(sides, offset, strict=True) if o is not None]
    return Seams(found, offset, round(score, 2), round(max(excess, default=0.0), 4))


_Offset = tuple[int | None, int | None]


def _candidates(
    lines: list[tuple[float, int] | None], trials: list[int]
) -> list[tuple[float, _Offset]]:
    """Scores of rows alone, columns alone, and both together."""
    row, col = lines
    found: list[tuple[float, _Offset]] = []
    if row:
        found.append((_score(row[0], trials[0]), (row[1], None)))
    if col:
        found.append((_score(col[0], trials[0]), (None, col[1])))
    if row and col:
        z = (row[0] + col[0]) / math.sqrt(2)
        found.append((_score(z, trials[1]), (row[1], col[1])))
    return found


def _score(z: float, trials: int) -> float:
    return max(0.0, -(float(log_ndtr(-z)) + math.log(2 * trials)) / math.log(10))


class _Side:
    """The boundaries of one direction."""

    def __init__(self, sums: _Floats) -> None:
        self.length = sums.shape[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            self.profiles = sums[:, 0] / sums[:, 1]
        known: NDArray[np.bool_] = np.all(np.isfinite(self.profiles), axis=0)
        self.known = known
        self.scores = np.zeros(self.length)
        if known.sum() > 2 * FEWEST:
            each = [_normal(profile[known]) for profile in self.profiles]
            self.scores[known] = _scores(np.sum(each, 0))

    def best(self, period: int) -> tuple[float, int] | None:
        """Find the offset with the highest z; None where too few lines fit."""
        rows = -(-self.length // period)
        padded = np.zeros((2, rows * period))
        padded[0, : self.length], padded[1, : self.length] = self.scores, self.known
        total, count = padded.reshape(2, rows, period).sum(1)
        enough = count >= FEWEST
        if not enough.any():
            return None
        z = np.where(enough, total / np.sqrt(np.maximum(count, 1)), -np.inf)
        offset = int(z.argmax())
        return float(z[offset]), offset

    def excess(self, period: int, offset: int) -> float:
        profile = self.profiles[0]
        lines = np.arange(offset or period, self.length, period)
        lines = lines[self.known[lines]]
        usual = _median(np.where(self.known, profile, 0.0))[lines].mean()
        return float(profile[lines].mean() / usual - 1) if usual > 0 else math.inf


def _median(profile: _Floats) -> _Floats:
    found: _Floats = median_filter(profile, _WINDOW, mode="nearest")
    return found


def _normal(profile: _Floats) -> _Floats:
    return _scores(profile - _median(profile))


def _scores(values: _Floats) -> _Floats:
    """Turn values into the normal scores of their ranks; ties share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    upper = np.cumsum(counts)
    middle = upper - (counts + 1) / 2 + 0.5
    scores: _Floats = ndtri(middle / len(values))[inverse]
    spread = scores.std()
    return scores / spread if spread > 0 else np.zeros(len(values))
