"""Coarsening: the mean of the valid pixels of each block.

A block is the ``s`` by ``s`` fine pixels of one coarse pixel. NaN is "no value" throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def block_sum(fine: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Add up each block in one fixed order, so that no tiling can change a rounding.

    Parameters
    ----------
    fine : ndarray, (..., row, col)
        Sides are multiples of `factor`.

    Returns
    -------
    ndarray of float64, (..., row // factor, col // factor)
    """
    total = np.zeros((*fine.shape[:-2], *(n // factor for n in fine.shape[-2:])))
    for row in range(factor):
        for col in range(factor):
            total += fine[..., row::factor, col::factor]
    return total


def block_mean(fine: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Coarsen by the mean of each block's pixels that have a value.

    Parameters
    ----------
    fine : ndarray, (..., row, col), any unit
        NaN is no value; sides are multiples of `factor`.

    Returns
    -------
    ndarray of float64, (..., row // factor, col // factor)
        NaN where a block has no value at all.
    """
    gaps = np.isnan(fine)
    if not gaps.any():
        return block_sum(fine, factor) / factor**2
    count = factor**2 - block_sum(gaps, factor)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = block_sum(np.where(gaps, 0, fine), factor) / count
    return mean


def spread(coarse: NDArray[Any], factor: int) -> NDArray[Any]:
    """Repeat each coarse pixel over its block.

    Returns
    -------
    ndarray, (..., row * factor, col * factor)
    """
    return coarse.repeat(factor, axis=-2).repeat(factor, axis=-1)
