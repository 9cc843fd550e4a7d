"""Texture of objects from grey-level co-occurrence (Haralick et al. 1973).

Grey levels of two neighbouring pixels of one object are compared in four directions (0, 45, 90,
135°, distance 1), symmetric. The four figures kept are those that are sums over pairs, so no
matrix of an object is ever held and no sum depends on how the raster was cut:

    contrast       mean (i - j)²
    dissimilarity  mean |i - j|
    homogeneity    mean 1 / (1 + (i - j)²)
    correlation    cov(i, j) / var(i) over the symmetric pairs; 1 where all levels are alike
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit

#: Grey levels between a band's low and high.
LEVELS = 32
FIGURES = ("contrast", "dissimilarity", "homogeneity", "correlation")
#: Sums a band: pairs, Σ|i-j|, Σ(i-j)², Σ weight, Σ(i+j), Σ(i²+j²), Σ ij.
SUMS = 7
_ONE = 1 << 30
_WEIGHT = np.array([round(_ONE / (1 + d * d)) for d in range(LEVELS)], dtype=np.int64)


def levels(band: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Quantise a band (row, col) to `LEVELS` grey levels between low and high, clipped beyond."""
    share = (band.astype(np.float64) - low) / (high - low)
    return (share * LEVELS).clip(0, LEVELS - 1).astype(np.uint8)


def pair_sums(
    numbers: NDArray[np.int32],
    grey: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    core: tuple[int, int, int, int],
) -> NDArray[np.int64]:
    """Sum up the pairs of each object whose first pixel (in raster order) lies in the core.

    Parameters
    ----------
    numbers, grey, valid : ndarray (row, col)
        With one pixel around the core wherever the raster goes on.

    Returns
    -------
    ndarray of int64 (object, SUMS)
    """
    sums = np.zeros((int(numbers.max(initial=-1)) + 1, SUMS), np.int64)
    _pairs(numbers, grey, valid, np.array(core), sums)
    return sums


def figures(sums: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Turn sums into `FIGURES`, each (object,); NaN for an object without a pair."""
    pairs = sums[:, 0].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[:, 4] / (2 * pairs)
        spread = sums[:, 5] / (2 * pairs) - mean**2
        together = sums[:, 6] / pairs - mean**2
        flat = sums[:, 2] + spread <= 0
        return {
            "contrast": sums[:, 2] / pairs,
            "dissimilarity": sums[:, 1] / pairs,
            "homogeneity": sums[:, 3] / pairs / _ONE,
            "correlation": np.where(flat & (pairs > 0), 1.0, together / spread),
        }


@njit(cache=True, nogil=True)
def _pairs(numbers, grey, valid, core, sums):  # type: ignore[no-untyped-def]
    for row in range(core[0], core[1]):
        for col in range(core[2], core[3]):
            i = numbers[row, col]
            if i < 0 or not valid[row, col]:
                continue
            a = np.int64(grey[row, col])
            for direction in range(4):
                r = row + (direction > 0)
                c = col + (1 if direction == 0 else direction - 2)
                if not (r < numbers.shape[0] and 0 <= c < numbers.shape[1]):
                    continue
                if numbers[r, c] != i or not valid[r, c]:
                    continue
                b = np.int64(grey[r, c])
                gap = abs(a - b)
                sums[i, 0] += 1
                sums[i, 1] += gap
                sums[i, 2] += gap * gap
                sums[i, 3] += _WEIGHT[gap]
                sums[i, 4] += a + b
                sums[i, 5] += a * a + b * b
                sums[i, 6] += a * b
