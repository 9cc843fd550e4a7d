"""Count how a map agrees with a reference, and estimate accuracies and areas from a sample.

`accuracy` describes the pixels counted; `stratified_accuracy` infers from a probability sample to
the whole map, and means nothing for a wall-to-wall reference (``docs/algorithms/accuracy.md``).

Letters of Olofsson et al. 2014 (doi:10.1016/j.rse.2014.02.015), rows i = map class (stratum),
columns j = reference class: n_ij sample counts, n_i. their row sums, N_i mapped pixels,
W_i = N_i / N, q_ij = n_ij / n_i., p_ij = W_i q_ij area proportions, p_.j column sums of p_ij,
U_i user's accuracy (precision), P_j producer's accuracy (recall), O overall accuracy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stcli.errors import InputError, UsageError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Hold the counts of (map class, reference class) pairs; values are never changed in place.

    Attributes
    ----------
    counts : int64 (C, C), read-only; row = map class, column = reference class, ≥ 0.
    classes : C different names; class value v (1..C) is ``classes[v - 1]``.
    outside : pairs left out because a value is neither 0 nor one of 1..C.

    Raises
    ------
    InputError
        Counts that are not (C, C) integers ≥ 0; names that are missing or repeated.
    """

    counts: NDArray[np.int64]
    classes: tuple[str, ...]
    outside: int = 0

    def __post_init__(self) -> None:
        counts, size = np.array(self.counts), len(self.classes)
        if size == 0 or len(set(self.classes)) != size:
            raise InputError(f"classes {self.classes}: need at least one, each with its own name")
        if counts.shape != (size, size) or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise InputError(f"confusion matrix: want {size} by {size} integers, zero or more")
        counts = counts.astype(np.int64)
        counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> ConfusionMatrix:
        """Return the matrix of `classes` in which nothing is counted yet."""
        return cls(np.zeros((len(classes), len(classes)), np.int64), tuple(classes))

    def add(self, map_values: ArrayLike, reference_values: ArrayLike) -> ConfusionMatrix:
        """Return a new matrix with one more block counted; the order of blocks does not matter.

        Parameters
        ----------
        map_values, reference_values : integer arrays of one shape
            Class values 1..C. A pair with 0 (nodata, unlabelled) in either is ignored; a pair
            with another value outside 1..C is ignored and counted in `outside`.

        Raises
        ------
        InputError
            Two shapes that differ, or values that are not integers.
        """
        mapped, reference = np.asarray(map_values), np.asarray(reference_values)
        found = [(block.dtype.name, block.shape) for block in (mapped, reference)]
        if mapped.shape != reference.shape or {mapped.dtype.kind, reference.dtype.kind} - {*"iu"}:
            raise InputError(f"map and reference block: {found}, want integers of one shape")
        size = len(self.classes)
        labelled = (mapped != 0) & (reference != 0)
        use = labelled & (mapped >= 1) & (mapped <= size) & (reference >= 1) & (reference <= size)
        pairs = (mapped[use].astype(np.int64) - 1) * size + reference[use].astype(np.int64) - 1
        counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
        outside = int(np.count_nonzero(labelled & ~use))
        return ConfusionMatrix(self.counts + counts, self.classes, self.outside + outside)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if self.classes != other.classes:
            raise InputError(f"cannot merge counts of {self.classes} with those of {other.classes}")
        counts = self.counts + other.counts
        return ConfusionMatrix(counts, self.classes, self.outside + other.outside)


@dataclass(frozen=True)
class ClassAccuracy:
    """One class: user's (precision) and producer's accuracy (recall) in 0..1, counts in pixels."""

    name: str
    precision: float
    recall: float
    f1: float
    iou: float
    mapped: int
    support: int


@dataclass(frozen=True)
class Accuracy:
    """Agreement over `total` pixels, in 0..1; NaN where a measure is undefined, never 0 instead.

    `average` is the mean recall over the classes in the reference, `mean_iou` the mean IoU over
    those in the map or the reference.
    """

    total: int
    outside: int
    overall: float
    average: float
    kappa: float
    mean_iou: float
    classes: tuple[ClassAccuracy, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`; undefined measures are None."""
        return asdict(self, dict_factory=_record)


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error and its confidence interval, all in the value's unit."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class AreaEstimate:
    """One class: areas in the unit of `pixel_area`, `proportion` and accuracies in 0..1."""

    name: str
    mapped_area: float
    area: Estimate
    proportion: Estimate
    users: Estimate
    producers: Estimate


@dataclass(frozen=True)
class StratifiedAccuracy:
    """What a probability sample says of the whole map, at one confidence level.

    `method` names the paper whose estimator it is, `strata` counts those that have pixels.
    """

    confidence: float
    sampled: int
    overall: Estimate
    classes: tuple[AreaEstimate, ...]
    method: str
    strata: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`; undefined measures are None."""
        return asdict(self, dict_factory=_record)


def accuracy(matrix: ConfusionMatrix) -> Accuracy:
    """Measure the agreement of the pixels counted in `matrix`."""
    counts, agree = matrix.counts, np.diag(matrix.counts)
    mapped, support = counts.sum(axis=1), counts.sum(axis=0)
    recall, iou = ratio(agree, support), ratio(agree, mapped + support - agree)
    measures = (ratio(agree, mapped), recall, ratio(2 * agree, mapped + support), iou)
    columns = (column.tolist() for column in (*measures, mapped, support))
    return Accuracy(
        total=int(counts.sum()),
        outside=matrix.outside,
        overall=float(ratio(agree.sum(), counts.sum())),
        average=float(ratio(np.nansum(recall), (support > 0).sum())),
        kappa=_kappa(int(agree.sum()), mapped.tolist(), support.tolist()),
        mean_iou=float(ratio(np.nansum(iou), (mapped + support > 0).sum())),
        classes=tuple(map(ClassAccuracy, matrix.classes, *columns)),
    )


def area_estimates(
    matrix: ConfusionMatrix, mapped_pixels: ArrayLike, pixel_area: float, confidence: float = 0.95
) -> tuple[AreaEstimate, ...]:
    """Estimate the area of each class: the classes of `stratified_accuracy`, same arguments."""
    return stratified_accuracy(matrix, mapped_pixels, pixel_area, confidence).classes


def stratified_accuracy(
    matrix: ConfusionMatrix, mapped_pixels: ArrayLike, pixel_area: float, confidence: float = 0.95
) -> StratifiedAccuracy:
    """Estimate areas and accuracies by the stratified estimator (Olofsson et al. 2014, eqs 1-11).

    Parameters
    ----------
    matrix : counts n_ij of a probability sample, the strata being the map classes.
    mapped_pixels : (C,), pixels of each class in the whole map, N_i ≥ 0.
    pixel_area : area of one pixel, > 0; areas come back in its unit.
    confidence : level of the normal intervals, in (0, 1).

    Raises
    ------
    InputError
        Not one pixel count per class; a mapped class with fewer than two sampled points; more
        points than pixels.
    UsageError
        A `pixel_area` or `confidence` out of range.
    """
    z, N = normal_quantile(confidence, pixel_area), _checked_strata(matrix, mapped_pixels)
    W, area = N / N.sum(), float(N.sum()) * pixel_area
    p, variance = _proportions(matrix.counts, W)
    p_j, p_variance, hit, hit_variance = p.sum(0), variance.sum(0), np.diag(p), np.diag(variance)
    P = ratio(hit, p_j)
    P_variance = (1 - P) ** 2 * hit_variance + P**2 * (p_variance - hit_variance)
    columns = (
        (N * pixel_area).tolist(),
        estimates(p_j * area, p_variance * area**2, z),
        estimates(p_j, p_variance, z),  # eqs 9, 10
        estimates(ratio(hit, W), ratio(hit_variance, W**2), z),  # eqs 2, 6
        estimates(P, ratio(P_variance, p_j**2), z),  # eqs 3, 7
    )
    overall = estimates(np.array([hit.sum()]), np.array([hit_variance.sum()]), z)[0]  # eqs 1, 5
    classes = tuple(map(AreaEstimate, matrix.classes, *columns))
    sampled, held, method = int(matrix.counts.sum()), int((N > 0).sum()), "Olofsson et al. 2014"
    return StratifiedAccuracy(confidence, sampled, overall, classes, method, held)


def normal_quantile(confidence: float, pixel_area: float) -> float:
    """Return z of intervals; an area or a level out of range raises UsageError."""
    if not (0 < confidence < 1 and 0 < pixel_area < math.inf):
        raise UsageError(f"confidence {confidence}, pixel area {pixel_area}: want (0, 1) and > 0")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _checked_strata(matrix: ConfusionMatrix, mapped_pixels: ArrayLike) -> FloatArray:
    """Return N_i as float64 (C,), or refuse a sample that cannot carry the estimator."""
    N = np.asarray(mapped_pixels, dtype=np.float64)
    if N.shape != (len(matrix.classes),) or (N < 0).any() or not 0 < N.sum() < math.inf:
        raise InputError(f"mapped pixels {N.tolist()}: want one count ≥ 0 per class, not all 0")
    for name, mapped, n in zip(matrix.classes, N, matrix.counts.sum(axis=1), strict=True):
        if not min(2, mapped) <= n <= mapped:
            found = f"class {name!r}: {n} sampled points for {mapped:.12g} mapped pixels"
            raise InputError(f"{found}, want at least 2 points and no more than pixels")
    return N


def _proportions(counts: NDArray[np.int64], W: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return p_ij = W_i q_ij and its variance, both (C, C); rows without a sample are 0."""
    n = counts.sum(axis=1, keepdims=True)
    q = counts / np.maximum(n, 1)
    return W[:, None] * q, W[:, None] ** 2 * q * (1 - q) / np.maximum(n - 1, 1)


def estimates(values: FloatArray, variances: FloatArray, z: float) -> list[Estimate]:
    """Return value ± z · √variance of arrays (k,) and (k,); intervals are not clipped."""
    errors = np.sqrt(variances)
    columns = (values, errors, values - z * errors, values + z * errors)
    return [Estimate(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def _kappa(agree: int, mapped: list[int], support: list[int]) -> float:
    """Return Cohen's kappa from exact integers (n² passes 2⁶³ in large rasters)."""
    total, chance = sum(mapped), sum(m * s for m, s in zip(mapped, support, strict=True))
    return (total * agree - chance) / (total**2 - chance) if total**2 > chance else math.nan


def ratio(part: ArrayLike, whole: ArrayLike) -> FloatArray:
    """Return part / whole of arrays (k,) and (k,) as float64, NaN where the whole is 0."""
    nan = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=nan, where=np.not_equal(whole, 0)))


def _record(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a dataclass with None for NaN, which JSON does not know."""
    return {name: None if value != value else value for name, value in fields}
