"""A short path through points: nearest neighbours first, then 2-opt and Or-opt until nothing helps.

The path is open: it begins and ends where that is shortest. Croes 1958 (2-opt); Or 1976 (moving
a few neighbours elsewhere).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit

#: What a change must save, in shares of the mean step: so that rounding alone moves nothing.
_LEAST = 1e-9
#: Points that Or-opt moves together, at most.
_TOGETHER = 3


def route(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order points along a short path.

    Parameters
    ----------
    points : ndarray of float64 (point, 2)
        In a plane, in one unit.

    Returns
    -------
    ndarray of int64 (point,)
        The same for the same points, whatever runs beside.
    """
    if len(points) < 3:
        return np.arange(len(points))
    distance = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    order = _nearest(distance)
    _improve(distance, order, _LEAST * max(length(points, order) / len(points), 1e-300))
    # begun from the end that comes first
    return order if order[0] <= order[-1] else np.ascontiguousarray(order[::-1])


def length(points: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    """Length of the path through points (n, 2) in an order (n,), in their unit."""
    steps = np.diff(points[order], axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def _nearest(distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Go to the nearest point not yet seen, from the one farthest from all."""
    at = int(distance.sum(axis=1).argmax())
    free, order = np.ones(len(distance), dtype=np.bool_), [at]
    free[at] = False
    for _ in range(len(distance) - 1):
        at = int(np.where(free, distance[at], np.inf).argmin())
        free[at] = False
        order.append(at)
    return np.array(order, dtype=np.int64)


@njit(cache=True, nogil=True)
def _improve(distance: Any, order: Any, least: float) -> None:
    better = True
    while better:
        better = _turn(distance, order, least)
        better |= _move(distance, order, least)


@njit(cache=True, nogil=True)
def _step(distance: Any, order: Any, i: int, j: int) -> float:
    # from the place i of the path to the place j; nothing beyond its ends
    if i < 0 or j >= len(order):
        return 0.0
    return distance[order[i], order[j]]  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _turn(distance: Any, order: Any, least: float) -> bool:
    # 2-opt: turn the stretch from i to j round
    better = False
    for i in range(len(order) - 1):
        for j in range(i + 1, len(order)):
            before = _step(distance, order, i - 1, i) + _step(distance, order, j, j + 1)
            after = 0.0
            if i > 0:
                after += distance[order[i - 1], order[j]]
            if j + 1 < len(order):
                after += distance[order[i], order[j + 1]]
            if before - after > least:
                order[i : j + 1] = order[i : j + 1][::-1].copy()
                better = True
    return better


@njit(cache=True, nogil=True)
def _move(distance: Any, order: Any, least: float) -> bool:
    # Or-opt: move up to three neighbours between two others, either way round
    better = False
    for size in range(1, _TOGETHER + 1):
        for i in range(len(order) - size + 1):
            part = order[i : i + size].copy()
            rest = np.concatenate((order[:i], order[i + size :]))
            gain = _step(distance, order, i - 1, i) + _step(distance, order, i + size - 1, i + size)
            if i > 0 and i + size < len(order):
                gain -= distance[order[i - 1], order[i + size]]
            best, place, back = least, -1, False
            for k in range(len(rest) + 1):
                for way in range(2):
                    first, last = (part[0], part[-1]) if way == 0 else (part[-1], part[0])
                    cost = 0.0
                    if k > 0:
                        cost += distance[rest[k - 1], first]
                    if k < len(rest):
                        cost += distance[last, rest[k]]
                    if 0 < k < len(rest):
                        cost -= distance[rest[k - 1], rest[k]]
                    if gain - cost > best:
                        best, place, back = gain - cost, k, way == 1
            if place >= 0:
                order[:place] = rest[:place]
                order[place : place + size] = part[::-1] if back else part
                order[place + size :] = rest[place:]
                better = True
    return better
