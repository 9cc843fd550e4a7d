"""Where to look on the ground: points drawn by class and by how unsure the map is.

A stratum is a class in one of the `BANDS` of doubt. Each pixel has a number that depends on the
seed and its lattice position alone, and a stratum's points are those of its pixels with the
smallest numbers: a simple random sample of the stratum, whatever the order of tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.split import draw_pixels

#: Names of the bands of doubt, each a third of [0, 1]; and how densely each is looked at.
BANDS = ("sure", "doubtful", "unsure")
DENSITY = (1.0, 2.0, 3.0)
#: Points of a stratum that `assess` wants at least: one has no spread.
ENOUGH = 2


@dataclass(frozen=True)
class Candidates:
    """Pixels of a part of the map that may become points.

    Attributes
    ----------
    count : ndarray of int64 (stratum,)
        Pixels of each stratum: value of the class * len(BANDS) + band of doubt.
    chance : ndarray of float64 (candidate,)
        The number by which they are drawn.
    place : ndarray of int64 (candidate, 2)
        Row and column in the raster.
    stratum : ndarray of int64 (candidate,)
    doubt : ndarray of float32 (candidate,)
    """

    count: NDArray[np.int64]
    chance: NDArray[np.float64]
    place: NDArray[np.int64]
    stratum: NDArray[np.int64]
    doubt: NDArray[np.float32]

    @classmethod
    def none(cls) -> Candidates:
        """Return those of an empty map."""
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        count = np.zeros(256 * len(BANDS), np.int64)
        return cls(count, real, whole.reshape(0, 2), whole, real.astype(np.float32))

    def join(self, other: Candidates, most: int) -> Candidates:
        """Keep the first `most` of each stratum of both."""
        chance = np.concatenate([self.chance, other.chance])
        place = np.concatenate([self.place, other.place])
        stratum = np.concatenate([self.stratum, other.stratum])
        doubt = np.concatenate([self.doubt, other.doubt])
        kept = _first(chance, place, stratum, most)
        count = self.count + other.count
        return Candidates(count, chance[kept], place[kept], stratum[kept], doubt[kept])


def candidates(
    classes: NDArray[np.uint8],
    doubt: NDArray[np.float32],
    at: tuple[tuple[int, int], tuple[int, int]],
    most: int,
    seed: int,
) -> Candidates:
    """Find the candidates of a rectangle.

    Parameters
    ----------
    classes : ndarray of uint8 (row, col)
        0 for none.
    doubt : ndarray of float32 (row, col)
        0 to 1.
    at : ((int, int), (int, int))
        Row and column of the first pixel in the raster, and on the lattice.
    most : int
        Candidates of a stratum, at most.
    seed : int
    """
    rows, cols = np.nonzero((classes > 0) & np.isfinite(doubt))
    mine = doubt[rows, cols]
    band = np.clip((mine * len(BANDS)).astype(np.int64), 0, len(BANDS) - 1)
    stratum = classes[rows, cols].astype(np.int64) * len(BANDS) + band
    chance = draw_pixels(at[1], classes.shape, seed)[rows, cols]
    place = np.stack([rows + at[0][0], cols + at[0][1]], axis=1)
    count = np.bincount(stratum, minlength=256 * len(BANDS))
    kept = _first(chance, place, stratum, most)
    return Candidates(count, chance[kept], place[kept], stratum[kept], mine[kept])


def _first(
    chance: NDArray[np.float64], place: NDArray[np.int64], stratum: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """Choose the `most` smallest chances of each stratum, in that order."""
    order = np.lexsort((place[:, 1], place[:, 0], chance, stratum))
    begins = np.searchsorted(stratum[order], stratum[order])
    return order[np.arange(len(order)) - begins < most]


def allocate(count: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """Share points out: evenly over classes, within one by `DENSITY`; no stratum beyond its pixels.

    Within a class each stratum gets `ENOUGH` first. More points are those of fewer, and others.

    Parameters
    ----------
    count : ndarray of int64 (stratum,)
        Pixels of each.
    points : int

    Returns
    -------
    ndarray of int64 (stratum,)
        Fewer than `points` in all only where the map has fewer pixels.
    """
    table = count.reshape(-1, len(BANDS))
    shares = _shared(table.sum(axis=1), np.ones(len(table)), points)
    density = np.array(DENSITY)
    taken = [_shared(row, density, int(n)) for row, n in zip(table, shares, strict=True)]
    return np.concatenate(taken)


def _shared(
    count: NDArray[np.int64], weight: NDArray[np.float64], points: int
) -> NDArray[np.int64]:
    """Share points out by weight, one after the other to whom most is owed, ties to the first."""
    taken = np.zeros(len(count), np.int64)
    for _ in range(min(points, int(count.sum()))):
        urgent = taken < np.minimum(count, ENOUGH)
        owed = np.where(urgent if urgent.any() else taken < count, (taken + 1) / weight, np.inf)
        taken[int(np.argmin(owed))] += 1
    return taken


def choose(found: Candidates, points: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose points of candidates.

    Returns
    -------
    ndarray of int64 (point,)
        Which candidates.
    ndarray of float64 (point,)
        Pixels that each stands for: of its stratum, over the stratum's points.
    """
    taken = allocate(found.count, points)
    rank = np.arange(len(found.stratum)) - np.searchsorted(found.stratum, found.stratum)
    chosen = np.flatnonzero(rank < taken[found.stratum])
    mine = found.stratum[chosen]
    return chosen, found.count[mine] / taken[mine]


def short(found: Candidates, points: int) -> int:
    """Count the strata that get fewer than `ENOUGH` points and have more pixels."""
    return int((allocate(found.count, points) < np.minimum(found.count, ENOUGH)).sum())
