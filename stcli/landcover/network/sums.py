"""Sums over a token's pixels: their mean and standard deviation, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit

Floats = NDArray[np.float32]


def token_sums(values: Floats, place: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    """Sum values (pixel, c) and their squares a token, in the pixels' order: (count, c) each.

    `place` (pixel,) is the token of each pixel, `count` where there is none.
    """
    total, squares = (np.zeros((count + 1, values.shape[1]), dtype=np.float32) for _ in "ab")
    _add(values, place, total, squares)
    return total[:count], squares[:count]


def mean_deviation(
    pixels: Sequence[Floats], place: NDArray[np.int64], count: int
) -> tuple[Floats, Floats]:
    """Mean and standard deviation a token (count, all c) of pixels (pixel, c).

    As `stcli.landcover.network.moments.moments` does it for tensors.
    """
    size = np.maximum(np.bincount(place, minlength=count + 1)[:count, None], 1).astype(np.float32)
    sums = [token_sums(each, place, count) for each in pixels]
    mean = np.concatenate([total for total, _ in sums], axis=1) / size
    square = np.concatenate([total for _, total in sums], axis=1) / size
    spread = np.sqrt(np.maximum(square - mean * mean, 0) + np.float32(1e-5))
    return np.asarray(mean, dtype=np.float32), np.asarray(spread, dtype=np.float32)


@njit(cache=True, nogil=True)
def _add(values, place, total, squares):  # type: ignore[no-untyped-def]
    for pixel in range(len(place)):
        token = place[pixel]
        for c in range(values.shape[1]):
            value = values[pixel, c]
            total[token, c] += value
            squares[token, c] += value * value
