"""Change in time that frequency rows share, found as factors of their log powers.

What changes a spectrum in time seldom changes one row alone: the log gain is a sum of a few
factors ``a_r · c(t)``, a course in time and each row's share in it. The course is smoothed over all
rows that have a share, so it holds little noise, and a signal, which fills few of their cells at a
time, hardly moves it. One factor after another:

1. *begin*: the leading eigenvector of the covariance of rows' running log powers, its diagonal
   left out, which is a row's own chance;
2. *course*: at each time one step of Newton's method on Whittle's likelihood of all rows' powers,
   each counted as at most `TOP` times what is expected; then predicted and mixed in time
   (`stcli.noise.time.smoothing`);
3. *shares*: the same step for each row's share. One within three standard errors of 0 is 0, and
   of 1 is 1: rows that move together move as one.

2 and 3 are done `ROUNDS` times. A factor is kept where the evidence for its course is strong each
time (`ERRORS`): of white noise, less than one series in a hundred has one.

Letters: r rows, t times, k degrees of freedom of a power.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

from stcli.noise.time.smoothing import Smoother, correlated, mix, predict

Cells = NDArray[np.float64]

#: Factors at most.
MOST = 4
#: Steps of Newton's method for each.
ROUNDS = 3
#: Power beyond which a cell counts as if it had that much, in what is expected there.
TOP = 5.0
#: Evidence from which on a factor is kept: so much, and so much times the root of the rows, since
#: shares are chosen from the same data.
ERRORS, CHOSEN = 4.0, 2.0
#: Standard errors within which a share is 0, or 1.
NEAR = 3.0
#: Cells of the running mean that a factor begins with.
RUNNING = 13
#: Smoothers of a course that few rows share, and of one that at least half of them do: then
#: narrow ones too, for bursts. A signal seldom fills half of the rows.
FEW = (Smoother(49, 3, True), Smoother(97, 3, True))
MANY = (Smoother(7, 0), Smoother(13, 1), Smoother(25, 3), *FEW)


def shared_change(power: Cells, degrees: int) -> Cells:
    """Find the log gain that rows share.

    Parameters
    ----------
    power : ndarray (r, t)
        Positive; chi-squared over its degrees of freedom but for a row's level and its gain.
    degrees : int
        Of freedom of each power.

    Returns
    -------
    ndarray (r, t)
        0 throughout a row where no change shows; else such that the power that is left, cells
        above `TOP` cut, is that of white noise of variance 1.
    """
    y = np.log(power)
    change = np.zeros(y.shape)
    if y.shape[1] < 2 * MANY[0].width:
        return change
    for _ in range(MOST):
        found = _factor(y - change, degrees)
        if found is None:
            break
        change += found
    moved = change.any(axis=1)
    change[moved] += _level(y[moved] - change[moved], degrees)
    return change


def _level(y: Cells, degrees: int) -> Cells:
    """Level of log powers (r, t), by the likelihood with cells cut as for courses: (r, 1)."""
    mean, slope, _ = _moments(degrees)
    level = (y - _settled(y, degrees))[:, :1]
    for _ in range(ROUNDS):
        score = np.exp(np.minimum(y - level, np.log(TOP))) - mean
        level = level + score.mean(axis=1, keepdims=True) / slope
    return level


def _factor(y: Cells, degrees: int) -> Cells | None:
    """Find the factor (r, t) that explains most of log powers y (r, t); None where none shows."""
    mean, slope, variance = _moments(degrees)
    share, course = _begin(_settled(y, degrees))
    for _ in range(ROUNDS):
        score = _score(y, share, course, degrees) - mean
        now = course + share @ score / (share @ share * slope)
        smoothers = MANY if share @ share >= len(y) / 2 else FEW
        predictions = predict(now[None], smoothers)
        if not predictions:
            return None
        found = mix(now[None], predictions)
        if found.errors[0] < ERRORS + CHOSEN * np.sqrt(len(y)):
            return None
        course = found.change[0]
        about = course - course.mean()
        weight = about @ about * slope
        share = share + (_score(y, share, course, degrees) - mean) @ about / weight
        error = np.sqrt(variance * (about @ about)) / weight
        sure = np.abs(share) > NEAR * error
        if not sure.any():
            return None
        unit = _typical(share)
        share, course = np.where(sure, share / unit, 0.0), course * unit
        share[np.abs(share - 1) < NEAR * error / unit] = 1.0
    return share[:, None] * course


def _begin(y: Cells) -> tuple[Cells, Cells]:
    """Shares (r,) and course (t,) that settled log powers begin with."""
    box = np.full(RUNNING, 1 / RUNNING)
    running = np.log(correlated(np.exp(np.clip(y, -50, 50)), box))
    running -= running.mean(axis=1, keepdims=True)
    together = running @ running.T
    np.fill_diagonal(together, 0)
    last = len(y) - 1
    share = scipy.linalg.eigh(together, subset_by_index=[last, last])[1][:, 0]
    share *= np.sign(share.sum()) or 1
    share /= _typical(share)
    course: Cells = share @ running / (share @ share)
    return share, course


def _typical(share: Cells) -> float:
    """Size of shares: smaller ones, and larger ones, have half of the sum of squares each."""
    size = np.sort(np.abs(share))
    energy = np.cumsum(size**2)
    return float(size[np.searchsorted(energy, energy[-1] / 2)])


def _settled(y: Cells, degrees: int) -> Cells:
    """Log powers with the median, over time, of white noise of variance 1."""
    white = np.log(gammaincinv(degrees / 2, 0.5) * 2 / degrees)
    settled: Cells = y - np.median(y, axis=1, keepdims=True) + white
    return settled


def _score(y: Cells, share: Cells, course: Cells, degrees: int) -> Cells:
    """Powers in what a factor expects (r, t), each row at its level, none above `TOP`."""
    left = _settled(y - share[:, None] * course, degrees)
    score: Cells = np.exp(np.minimum(left, np.log(TOP)))
    return score


def _moments(degrees: int) -> tuple[float, float, float]:
    """Mean of a power that is cut at `TOP`, how it grows with the log gain, and its variance."""
    half = degrees / 2
    slope = gammainc(half + 1, half * TOP)
    above = 1 - gammainc(half, half * TOP)
    mean = slope + TOP * above
    square = (1 + 2 / degrees) * gammainc(half + 2, half * TOP) + TOP**2 * above
    return float(mean), float(slope), float(square - mean**2)
