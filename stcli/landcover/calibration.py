"""How sure probabilities should be: temperature, calibration error, conformal sets.

Everything here is NumPy on arrays with the classes first, ``(class, …)``; truth counts classes
from 0. What is fitted on some samples is measured on others: `cross_fit` leaves out one group
(a fold, a half of the validation blocks) after the other.

Letters: K classes, n samples, p probabilities, y truth, T the temperature, β = 1 / T, c confidence.
Sources: Guo et al. 2017, arXiv:1706.04599 (temperature scaling, calibration error); Sadinle, Lei
and Wasserman 2019, doi:10.1080/01621459.2017.1395341 (least ambiguous sets).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError

FloatArray = NDArray[np.floating[Any]]

#: Probabilities are raised to this before their logarithm is taken: a forest's may be 0.
FLOOR = 1e-6
#: Temperatures looked at, from sharper to softer, and how many before the best one is refined.
TEMPERATURES, _GRID = (0.05, 20.0), 41
#: Odds against a class below which they count no further.
_NOTHING = 1e-12
#: Bins of `reliability`, of equal numbers of samples.
BINS = 15
#: Coverages for which `cross_fit` gives thresholds.
COVERAGES = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence beside accuracy, a row for each bin that holds samples.

    Attributes
    ----------
    confidence, accuracy : ndarray of float64 (bin,)
        Mean largest probability, and share of samples whose most probable class is true; 0 to 1.
    count : ndarray of int64 (bin,)
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the bins' mean |confidence - accuracy| by count, 0 to 1."""
        gap = np.abs(self.confidence - self.accuracy)
        return float((gap * self.count).sum() / self.count.sum())


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities honest, and how honest they were found to be on samples left out.

    Attributes
    ----------
    temperature : float
        Fitted on all samples.
    ece_before, ece_after : float
        Calibration error before and after; the latter of temperatures fitted without the sample's
        group.
    conformal : dict of str to float
        Threshold of `prediction_sets` for each coverage ("0.9"), fitted on all samples.
    coverage_found : dict of str to float
        Share of samples whose class was in the set, by thresholds fitted without their group.
    """

    temperature: float
    ece_before: float
    ece_after: float
    conformal: dict[str, float]
    coverage_found: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return asdict(self)


def temperature(probabilities: FloatArray, truth: NDArray[np.integer[Any]]) -> float:
    """Fit the temperature that gives the truth the highest likelihood.

    The mean negative log-likelihood, log Σ exp(β ln p) - β ln p_y, is convex in β: the root of
    its slope is the only minimum. It is looked for within `TEMPERATURES`.

    Parameters
    ----------
    probabilities : ndarray of float (K, n)
    truth : ndarray of int (n,)
        From 0 to K - 1.

    Raises
    ------
    InputError
        Without samples, or with shapes or classes that do not fit.
    """
    # classify fits nothing, and these would take it half a second to load
    from scipy.optimize import brentq
    from scipy.special import logsumexp

    _check(probabilities, truth)
    z = _logs(probabilities)
    right = z[truth, np.arange(len(truth))].mean()

    def slope(beta: float) -> float:
        p = np.exp(beta * z - logsumexp(beta * z, axis=0))
        return float((p * z).sum(axis=0).mean() - right)

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    return 1 / float(brentq(slope, low, high, xtol=1e-6))


def confidence_temperature(probabilities: FloatArray, truth: NDArray[np.integer[Any]]) -> float:
    """Fit the temperature that makes the confidence as honest as it can.

    The confidence c is the largest probability, and what it is about is whether that class is true:
    the temperature gives this the highest likelihood, mean log c where it is and log (1 - c) where
    it is not, within `TEMPERATURES`. `temperature` softens all confidences for the sake of a few
    samples whose class was thought impossible.

    Parameters and errors as those of `temperature`.
    """
    # classify fits nothing, and this would take it half a second to load
    from scipy.optimize import minimize_scalar

    _check(probabilities, truth)
    z = _logs(probabilities)
    below = z - z.max(axis=0)  # of the most probable class 0
    right = probabilities.argmax(axis=0) == truth

    def loss(log: float) -> float:
        rest = np.exp(below * math.exp(-log)).sum(axis=0) - 1  # (1 - c) / c
        wrong = np.log(np.maximum(rest[~right], _NOTHING)).sum()
        return float((np.log1p(rest).sum() - wrong) / len(right))

    logs = np.linspace(math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]), _GRID)
    best = int(np.argmin([loss(log) for log in logs]))
    if best in (0, _GRID - 1):
        return float(TEMPERATURES[best > 0])
    around = logs[best - 1], logs[best + 1]
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def temper(probabilities: NDArray[Any], value: float) -> NDArray[Any]:
    """Apply a temperature: p ** (1 / T), normalised.

    Parameters
    ----------
    probabilities : ndarray of float (K, …)
        NaN stays NaN.
    value : float
        1 leaves them as they are.

    Returns
    -------
    ndarray of the same shape and dtype
    """
    if value == 1:
        return probabilities
    z = _logs(probabilities) / value
    powers = np.exp(z - z.max(axis=0))
    honest: FloatArray = (powers / powers.sum(axis=0)).astype(probabilities.dtype)
    return honest


def reliability(
    probabilities: FloatArray, truth: NDArray[np.integer[Any]], bins: int = BINS
) -> Reliability:
    """Compare confidence and accuracy in bins of equal mass: bin edges are quantiles.

    Equal confidences share a bin, so the order of samples changes nothing.

    Parameters
    ----------
    probabilities, truth
        As in `temperature`.
    bins : int
        At most this many.
    """
    _check(probabilities, truth)
    confidence = probabilities.max(axis=0).astype(np.float64)
    right = probabilities.argmax(axis=0) == truth
    places = np.arange(1, bins) * len(truth) // bins
    edges = np.unique(np.sort(confidence)[places])
    bin_of = np.searchsorted(edges, confidence, side="right")
    count = np.bincount(bin_of, minlength=len(edges) + 1)
    used = count > 0
    sums = [np.bincount(bin_of, w, len(count))[used] for w in (confidence, right)]
    return Reliability(sums[0] / count[used], sums[1] / count[used], count[used])


def conformal_threshold(
    probabilities: FloatArray, truth: NDArray[np.integer[Any]], coverage: float
) -> float:
    """Fit the probability from which a class belongs to a sample's set (split conformal, LAC).

    The score of a sample is 1 - p_y; its quantile of rank ⌈(n + 1) coverage⌉ makes sets that
    hold the true class with at least that probability, for samples exchangeable with these.

    Parameters
    ----------
    probabilities, truth
        As in `temperature`.
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        0 where so few samples cannot promise the coverage: then every class belongs.
    """
    _check(probabilities, truth)
    right = np.sort(probabilities[truth, np.arange(len(truth))])[::-1]
    # the rank of a coverage such as 0.9 must not rise through its last bit
    rank = math.ceil((len(right) + 1) * coverage - 1e-9)
    return float(right[rank - 1]) if rank <= len(right) else 0.0


def prediction_sets(probabilities: FloatArray, threshold: float) -> NDArray[np.bool_]:
    """Mark the classes of each sample's set; the most probable class always belongs.

    Parameters
    ----------
    probabilities : ndarray of float (K, …)
    threshold : float
        From `conformal_threshold`.

    Returns
    -------
    ndarray of bool (K, …)
        False throughout where the probabilities are NaN.
    """
    best = np.asarray(probabilities.argmax(axis=0))[None]
    known = ~np.isnan(probabilities[0])
    sets = probabilities >= threshold
    np.put_along_axis(sets, best, known[None], axis=0)
    return np.asarray(sets)


def covered(sets: NDArray[np.bool_], truth: NDArray[np.integer[Any]]) -> float:
    """Share of samples whose class, truth (n,), is in their set, sets (class, n): 0 to 1."""
    return float(sets[truth, np.arange(len(truth))].mean())


def cross_fit(
    probabilities: FloatArray,
    truth: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    coverages: Sequence[float] = COVERAGES,
) -> Calibration:
    """Fit temperature and thresholds, and measure each group by a fit without it.

    Parameters
    ----------
    probabilities, truth
        As in `temperature`: of samples that the model was not trained on.
    groups : ndarray of int (n,)
        Samples that belong together, such as a fold's; at least two groups.
    coverages : sequence of float

    Raises
    ------
    InputError
        With fewer than two groups, and as `temperature`.
    """
    _check(probabilities, truth)
    if len(np.unique(groups)) < 2:
        raise InputError("calibration: samples of one group found, at least two are wanted.")
    honest = np.empty_like(probabilities)
    held = {str(c): np.empty(len(truth), dtype=np.bool_) for c in coverages}
    for inside, fit in _turns(probabilities, truth, groups, coverages):
        honest[:, inside] = temper(probabilities[:, inside], fit[0])
        for coverage, threshold in fit[1].items():
            sets = prediction_sets(honest[:, inside], threshold)
            held[coverage][inside] = sets[truth[inside], np.arange(len(sets[0]))]
    value, conformal = _fit(probabilities, truth, coverages)
    return Calibration(
        temperature=value,
        ece_before=reliability(probabilities, truth).error,
        ece_after=reliability(honest, truth).error,
        conformal=conformal,
        coverage_found={coverage: float(inside.mean()) for coverage, inside in held.items()},
    )


_Fit = tuple[float, dict[str, float]]


def _fit(
    probabilities: FloatArray, truth: NDArray[np.integer[Any]], coverages: Sequence[float]
) -> _Fit:
    """Temperature, and the threshold of each coverage on tempered probabilities."""
    value = confidence_temperature(probabilities, truth)
    honest = temper(probabilities, value)
    return value, {str(c): conformal_threshold(honest, truth, c) for c in coverages}


def _turns(
    probabilities: FloatArray,
    truth: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    coverages: Sequence[float],
) -> Iterator[tuple[NDArray[np.bool_], _Fit]]:
    """Each group's samples, and what was fitted on all others."""
    for group in np.unique(groups):
        inside = groups == group
        yield inside, _fit(probabilities[:, ~inside], truth[~inside], coverages)


def _logs(probabilities: FloatArray) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), FLOOR)))


def _check(probabilities: FloatArray, truth: NDArray[np.integer[Any]]) -> None:
    shape = probabilities.shape
    if len(shape) != 2 or truth.shape != shape[1:] or not shape[1]:
        raise InputError(
            f"calibration: probabilities {shape} and truth {truth.shape} found, wanted "
            "(class, sample) and (sample,) with at least one sample."
        )
    if truth.min() < 0 or truth.max() >= shape[0]:
        raise InputError(
            f"calibration: classes {truth.min()} to {truth.max()} found, wanted 0 to "
            f"{shape[0] - 1}."
        )
