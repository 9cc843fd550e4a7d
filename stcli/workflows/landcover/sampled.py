"""Points of a sample: the map's class and the truth at each, and the strata they were drawn from.

A plan's points say their stratum in the columns that `stcli sample-plan` writes: `value` and
`stratum` name it together (`stratum` alone where there is no `value`), `stratum_pixels` is its
size. Without that column the size is `pixels`, what each point stands for, times the points.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.landcover.accuracy.accuracy import ConfusionMatrix
from stcli.landcover.accuracy.strata import Strata
from stcli.raster.reading.read import Raster
from stcli.raster.tables.vectors import Labels, cell_text, sample_points

logger = logging.getLogger("stcli")

VALUE, STRATUM, PIXELS, SIZE = "value", "stratum", "pixels", "stratum_pixels"
#: Columns by which points say their stratum.
PLAN = (VALUE, STRATUM, PIXELS, SIZE)
#: By how much the sizes that points tell of their stratum may differ, as others may write them.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Spots:
    """Points on a map.

    Attributes
    ----------
    mapped, truth : ndarray of int64 (point,)
        Class numbers from 1; 0 where the map has none.
    feature : ndarray of int64 (point,)
        Which of the labels it is.
    """

    mapped: NDArray[np.int64]
    truth: NDArray[np.int64]
    feature: NDArray[np.int64]


def look_up(raster: Raster, points: Labels, values: list[int]) -> Spots:
    """Look a map of these class values up at each point; those on nodata have none.

    Raises
    ------
    InputError
        A feature is not a point.
    """
    rows, cols, truth, feature = sample_points(points, raster.info.geobox)
    mapped = np.zeros(len(rows), dtype=np.int64)
    number = {value: i for i, value in enumerate(values, start=1)}
    for i, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        block, valid = raster.read(Window(col, row, 1, 1))
        mapped[i] = number.get(int(block[0, 0, 0]), 0) if valid[0, 0] else 0
    return Spots(mapped, truth, feature)


def count(spots: Spots, points: Labels) -> tuple[ConfusionMatrix, Strata | None]:
    """Count points by class of the map and truth; and by stratum, where they say theirs.

    Raises
    ------
    InputError
        Sizes of strata that are no numbers above 0, or that differ within a stratum.
    """
    names, size, member = _strata(points) or ((), np.zeros(0), np.zeros(len(points.frame), int))
    mine = member[spots.feature]
    use = (spots.mapped > 0) & (mine >= 0)
    matrix = ConfusionMatrix.empty(points.classes).add(spots.mapped[use], spots.truth[use])
    if not names:
        return matrix, None
    counts = np.zeros((len(names), *matrix.counts.shape), np.int64)
    np.add.at(counts, (mine[use], spots.mapped[use] - 1, spots.truth[use] - 1), 1)
    return matrix, Strata(names, size, counts, points.classes)


def _strata(
    points: Labels,
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.int64]] | None:
    """Names and sizes of the strata, and which each feature is of, -1 for none; None without."""
    told = {name: column for name, column in points.kept.items() if not _missing(column).all()}
    how = SIZE if SIZE in told else PIXELS
    if STRATUM not in told or how not in told:
        if set(told) - {VALUE}:
            logger.warning(
                "%s: column %s found, %s and %s or %s wanted of points that were drawn from "
                "strata; those taken are the classes of the map",
                *(points.path, next(c for c in told if c != VALUE), STRATUM, SIZE, PIXELS),
            )
        return None
    keys = [told[name] for name in (VALUE, STRATUM) if name in told]
    known = ~np.any([_missing(column) for column in (*keys, told[how])], axis=0)
    if not known.all():
        logger.warning(
            "%s: %d of %d points have no stratum or no size of it and are left out, as they are "
            "no part of the sample",
            *(points.path, int((~known).sum()), len(known)),
        )
    member = np.full(len(known), -1, np.int64)
    texts = [", ".join(map(cell_text, row)) for row in zip(*(k[known] for k in keys), strict=True)]
    names, member[known] = np.unique(texts, return_inverse=True)
    each = _positive(told[how][known], how, points.path)
    size = _agreed(each, member[known], (names, how, points.path))
    if how == PIXELS:
        size = size * np.bincount(member[known])
    return tuple(map(str, names)), size, member


def _missing(column: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell cells (feature,) that hold nothing: None, NaN, or no letters."""
    return np.array([v is None or v != v or not str(v).strip() for v in column], bool)


def _positive(column: NDArray[Any], name: str, path: str) -> NDArray[np.float64]:
    """Take numbers above 0."""
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: {name} holds {column[0]!r}, pixels of a stratum as numbers are wanted."
        ) from None
    wrong = numbers[~((numbers > 0) & np.isfinite(numbers))]
    if wrong.size:
        raise InputError(f"{path}: {name} holds {wrong[0]:g}, numbers above 0 are wanted.")
    return np.asarray(numbers)


def _agreed(
    each: NDArray[np.float64], member: NDArray[np.int64], words: tuple[NDArray[Any], str, str]
) -> NDArray[np.float64]:
    """Take the one number that the points of each stratum tell: (stratum,)."""
    names, column, path = words
    low, high = np.full(len(names), np.inf), np.zeros(len(names))
    np.minimum.at(low, member, each)
    np.maximum.at(high, member, each)
    apart = np.flatnonzero(high - low > _ROUNDING * high)
    if apart.size:
        k = apart[0]
        raise InputError(
            f"{path}: {column} of stratum {names[k]} is {low[k]:.12g} and {high[k]:.12g}, one "
            "number is wanted; points of two plans do not mix."
        )
    return low
