"""Quality of segments against a reference of regions, and of a scale by itself.

S segments, G regions of the reference, N pixels that have both:

    boundary recall      share of the reference's boundary pixels with one of the segments within r
    boundary precision   share of the segments' boundary pixels with one of the reference within r
    ASA                  Σ_S max_G |S ∩ G| / N                  (Liu et al. 2011)
    under-segmentation   Σ_G Σ_S min(|S ∩ G|, |S - G|) / N      (Neubert & Protzel 2012)
    explained variation  Σ_S n_S (μ_S - μ)² / Σ (x - μ)²        (Moore et al. 2008), over all bands

A boundary pixel has a 4-neighbour of another label (0, for none, does not count); within r means
not further than r rows and r columns away. Sums are integers: no figure depends on tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.segmentation.numbering import NONE, grown, slot_of


def boundaries(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark labels (row, col) that have a labelled 4-neighbour of another label: bool (row, col)."""
    marked = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[one] != labels[other]) & (labels[one] != 0) & (labels[other] != 0)
        marked[one] |= differ
        marked[other] |= differ
    return marked


def near(marked: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Mark all pixels within a number of rows and columns of a marked one: bool (row, col)."""
    for axis in (0, 1):
        size = marked.shape[axis]
        edge = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        sums = np.cumsum(np.pad(marked, edge).astype(np.int32), axis=axis)
        sums = np.insert(sums, 0, 0, axis=axis)
        upper = np.take(sums, np.arange(size) + 2 * radius + 1, axis=axis)
        marked = upper > np.take(sums, np.arange(size), axis=axis)
    return marked


@dataclass
class Overlaps:
    """How many pixels each segment shares with each region, gathered in any order."""

    _keys: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    _held: int = 0

    def add(self, pairs: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Add counts (pair,) of pairs (pair, 2) of a segment's and a region's label."""
        self._waiting.append((pairs, counts))
        self._held += len(pairs)
        if self._held > (1 << 18) + len(self._keys):
            self._settle()

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return pairs (pair, 2), sorted, and pixels (pair,)."""
        self._settle()
        return self._keys, self._counts

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, *(part[0] for part in self._waiting)])
        counts = np.concatenate([self._counts, *(part[1] for part in self._waiting)])
        self._waiting, self._held = [], 0
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        keys = keys[order]
        differ = (keys[1:] != keys[:-1]).any(axis=1)
        first = np.flatnonzero(np.concatenate([[True], differ])[: len(keys)])
        self._keys = keys[first]
        self._counts = np.add.reduceat(counts[order], first) if len(keys) else counts


def overlaps(
    segments: NDArray[np.int32], regions: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that segments and regions share.

    Parameters
    ----------
    segments, regions : ndarray of int32 (row, col)
        Numbers from 0; -1 for none.

    Returns
    -------
    pairs : ndarray of int64 (pair, 2)
    counts : ndarray of int64 (pair,)
    """
    span = int(regions.max(initial=0)) + 1
    keys, counts = _overlaps(segments, regions, span)
    return np.stack(np.divmod(keys, span), axis=1), counts


def agreement(overlap: Overlaps) -> dict[str, float]:
    """Return ASA and under-segmentation error of all pixels that have both labels.

    Returns
    -------
    dict of float
        NaN where no pixel has both.
    """
    pairs, shared = overlap.table()
    pixels = int(shared.sum())
    if not pixels:
        return {"asa": np.nan, "undersegmentation": np.nan}
    first = np.flatnonzero(np.concatenate([[True], pairs[1:, 0] != pairs[:-1, 0]]))
    size = np.add.reduceat(shared, first)
    most = np.maximum.reduceat(shared, first)
    whole = np.repeat(size, np.diff(np.append(first, shared.size)))
    leak = np.minimum(shared, whole - shared)
    return {"asa": int(most.sum()) / pixels, "undersegmentation": int(leak.sum()) / pixels}


def explained_variation(
    count: NDArray[np.int64], means: NDArray[np.float64], deviations: NDArray[np.float64]
) -> float:
    """Return the share of the bands' variation that lies between segments.

    Parameters
    ----------
    count : ndarray of int64 (segment,)
        Valid pixels.
    means, deviations : ndarray of float64 (segment, band)
        Mean and Σ (x - mean)²; NaN without a valid pixel.

    Returns
    -------
    float
        0 to 1; NaN where nothing varies.
    """
    known = count > 0
    n, mean = count[known, None].astype(np.float64), means[known]
    overall = (n * mean).sum(axis=0) / n.sum()
    between = (n * (mean - overall) ** 2).sum()
    total = between + deviations[known].sum()
    return float(between / total) if total > 0 else float("nan")


def size_distribution(pixels: NDArray[np.int64]) -> dict[str, float]:
    """Describe the sizes (segment,) of segments, in pixels."""
    ranks = (5, 25, 50, 75, 95)
    found = {f"p{p}": float(v) for p, v in zip(ranks, np.percentile(pixels, ranks), strict=True)}
    return {
        "min": int(pixels.min()),
        **found,
        "max": int(pixels.max()),
        "mean": float(pixels.mean()),
        "std": float(pixels.std()),
    }


@njit(cache=True, nogil=True)
def _overlaps(segments, regions, span):  # type: ignore[no-untyped-def]
    keys = np.full(1024, NONE, dtype=np.int64)
    values = np.empty(1024, dtype=np.int32)
    pairs = np.empty(512, dtype=np.int64)
    counts = np.zeros(512, dtype=np.int64)
    found, before, at = 0, NONE, np.int32(0)
    for row in range(segments.shape[0]):
        for col in range(segments.shape[1]):
            if segments[row, col] < 0 or regions[row, col] < 0:
                continue
            key = np.int64(segments[row, col]) * span + regions[row, col]
            if key != before:
                before = key
                slot = slot_of(keys, key)
                if keys[slot] == NONE:
                    if found == pairs.size:
                        pairs = np.concatenate((pairs, np.empty(found, dtype=np.int64)))
                        counts = np.concatenate((counts, np.zeros(found, dtype=np.int64)))
                        keys, values = grown(keys, values)
                        slot = slot_of(keys, key)
                    keys[slot], values[slot], pairs[found] = key, found, key
                    found += 1
                at = values[slot]
            counts[at] += 1
    return pairs[:found].copy(), counts[:found].copy()
