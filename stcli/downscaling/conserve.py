"""Conservation: change a fine raster so that its block means are the coarse raster's values.

With x a coarse value, y the fine values of its block and M(y) their mean (Harder et al. 2023,
"Hard-constrained deep learning for climate downscaling", JMLR 24):

- add:    y + (x - M(y))
- mult:   y x / M(y), for quantities that are never negative
- scadd:  with values in [l, h], y + d (h - y) / (h - M(y)) where d = x - M(y) is positive, and
          y + d (y - l) / (M(y) - l) where it is negative: values stay in [l, h]. This is the
          paper's scaled additive layer with its range [-1, 1] put on [l, h].

NaN is "no value": the mean is taken over the pixels of a block that have one, and a block whose
coarse pixel has none is left as it is. All is reckoned in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.coarsen import block_mean, spread

Limits = tuple[float, float] | None


def conserve(
    fine: NDArray[Any],
    coarse: NDArray[Any],
    factor: int,
    how: str = "add",
    limits: Limits = None,
) -> NDArray[np.float64]:
    """Bring the block means of a fine raster to the coarse values.

    Parameters
    ----------
    fine : ndarray, (..., row * factor, col * factor)
        NaN is no value.
    coarse : ndarray, (..., row, col), the same unit
        NaN is no value.
    factor : int
    how : {'add', 'mult', 'scadd', 'none'}
        `mult` sets negative fine values to 0, `scadd` sets values beyond the limits to them,
        both before they do the rest.
    limits : (float, float), optional
        Lowest and highest possible value, for `scadd`.

    Returns
    -------
    ndarray of float64, the shape of `fine`
        ``block_mean`` of it is `coarse` to rounding, wherever both have a value.

    Raises
    ------
    ValueError
        A coarse value that the way of conserving cannot reach: see `unreachable`.
    """
    y, x = np.array(fine, np.float64), np.asarray(coarse, np.float64)
    if how == "none":
        return y
    reason = unreachable(np.asarray(coarse), how, limits)
    if reason:
        raise ValueError(reason)
    if how == "mult":
        np.maximum(y, 0, out=y)
    if how == "scadd" and limits is not None:
        np.clip(y, *limits, out=y)
        x = np.clip(x, *limits)  # a float32 at a limit may be beyond it by its rounding
    changed = _WAYS[how](y, x, block_mean(y, factor), factor, limits)
    return np.where(np.isnan(spread(x, factor)), fine, changed)


def unreachable(coarse: NDArray[Any], how: str, limits: Limits = None) -> str | None:
    """Say why coarse values cannot be conserved in a way; None where they can.

    `mult` reaches no negative value, `scadd` none beyond its limits, which are compared in the
    values' own type: the float32 next to 0.1 is not beyond 0.1.

    Parameters
    ----------
    coarse : ndarray, (band, row, col)
        NaN is no value.
    how : str
        A way of `DownscaleSettings.conserve`.
    limits : (float, float) or None
        Lowest and highest possible value.
    """
    if how == "mult" and (coarse < 0).any():
        return f"a value of {np.nanmin(coarse):g} found, none below 0 is wanted for mult"
    if how == "scadd" and limits is not None:
        beyond = (coarse < limits[0]) | (coarse > limits[1])
        if beyond.any():
            worst = coarse[beyond].ravel()[0]
            return f"a value of {worst:g} found, {limits[0]:g} to {limits[1]:g} are wanted"
    return None


def residual(
    fine: NDArray[Any], coarse: NDArray[Any], factor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure how far block means are from the coarse values.

    Parameters
    ----------
    fine : ndarray, (..., row * factor, col * factor)
    coarse : ndarray, (..., row, col)
        NaN is no value, in both.

    Returns
    -------
    absolute : ndarray of float64, (..., row, col)
        ``block_mean(fine) - coarse``; NaN where either has no value.
    relative : ndarray of float64
        |absolute| over the larger of |coarse| and the block's mean |fine|: what rounding of the
        fine values can be held against. 0 where both are 0.
    """
    absolute = block_mean(fine, factor) - coarse
    scale = np.maximum(np.abs(coarse), block_mean(np.abs(fine), factor))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(absolute == 0, 0.0, np.abs(absolute) / scale)
    return absolute, relative


_Array = NDArray[np.float64]


def _add(y: _Array, x: _Array, mean: _Array, factor: int, limits: Limits) -> _Array:
    shifted: _Array = y + spread(x - mean, factor)
    return shifted


def _mult(y: _Array, x: _Array, mean: _Array, factor: int, limits: Limits) -> _Array:
    """Multiply; a block of zeros whose coarse value is not zero takes that value throughout."""
    dry = mean == 0
    ratio = np.where(dry, 0.0, x / np.where(dry, 1.0, mean))
    lift = np.where(np.isnan(y), np.nan, spread(np.where(dry, x, 0.0), factor))
    scaled: _Array = y * spread(ratio, factor) + lift
    return scaled


def _scadd(y: _Array, x: _Array, mean: _Array, factor: int, limits: Limits) -> _Array:
    """Move each pixel by its share of the room that it has left."""
    low, high = limits or (-1.0, 1.0)
    d = x - mean
    room = np.where(d > 0, high - mean, mean - low)
    share = np.where(room > 0, d / np.where(room > 0, room, 1.0), 0.0)
    up = spread(d > 0, factor)
    moved: _Array = y + spread(share, factor) * np.where(up, high - y, y - low)
    return moved


_WAYS: dict[str, Callable[[_Array, _Array, _Array, int, Limits], _Array]] = {
    "add": _add,
    "mult": _mult,
    "scadd": _scadd,
}
