"""Find the seams of tiles in a raster: lines on a regular lattice across which values jump.

Work that is cut in tiles and shows it leaves a step, or a change of class, along lines at one
distance. Between two neighbouring columns c - 1 and c lies *boundary* c. Its profile value is

- of classes: the share of valid pixel pairs across it that differ;
- of continuous values: from the difference d across it, in cells of 32 pixels along the boundary,
  x = mean of sqrt|d| and y = sqrt|mean of d|. Each is compared with its mean over the 33
  boundaries around, x / (x + mean of x), so that a city does not drown a field, and averaged over
  the cells. The first sees a change of texture, the second a faint step below the texture.

The profile is freed of the landscape by subtracting its running median, and its ranks are turned
into normal scores s, so that no single road or coast counts for more than its rank. For a period
T and an offset o the boundaries c = o (mod T), m of them, have z = sum(s) / sqrt(m). For each T
the offset with the highest z is the candidate; the true period wins over its multiples, which use
fewer of its lines, and over its fractions, which mix in lines that are none. The probability of
the best candidates is exact: that j of m boundaries drawn from n are among the r highest
(hypergeometric), for the best j, times m. Columns and rows at one period are joined by Fisher's
method. The score is -log10 of the smallest probability times the number of periods and offsets
(Bonferroni).

Regularities below 32 pixels are texture, not tiles: the seeds of superpixels, blocks of JPEG,
pixels of a coarser band. They would show at every multiple of their period. So the strongest
short lattices are sought first, and the mean score of each of their offsets is subtracted.

Letters: T period in pixels, o offset in pixels, m boundaries on the lattice, s normal score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.special import ndtri
from scipy.stats import hypergeom

#: Side of a cell, in pixels.
CELL = 32
#: Periods below this are texture, not tiles.
SHORTEST = 32
#: Short lattices that are taken out of a direction, at most.
_TEXTURES = 4
#: Score from which a short lattice is taken out.
_REGULAR = 2.0
#: Columns and rows beyond a tile that its jumps are compared with.
HALO = 17
#: Jumps below this are none.
_TINY = 1e-9
#: Fewer lines than this are no lattice.
FEWEST = 3
_WINDOW = 31
#: Periods whose probability is reckoned, those with the highest z.
_CANDIDATES = 20
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


def jumps(block: NDArray[Any], valid: NDArray[np.bool_], classes: bool, start: int = 0) -> _Floats:
    """Measure the jump across each boundary of a block's columns.

    Parameters
    ----------
    block : ndarray, (band, row, col)
    valid : ndarray of bool, (row, col)
    classes : bool
        Values are names, not numbers.
    start : int
        Row of the lattice on which the block begins: cells stand on the lattice.

    Returns
    -------
    ndarray, (statistic, 2, col)
        Sum and count of each statistic at boundary c, between columns c - 1 and c; boundary 0 is
        empty. One statistic for classes; for continuous values two a band, exact `HALO` columns
        away from the block's edges that are not the raster's.
    """
    both = valid[:, 1:] & valid[:, :-1]
    found = []
    for band in block:
        if classes:
            found.append((np.sum((band[:, 1:] != band[:, :-1]) & both, 0), both.sum(0)))
            continue
        step = np.where(both, np.diff(band.astype(np.float64), axis=1), 0.0)
        edges = np.unique([0, *range(-start % CELL, len(step), CELL)])
        counts = np.add.reduceat(both, edges, 0, dtype=np.int64)
        means = np.add.reduceat(step, edges, 0) / np.maximum(counts, 1)
        sizes = np.add.reduceat(np.sqrt(np.abs(step)), edges, 0) / np.maximum(counts, 1)
        full = counts >= CELL // 2
        found += [_compared(sizes, full), _compared(np.sqrt(np.abs(means)), full)]
    return np.pad(np.array(found, dtype=np.float64), ((0, 0), (0, 0), (1, 0)))


def _compared(cells: _Floats, full: NDArray[np.bool_]) -> tuple[_Floats, NDArray[np.int64]]:
    """Compare cells with those around them in their row; sum and count them by boundary."""
    values = np.where(full, cells, 0.0)
    size = 2 * HALO - 1
    around = uniform_filter1d(values, size, axis=1, mode="constant")
    known = uniform_filter1d(full.astype(np.float64), size, axis=1, mode="constant")
    total = values + around / np.maximum(known, 1 / (2 * size))
    used = full & (total > _TINY)
    shares = np.where(used, values / np.where(used, total, 1.0), 0.0)
    return shares.sum(0), used.sum(0)


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
    found = {T: tuple(side.best(T) for side in sides) for T in periods}
    trials = [2.0 * sum(T**power for T in periods) for power in (1, 2)]
    best = Seams(0, (None, None), 0.0, 0.0)
    for T in sorted(found, key=lambda T: -_joint(found[T]))[:_CANDIDATES]:
        for score, offset in _candidates(sides, T, found[T], trials):
            if score > best.score:
                best = Seams(T, offset, round(score, 2), 0.0)
    return replace(best, excess=_excess(sides, best))


_Offset = tuple[int | None, int | None]
_Line = tuple[float, int] | None


def _joint(lines: tuple[_Line, ...]) -> float:
    """Rank a period by the z of both directions, or of the better one."""
    each = [line[0] for line in lines if line]
    both = sum(each) / math.sqrt(2) if len(each) == 2 else -math.inf
    return max([both, *each], default=-math.inf)


def _candidates(
    sides: list[_Side], period: int, lines: tuple[_Line, ...], trials: list[float]
) -> Iterator[tuple[float, _Offset]]:
    """Scores of rows alone, columns alone, and both together."""
    pairs = zip(sides, lines, strict=True)
    logs = [side.chance(period, line[1]) if line else None for side, line in pairs]
    row, col = (line[1] if line else None for line in lines)
    if logs[0] is not None:
        yield -(logs[0] + math.log(trials[0])) / math.log(10), (row, None)
    if logs[1] is not None:
        yield -(logs[1] + math.log(trials[0])) / math.log(10), (None, col)
    if logs[0] is not None and logs[1] is not None:
        joined = -logs[0] - logs[1]  # of two uniform probabilities: Gamma(2)
        log = math.log1p(joined) - joined
        yield -(log + math.log(trials[1])) / math.log(10), (row, col)


def _excess(sides: list[_Side], best: Seams) -> float:
    pairs = zip(sides, best.offset, strict=True)
    each = [side.excess(best.period, offset) for side, offset in pairs if offset is not None]
    return round(max(each, default=0.0), 4)


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
            for _ in range(_TEXTURES):
                self._smooth()

    def _smooth(self) -> None:
        """Take the strongest short lattice out of the scores."""
        periods = range(2, SHORTEST)
        found = {T: line for T in periods if (line := self.best(T)) is not None}
        if not found:
            return
        period = max(found, key=lambda T: found[T][0])
        chance = self.chance(period, found[period][1]) + math.log(sum(periods))
        if -chance / math.log(10) < _REGULAR:
            return
        total, count = self._folded(period)
        usual = np.resize(total / np.maximum(count, 1), self.length)
        self.scores = np.where(self.known, self.scores - usual, 0.0)
        self.scores /= max(float(self.scores[self.known].std()), 1e-12)

    def _folded(self, period: int) -> NDArray[np.float64]:
        """Sum the scores, and count the boundaries, of each offset."""
        rows = -(-self.length // period)
        padded = np.zeros((2, rows * period))
        padded[0, : self.length], padded[1, : self.length] = self.scores, self.known
        folded: NDArray[np.float64] = padded.reshape(2, rows, period).sum(1)
        return folded

    def best(self, period: int) -> tuple[float, int] | None:
        """Find the offset with the highest z; None where too few lines fit."""
        total, count = self._folded(period)
        enough = count >= FEWEST
        if not enough.any():
            return None
        z = np.where(enough, total / np.sqrt(np.maximum(count, 1)), -np.inf)
        offset = int(z.argmax())
        return float(z[offset]), offset

    def lines(self, period: int, offset: int) -> NDArray[np.int64]:
        """List the known boundaries of a lattice."""
        every = np.arange(offset, self.length, period)
        return every[self.known[every]]

    def chance(self, period: int, offset: int) -> float:
        """Reckon the natural logarithm of the probability of ranks so high by chance."""
        scores = np.sort(self.scores[self.known])
        lines = np.sort(self.scores[self.lines(period, offset)])[::-1]
        above = len(scores) - np.searchsorted(scores, lines, "left")  # ties count as above
        drawn = np.arange(1, len(lines) + 1)
        logs = hypergeom.logsf(drawn - 1, len(scores), above, len(lines))
        return min(0.0, float(logs.min()) + math.log(len(lines)))

    def excess(self, period: int, offset: int) -> float:
        profile = self.profiles[0]
        lines = self.lines(period, offset)
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
