"""How sure probabilities should be: calibration error, conformal sets, and all of it cross-fitted.

Everything here is NumPy on arrays with the classes first, ``(class, …)``; truth counts classes
from 0. What is fitted on some samples is measured on others: `cross_fit` leaves out one group
(a fold, some of the validation blocks) after the other.

Letters: K classes, n samples, p probabilities, y truth, c confidence.
Sources: Guo et al. 2017, arXiv:1706.04599 (calibration error); Sadinle, Lei and Wasserman 2019,
doi:10.1080/01621459.2017.1395341 (least ambiguous sets).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover.accuracy.tempering import FloatArray, check, choose, temper

logger = logging.getLogger("stcli")

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
    temperature, growth : float
        Of `stcli.landcover.accuracy.tempering.temper`, chosen and fitted on all samples.
    ece_before, ece_after : float
        Calibration error before and after; the latter of what was chosen and fitted without the
        sample's group.
    conformal : dict of str to float
        Threshold of `prediction_sets` for each coverage ("0.9"), fitted on all samples.
    coverage_found : dict of str to float
        Share of samples whose class was in the set, by thresholds fitted without their group.
    """

    temperature: float
    growth: float
    ece_before: float
    ece_after: float
    conformal: dict[str, float]
    coverage_found: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return asdict(self)


def reliability(
    probabilities: FloatArray, truth: NDArray[np.integer[Any]], bins: int = BINS
) -> Reliability:
    """Compare confidence and accuracy in bins of equal mass: bin edges are quantiles.

    Equal confidences share a bin, so the order of samples changes nothing.

    Parameters
    ----------
    probabilities, truth
        As in `stcli.landcover.accuracy.tempering.temperature`.
    bins : int
        At most this many.
    """
    check(probabilities, truth)
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
        As in `stcli.landcover.accuracy.tempering.temperature`.
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        0 where so few samples cannot promise the coverage: then every class belongs.
    """
    check(probabilities, truth)
    right = np.sort(probabilities[truth, np.arange(len(truth))])[::-1]
    rank = _rank(len(right), coverage)
    return float(right[rank - 1]) if rank <= len(right) else 0.0


def _rank(count: int, coverage: float) -> int:
    """Rank of the score that bounds the sets, from 1; above `count` where none of them does."""
    # that of a coverage such as 0.9 must not rise through its last bit
    return math.ceil((count + 1) * coverage - 1e-9)


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
    """Fit tempering and thresholds, and measure each group by a fit without it.

    Samples too few for the coverages are told.

    Whether the temperature grows is chosen by the groups that a fit sees, so that each is measured
    by a choice without it, too. Of two groups a fit sees one, which can choose nothing: what could
    not be measured is not offered, and no temperature grows.

    Parameters
    ----------
    probabilities, truth
        As in `stcli.landcover.accuracy.tempering.temperature`: of samples that the model was not
        trained on.
    groups : ndarray of int (n,)
        Samples that belong together, such as a fold's; at least two groups.
    coverages : sequence of float

    Raises
    ------
    InputError
        With fewer than two groups, and as `stcli.landcover.accuracy.tempering.temperature`.
    """
    check(probabilities, truth)
    number = len(np.unique(groups))
    if number < 2:
        raise InputError("calibration: samples of one group found, at least two are wanted.")
    _tell_few(len(truth), coverages)
    honest = np.empty_like(probabilities)
    held = {str(c): np.empty(len(truth), dtype=np.bool_) for c in coverages}
    for inside, fit in _turns(probabilities, truth, groups, coverages):
        honest[:, inside] = temper(probabilities[:, inside], *fit[0])
        for coverage, threshold in fit[1].items():
            sets = prediction_sets(honest[:, inside], threshold)
            held[coverage][inside] = sets[truth[inside], np.arange(len(sets[0]))]
    choosing = groups if number > 2 else np.zeros_like(groups)
    (value, growth), conformal = _fit(probabilities, truth, choosing, coverages)
    return Calibration(
        temperature=value,
        growth=growth,
        ece_before=reliability(probabilities, truth).error,
        ece_after=reliability(honest, truth).error,
        conformal=conformal,
        coverage_found={coverage: float(inside.mean()) for coverage, inside in held.items()},
    )


def _tell_few(count: int, coverages: Sequence[float]) -> None:
    beyond = [f"{coverage:g}" for coverage in coverages if _rank(count, coverage) > count]
    if beyond:
        logger.warning(
            "calibration: %d labels held out, too few to promise a coverage of %s: such sets hold "
            "every class, and the temperature rests on little; label more places",
            *(count, ", ".join(beyond)),
        )


def by_others(
    probabilities: FloatArray,
    truth: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    use: NDArray[np.bool_],
) -> FloatArray:
    """Temper each group by what the others choose.

    Parameters
    ----------
    probabilities, truth, groups
        As in `cross_fit`.
    use : ndarray of bool (n,)
        Samples that may choose and fit; the others are tempered, too.

    Returns
    -------
    ndarray of float (K, n)
    """
    honest = np.empty_like(probabilities)
    for group in np.unique(groups):
        inside, others = groups == group, use & (groups != group)
        fit = choose(probabilities[:, others], truth[others], groups[others])
        honest[:, inside] = temper(probabilities[:, inside], *fit)
    return honest


_Fit = tuple[tuple[float, float], dict[str, float]]


def _fit(
    probabilities: FloatArray,
    truth: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    coverages: Sequence[float],
) -> _Fit:
    """Temperature and growth, and the threshold of each coverage on tempered probabilities."""
    fit = choose(probabilities, truth, groups)
    honest = temper(probabilities, *fit)
    return fit, {str(c): conformal_threshold(honest, truth, c) for c in coverages}


def _turns(
    probabilities: FloatArray,
    truth: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
    coverages: Sequence[float],
) -> Iterator[tuple[NDArray[np.bool_], _Fit]]:
    """Each group's samples, and what was chosen and fitted on all others."""
    for group in np.unique(groups):
        inside = groups == group
        others = (probabilities[:, ~inside], truth[~inside], groups[~inside])
        yield inside, _fit(*others, coverages)
