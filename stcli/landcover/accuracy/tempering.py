"""How probabilities are made softer or sharper, and what fits that to samples.

A temperature T makes of p the power p^β, β = 1 / T, normalised over the classes. Where it grows,
each sample has its own, by the odds of its most probable class:

    β(c) = (c / (1 - c))^g / T,   that is, ln β = g logit c - ln T,

c being the largest probability: a growth g > 0 makes those that are sure sharper, or less soft,
than those that waver, and g = 0 leaves one temperature. The most probable class stays so. Growths
are never below 0: then β and all ln(c / p_k) rise with c, whatever the shares of the other classes
in 1 - c, and so does the new confidence, 1 / Σ exp(-β ln(c / p_k)). A power that falls with c would
make surer samples less sure than others, and more so where `FLOOR` stands for a probability of 0.

Letters: K classes, n samples, p probabilities, y truth, T, g, β and c as above.
Source: Guo et al. 2017, arXiv:1706.04599 (temperature scaling). The growth is stcli's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError

FloatArray = NDArray[np.floating[Any]]

#: Probabilities are raised to this before their logarithm is taken: a forest's may be 0. The
#: largest stays as far from 1 where its odds are taken.
FLOOR = 1e-6
#: Temperatures looked at, from sharper to softer, and how many before the best one is refined.
#: Where they grow, no sample's leaves them.
TEMPERATURES, _GRID = (0.05, 20.0), 41
#: The largest growth, and those from which the best is looked for.
GROWTH, _BEGIN = 1.0, (0.0, 0.25)
#: Odds against a class below which they count no further.
_NOTHING = 1e-12


def temper(probabilities: NDArray[Any], value: float, growth: float = 0.0) -> NDArray[Any]:
    """Apply a temperature: p ** (1 / T), normalised.

    Parameters
    ----------
    probabilities : ndarray of float (K, …)
        NaN stays NaN.
    value : float
        T; 1 leaves them as they are, unless it grows.
    growth : float
        g, from 0 to `GROWTH`.

    Returns
    -------
    ndarray of the same shape and dtype
    """
    if value == 1 and growth == 0:
        return probabilities
    # in place throughout: classify does this to every pixel
    z = _logs(probabilities)
    z /= value if growth == 0 else _own(probabilities.max(axis=0), value, growth)
    z -= z.max(axis=0)
    np.exp(z, out=z)
    z /= z.sum(axis=0)
    honest: FloatArray = z.astype(probabilities.dtype)
    return honest


def temperature(probabilities: FloatArray, truth: NDArray[np.integer[Any]]) -> float:
    """Fit the temperature that gives the truth the highest likelihood.

    The mean negative log-likelihood, log Σ exp(β ln p) - β ln p_y, is convex in β: the root of
    its slope is the only minimum. It is looked for within `TEMPERATURES`. Where no sample is wrong
    there is none, and 1 is given: nothing shows that the probabilities should be sharper.

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

    check(probabilities, truth)
    if (probabilities.argmax(axis=0) == truth).all():
        return 1.0
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
    samples whose class was thought impossible. Where no sample is wrong it is 1, as there.

    Parameters and errors as those of `temperature`.
    """
    return _even(_Tops.of(probabilities, truth))


def growing_temperature(
    probabilities: FloatArray, truth: NDArray[np.integer[Any]]
) -> tuple[float, float]:
    """Fit temperature and growth by the likelihood of `confidence_temperature`.

    Parameters and errors as those of `temperature`.

    Returns
    -------
    (float, float)
        T within `TEMPERATURES`, and g from 0 to `GROWTH`.
    """
    tops = _Tops.of(probabilities, truth)
    return _growing(tops, _even(tops))


def choose(
    probabilities: FloatArray,
    truth: NDArray[np.integer[Any]],
    groups: NDArray[np.integer[Any]],
) -> tuple[float, float]:
    """Fit a temperature, which grows if that says more of groups left out.

    Each group is looked at by a fit on the others, with growth and without; the growth is taken
    if all samples are likelier with it.

    Parameters
    ----------
    probabilities, truth
        As in `temperature`.
    groups : ndarray of int (n,)
        Samples that belong together; one group can choose nothing, and has no growth.

    Returns
    -------
    (float, float)
        T and g, fitted on all samples.

    Raises
    ------
    InputError
        As `temperature`.
    """
    tops = _Tops.of(probabilities, truth)
    even = _even(tops)
    value, growth = _growing(tops, even)
    return (value, growth) if growth and _better(tops, groups) else (even, 0.0)


def check(probabilities: FloatArray, truth: NDArray[np.integer[Any]]) -> None:
    """Refuse probabilities (K, n) and truth (n,) that do not fit: InputError."""
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


@dataclass(frozen=True, eq=False)
class _Tops:
    """What the likelihood of the most probable class is made of.

    Attributes
    ----------
    below : ndarray of float64 (K, n)
        ln(p_k / c), at most 0.
    odds : ndarray of float64 (n,)
        logit c.
    right : ndarray of bool (n,)
        Whether the most probable class is true.
    """

    below: NDArray[np.float64]
    odds: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, probabilities: FloatArray, truth: NDArray[np.integer[Any]]) -> _Tops:
        check(probabilities, truth)
        z = _logs(probabilities)
        odds = np.log(_odds(probabilities.max(axis=0)))
        return cls(z - z.max(axis=0), odds, probabilities.argmax(axis=0) == truth)

    def part(self, use: NDArray[np.bool_]) -> _Tops:
        return _Tops(self.below[:, use], self.odds[use], self.right[use])

    def loss(self, log: float, growth: float = 0.0) -> float:
        """Mean negative log-likelihood under ln T and g."""
        beta: Any = math.exp(-log)
        if growth:
            beta = np.exp(-np.clip(log - growth * self.odds, *np.log(TEMPERATURES)))
        rest = np.exp(self.below * beta).sum(axis=0) - 1  # (1 - c) / c
        wrong = np.log(np.maximum(rest[~self.right], _NOTHING)).sum()
        return float((np.log1p(rest).sum() - wrong) / len(self.right))


def _even(tops: _Tops) -> float:
    """Give the temperature without growth."""
    # classify fits nothing, and this would take it half a second to load
    from scipy.optimize import minimize_scalar

    if tops.right.all():
        return 1.0
    logs = np.linspace(math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]), _GRID)
    best = int(np.argmin([tops.loss(log) for log in logs]))
    if best in (0, _GRID - 1):
        return float(TEMPERATURES[best > 0])
    around = logs[best - 1], logs[best + 1]
    found = minimize_scalar(tops.loss, bounds=around, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def _growing(tops: _Tops, even: float) -> tuple[float, float]:
    """Give temperature and growth, looked for from the temperature without."""
    from scipy.optimize import minimize

    if tops.right.all():
        return even, 0.0
    found = [
        minimize(
            lambda at: tops.loss(*at),
            (math.log(even), growth),
            method="L-BFGS-B",
            bounds=(np.log(TEMPERATURES), (0, GROWTH)),
        )
        for growth in _BEGIN
    ]
    log, growth = min(found, key=lambda each: float(each.fun)).x
    return math.exp(float(log)), float(growth)


def _better(tops: _Tops, groups: NDArray[np.integer[Any]]) -> bool:
    """Tell whether samples of groups left out are likelier with growth than without."""
    gain, numbers = 0.0, np.unique(groups)
    for group in numbers if len(numbers) > 1 else ():
        others, here = tops.part(groups != group), tops.part(groups == group)
        even = _even(others)
        value, growth = _growing(others, even)
        less = here.loss(math.log(even)) - here.loss(math.log(value), growth)
        gain += less * len(here.right)
    return gain > 0


def _own(confidence: FloatArray, value: float, growth: float) -> NDArray[np.float64]:
    """Give each sample's temperature by its confidence, NaN where that is."""
    return np.asarray(np.clip(value * _odds(confidence) ** -growth, *TEMPERATURES))


def _odds(confidence: FloatArray) -> NDArray[np.float64]:
    sure = np.clip(confidence.astype(np.float64), FLOOR, 1 - FLOOR)
    return np.asarray(sure / (1 - sure))


def _logs(probabilities: FloatArray) -> NDArray[np.float64]:
    z = probabilities.astype(np.float64)
    np.maximum(z, FLOOR, out=z)
    return np.asarray(np.log(z, out=z))
