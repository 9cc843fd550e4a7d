"""Activations of lanes (`stcli.lanes`), for kernels."""

from __future__ import annotations

import numpy as np

from stcli.jit import njit
from stcli.lanes import OPTIONS, exp2, smaller, splat

_LOG2E = np.float32(1.4426950408889634)


@njit(**OPTIONS)
def exp(x):  # type: ignore[no-untyped-def]
    """Return e^x of x <= 0; see `stcli.lanes.exp2`."""
    return exp2(x * _LOG2E)


@njit(**OPTIONS)
def silu(x):  # type: ignore[no-untyped-def]
    """Return x / (1 + exp(-x)) of |x| < 1e30."""
    one, nothing = splat(np.float32(1)), splat(np.float32(0))
    e = exp(smaller(x, nothing, x, nothing - x))
    return x * smaller(x, nothing, e, one) / (one + e)


@njit(**OPTIONS)
def softplus(x):  # type: ignore[no-untyped-def]
    """Return log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|) in (0, 1].

    log(1 + e) = 2 artanh z with z = e / (2 + e) <= 1/3, whose series to z^13 leaves 1e-8.
    """
    two, nothing = splat(np.float32(2)), splat(np.float32(0))
    e = exp(smaller(x, nothing, x, nothing - x))
    z = e / (two + e)
    square = z * z
    series = splat(np.float32(1 / 13))
    series = series * square + np.float32(1 / 11)
    series = series * square + np.float32(1 / 9)
    series = series * square + np.float32(1 / 7)
    series = series * square + np.float32(1 / 5)
    series = series * square + np.float32(1 / 3)
    series = series * square + np.float32(1)
    return smaller(x, nothing, nothing, x) + two * z * series
