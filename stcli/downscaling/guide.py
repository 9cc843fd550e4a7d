"""The linear guide: what finer bands of the same scene say about coarser ones.

Over the coarse pixels, each band's difference from the mean around it is regressed on those of the
guide's block means (least squares, no intercept). The guide's *detail*, what interpolation of its
block means misses, is then added with the same weights:
``fine = ibp(x) + sum of a_k (g_k - ibp(M g_k))``; block means are kept. It is a high-pass relative
of the intensity substitutions of pan-sharpening (Aiazzi et al. 2007, doi:10.1109/TGRS.2007.901007).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.features import base, fill, mean_around


def differences(coarse: NDArray[Any], guide: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Stack differences from the mean around: first of the guide's block means, then of the bands.

    Parameters
    ----------
    coarse, guide : ndarray, (band, row, col) and (guide, row, col)
        Bands, and block means of the guide, on one grid.

    Returns
    -------
    ndarray of float64, (guides + bands, row, col)
        NaN where any of them has no value.
    """
    stack = np.concatenate([block_mean(guide, factor), coarse])
    local = np.stack([fill(band) - mean_around(fill(band)) for band in stack])
    local[:, np.isnan(stack).any(axis=0)] = np.nan
    return local


def weights(samples: Iterable[NDArray[Any]], guides: int) -> NDArray[np.float64]:
    """Solve the regression.

    Products are added up without rounding (`math.fsum`), so the order and the tiles that samples
    come in do not matter.

    Parameters
    ----------
    samples : iterable of ndarray, (guides + bands, pixel)
        Columns of `differences`.
    guides : int

    Returns
    -------
    ndarray of float64, (band, guide)
        0 where nothing can be learned.
    """
    columns = np.concatenate(list(samples), axis=1)
    count = len(columns)
    gram = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1):
            gram[i, j] = gram[j, i] = math.fsum((columns[i] * columns[j]).tolist())
    inner, cross = gram[:guides, :guides], gram[:guides, guides:]
    steady = inner + 1e-9 * np.trace(inner) / max(guides, 1) * np.eye(guides)
    solved: NDArray[np.float64] = np.linalg.lstsq(steady, cross, rcond=None)[0].T
    return solved


def detail(guide: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Find what interpolation of a guide's block means misses; 0 where the guide has no value.

    Parameters
    ----------
    guide : ndarray, (guide, row, col)
    """
    return np.nan_to_num(guide - base(block_mean(guide, factor), factor))
