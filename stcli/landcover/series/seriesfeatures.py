"""What methods without a memory see of a series: its values, and figures of each band over time.

Letters: n series, s steps, b bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Quantiles of each band over a season.
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
#: Keeps the contrast of two bands finite near 0, in units of reflectance.
_EPSILON = 0.02


def features(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """List values, quantiles, mean and standard deviation: (n, (s + 9) b).

    Parameters
    ----------
    series : ndarray of float32 (n, s, b)
        Without gaps.
    """
    x = series.astype(np.float64)
    return np.concatenate([x.reshape(len(x), -1), figures(x)], axis=1)


def figures(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles, mean and standard deviation of each band over time: (n, 9 b)."""
    quantiles = np.quantile(x, _QUANTILES, axis=1).transpose(1, 0, 2).reshape(len(x), -1)
    return np.concatenate([quantiles, x.mean(axis=1), x.std(axis=1)], axis=1)


def contrasts(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """List the contrasts of all pairs of bands at all steps, and `figures`.

    A contrast is (a - c) / (|a| + |c| + 0.02), as a normalised difference index.
    """
    x = series.astype(np.float64)
    pairs = [(x[..., i], x[..., j]) for i in range(x.shape[2]) for j in range(i)]
    lines = [(a - c) / (np.abs(a) + np.abs(c) + _EPSILON) for a, c in pairs]
    return np.concatenate([*(lines or [x.reshape(len(x), -1)]), figures(x)], axis=1)
