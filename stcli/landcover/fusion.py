"""One map from the maps of several dates, each weighed by how sure it is.

With the probabilities p_t of date t, w_t = softmax over valid dates of max_c p_t(c) / τ, and the
fused probabilities are Σ w_t p_t. The best date is the one of the largest weight, the earlier of
equals. An analogue, in time, of M&M-3D (arXiv:2511.10597), which weighs slices by their scores;
the weights cost no training. One valid date gives that date's probabilities, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def fuse(
    dates: Iterable[NDArray[np.float32]], tau: float
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Fuse the probabilities of several dates, taken one by one.

    Parameters
    ----------
    dates : iterable of ndarray of float32 (class, row, col)
        NaN where a date is not valid.
    tau : float
        Small: the surest date alone; large: all dates alike.

    Returns
    -------
    fused : ndarray of float32 (class, row, col)
        NaN where no date is valid.
    best : ndarray of uint16 (row, col)
        Number of the best date from 1; 0 where none is valid.
    """
    total: NDArray[np.float64] | None = None
    for number, chances in enumerate(dates, start=1):
        if total is None:
            total = np.zeros(chances.shape)
            weight, surest = np.zeros(chances.shape[1:]), np.zeros(chances.shape[1:])
            best = np.zeros(chances.shape[1:], dtype=np.uint16)
        known = ~np.isnan(chances[0])
        sure = np.where(known, chances.max(axis=0), 0).astype(np.float64)
        w = np.where(known, np.exp((sure - 1) / tau), 0)  # the largest that can be is 1
        total += w * np.where(known, chances, 0)
        weight += w
        better = known & ((best == 0) | (sure > surest))
        best[better], surest[better] = number, sure[better]
    if total is None:
        raise ValueError("no date to fuse")
    with np.errstate(invalid="ignore"):
        return (total / np.where(weight > 0, weight, np.nan)).astype(np.float32), best
