"""Which scale to merge to (Espindola et al. 2006, doi:10.1080/01431160600617194).

Of each candidate level, over bands: v, the variance inside objects weighted by their pixels, and
I, Moran's index of the objects' means with touching objects as neighbours. Good objects are alike
inside (low v) and unlike their neighbours (low I). Both are brought to 0–1 over the candidates,
1 for the best, as GRASS's i.segment.uspo does; their sum is greatest at the scale suggested.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.segmentation.objects.merge import Graph


def variance_and_moran(graph: Graph, level: NDArray[np.int32]) -> tuple[float, float]:
    """Return v and I of the objects of one level, each the mean over bands.

    Parameters
    ----------
    graph : Graph
    level : ndarray of int32 (segment,)
        The first segment of each segment's object.

    Returns
    -------
    v : float
        In squared scaled bands.
    moran : float
        NaN where no object touches another, or all means are alike.
    """
    _, number = np.unique(level, return_inverse=True)
    known = ~np.isnan(graph.means).any(axis=1)
    n = np.where(known, graph.pixels, 0).astype(np.float64)
    size = np.bincount(number, n)
    a, b = np.sort(number[graph.pairs], axis=1).T
    touching = np.unique(np.stack([a, b], axis=1)[a != b], axis=0)
    keep = (size[touching] > 0).all(axis=1)
    spread, moran = [], []
    for band in range(graph.means.shape[1]):
        own = np.where(known, graph.means[:, band], 0.0)
        mean = np.bincount(number, n * own) / np.where(size > 0, size, 1)
        inside = np.where(known, graph.deviations[:, band], 0.0)
        inside = inside + n * (own - mean[number]) ** 2
        spread.append(inside.sum() / n.sum())
        moran.append(_moran(mean, size > 0, touching[keep]))
    return float(np.mean(spread)), float(np.mean(moran))


def _moran(mean: NDArray[np.float64], there: NDArray[np.bool_], pairs: NDArray[np.int64]) -> float:
    gap = np.where(there, mean - mean[there].mean(), 0.0)
    squares = (gap**2).sum()
    if not len(pairs) or squares == 0:
        return float("nan")
    products = (gap[pairs[:, 0]] * gap[pairs[:, 1]]).sum()
    return float(there.sum() / len(pairs) * products / squares)


def suggest(variances: list[float], morans: list[float]) -> tuple[int, list[float]]:
    """Choose among candidates.

    Returns
    -------
    best : int
        Position of the best; the first of equals.
    scores : list of float
        0 to 2.
    """
    scores = np.zeros(len(variances))
    for values in (np.array(variances), np.array(morans)):
        low, high = np.nanmin(values), np.nanmax(values)
        share = (high - values) / (high - low) if high > low else np.ones_like(values)
        scores += np.nan_to_num(share, nan=0.0)
    return int(np.argmax(scores)), scores.tolist()
