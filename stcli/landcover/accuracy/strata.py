"""Estimate accuracies and areas from a sample whose strata are not the classes of the map.

Each point is looked up in the map and bears a truth; its stratum says how many pixels it stands
for, and nothing else (``docs/algorithms/accuracy.md``). Where the strata are the classes the
numbers are those of `stcli.landcover.accuracy.accuracy.stratified_accuracy`.

Letters of Stehman 2014 (doi:10.1080/01431161.2014.930207): strata h with N_h pixels and n_h points;
indicators y and x of a pixel, 0 or 1, with sample means y_h and x_h and (co)variances s² and s_xy;
R a ratio of means. Every y here is a part of its x, so that x · y = y. The variances come without
the correction for finite populations, as those of the other module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover.accuracy.accuracy import (
    AreaEstimate,
    FloatArray,
    StratifiedAccuracy,
    estimates,
    normal_quantile,
    ratio,
)

#: By how much strata may miss the map's pixels: sizes are kept as real numbers, too.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Strata:
    """A stratified sample of points, counted.

    Attributes
    ----------
    names : tuple of str
        One a stratum, for messages.
    pixels : ndarray of float64 (stratum,)
        N_h, > 0.
    counts : ndarray of int64 (stratum, class, class)
        Points by stratum, class of the map and class of the reference.
    classes : tuple of str
    """

    names: tuple[str, ...]
    pixels: FloatArray
    counts: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def points(self) -> NDArray[np.int64]:
        """Points of each stratum, n_h: (stratum,)."""
        return np.asarray(self.counts.sum(axis=(1, 2)))


def strata_accuracy(
    strata: Strata,
    mapped_pixels: NDArray[np.int64],
    pixel_area: float,
    confidence: float = 0.95,
) -> StratifiedAccuracy:
    """Estimate areas and accuracies by Stehman 2014.

    Parameters
    ----------
    strata : Strata
    mapped_pixels : ndarray of int64 (class,)
        Pixels of each class in the whole map; in all as many as the strata hold.
    pixel_area : float
        Of one pixel, > 0; areas come back in its unit.
    confidence : float
        Level of the normal intervals, in (0, 1).

    Raises
    ------
    InputError
        A stratum with fewer than two points, or with more than pixels; strata that do not hold
        the map's pixels.
    UsageError
        A `pixel_area` or `confidence` out of range.
    """
    z, whole = normal_quantile(confidence, pixel_area), float(mapped_pixels.sum())
    _check(strata, int(whole))
    q = strata.counts / strata.points[:, None, None]
    hit, mapped, found = np.einsum("hcc->hc", q), q.sum(axis=2), q.sum(axis=1)
    p, variance = _mean(found, strata)
    overall = _mean(hit.sum(axis=1, keepdims=True), strata)
    columns = (
        (mapped_pixels * pixel_area).tolist(),
        estimates(p * whole * pixel_area, variance * (whole * pixel_area) ** 2, z),
        estimates(p, variance, z),
        estimates(*_share(hit, mapped, strata), z),
        estimates(*_share(hit, found, strata), z),
    )
    classes = tuple(map(AreaEstimate, strata.classes, *columns))
    sampled, method = int(strata.points.sum()), "Stehman 2014"
    whole_map = estimates(*overall, z)[0]
    return StratifiedAccuracy(confidence, sampled, whole_map, classes, method, len(strata.names))


def _check(strata: Strata, mapped: int) -> None:
    """Refuse a sample that cannot carry the estimator."""
    for name, pixels, n in zip(strata.names, strata.pixels, strata.points, strict=True):
        if not min(2, pixels) <= n <= pixels * (1 + _ROUNDING):
            raise InputError(
                f"stratum {name}: {n} sampled points for {pixels:.12g} pixels found, at least 2 "
                "and no more than pixels are wanted; stcli sample-plan with the same seed and "
                "more --points keeps those that it drew"
            )
    held = float(strata.pixels.sum())
    if abs(held - mapped) > _ROUNDING * mapped:
        raise InputError(
            f"its strata hold {held:.12g} pixels and {mapped} are mapped, as many are wanted; a "
            "stratum lost its points, or they were planned on another map"
        )


def _mean(y: FloatArray, strata: Strata) -> tuple[FloatArray, FloatArray]:
    """Estimate means and their variances (eqs 2, 25) of y_h (stratum, k): both (k,)."""
    W = strata.pixels[:, None] / strata.pixels.sum()
    return (W * y).sum(axis=0), _variance(W, y * (1 - y), strata)


def _share(y: FloatArray, x: FloatArray, strata: Strata) -> tuple[FloatArray, FloatArray]:
    """Estimate the ratios of two means and their variances (eq. 28), NaN where x is never."""
    W = strata.pixels[:, None] / strata.pixels.sum()
    X = (W * x).sum(axis=0)
    R = ratio((W * y).sum(axis=0), X)
    spread = y * (1 - y) + R**2 * x * (1 - x) - 2 * R * y * (1 - x)
    return R, ratio(_variance(W, np.maximum(spread, 0), strata), X**2)  # rounding goes below 0


def _variance(W: FloatArray, spread: FloatArray, strata: Strata) -> FloatArray:
    """Sum W_h² s_h² / n_h, where spread (stratum, k) is s_h² (n_h - 1) / n_h: (k,)."""
    n = strata.points[:, None]
    return np.asarray((W**2 * spread / np.maximum(n - 1, 1)).sum(axis=0))
