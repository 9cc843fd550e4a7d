"""Separable filters of planes: rows are weighed first, then columns, a row of results at a time.

What rows add up to stays in a buffer of one row, so that a plane is read from memory once and each
result written once, however many filters there are. Rows are visited at the taps' distance, so that
those in use stay in the nearest cache. Every value is a sum over the same taps in the same order
wherever it lies; beyond the block is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stcli.heap import empty
from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, splat, store

Plane = NDArray[np.float64]
#: Taps, and the offset of the first of them counted in taps.
Step = tuple[Sequence[float], int]


def correlate(plane: Plane, down: Step, across: Step, apart: int = 1) -> Plane:
    """Correlate along columns with `down`, and what comes out along rows with `across`.

    Parameters
    ----------
    plane : ndarray of float64 (row, col)
    down, across : (taps, first)
    apart : int
        Pixels between taps.

    Returns
    -------
    ndarray of float64 (row, col)
    """
    whole = wide(plane)
    out = empty(whole.shape, whole.dtype)
    steps = _filter(down, apart), _filter(across, apart)
    buffers = _buffers(whole, apart, steps[1])
    _correlate(whole.ravel(), *whole.shape, *steps, apart, buffers, out.ravel())
    return out[:, : plane.shape[1]]


def split(plane: Plane, low: Step, high: Step, apart: int) -> tuple[Plane, list[Plane]]:
    """Correlate with two filters along either axis, in all four ways.

    Parameters
    ----------
    plane : ndarray of float64 (row, col)
    low, high : (taps, first)
    apart : int
        Pixels between taps.

    Returns
    -------
    smooth : ndarray of float64 (row, col)
        Low along both axes.
    details : three ndarrays of float64 (row, col)
        High along rows, high along columns, high along both.
    """
    whole, cols = wide(plane), plane.shape[1]
    parts = [empty(whole.shape, whole.dtype) for _ in range(4)]
    steps = _filter(low, apart), _filter(high, apart)
    buffers = _buffers(whole, apart, *steps)
    flat = tuple(part.ravel() for part in parts)
    _split(whole.ravel(), *whole.shape, *steps, apart, buffers, flat)
    smooth, *details = (part[:, :cols] for part in parts)
    return smooth, details


def join(smooth: Plane, details: Sequence[Plane], low: Step, high: Step, apart: int) -> Plane:
    """Correlate each of four parts with its own filters, and add them up.

    Parameters
    ----------
    smooth : ndarray of float64 (row, col)
    details : three ndarrays of float64 (row, col)
        As `split` gives them.
    low, high : (taps, first)
    apart : int
        Pixels between taps.

    Returns
    -------
    ndarray of float64 (row, col)
    """
    parts = [wide(part) for part in (smooth, *details)]
    whole = parts[0]
    out = empty(whole.shape, whole.dtype)
    steps = _filter(low, apart), _filter(high, apart)
    buffers = _buffers(whole, apart, *steps)
    flat = tuple(part.ravel() for part in parts)
    _join(flat, *whole.shape, *steps, apart, buffers, out.ravel())
    return out[:, : smooth.shape[1]]


def wide(planes: Plane) -> Plane:
    """Give planes (…, row, col) contiguous rows at least as long as lanes.

    What is put behind them is 0, as all beyond a block. Planes that are so already are returned.
    """
    lack = max(0, WIDTH - planes.shape[-1])
    if lack:
        planes = np.pad(planes, (*((0, 0),) * (planes.ndim - 1), (0, lack)))
    return np.ascontiguousarray(planes)


def _filter(step: Step, apart: int) -> tuple[Plane, int]:
    """Give taps as an array, and the first one's offset in pixels."""
    taps, first = step
    return np.array(taps, dtype=np.float64), first * apart


def _buffers(plane: Plane, apart: int, *steps: tuple[Plane, int]) -> Plane:
    """Make a row for each filter, with zeros beyond both ends as far as the filters reach."""
    ends = [end for taps, first in steps for end in (-first, first + (len(taps) - 1) * apart)]
    return np.zeros((len(steps), plane.shape[1] + 2 * max(0, *ends)))


@njit(**OPTIONS)
def _correlate(plane, rows, cols, down, across, apart, buffers, out):  # type: ignore[no-untyped-def]
    buffer, margin = buffers[0], (buffers.shape[1] - cols) // 2
    for phase in range(apart):
        for r in range(phase, rows, apart):
            _weigh_rows(plane, r, rows, cols, down, apart, buffer, margin)
            _weigh_cols(buffer, margin, cols, across, apart, out, r * cols)


@njit(**OPTIONS)
def _split(plane, rows, cols, low, high, apart, buffers, parts):  # type: ignore[no-untyped-def]
    lows, highs, margin = buffers[0], buffers[1], (buffers.shape[1] - cols) // 2
    for phase in range(apart):
        for r in range(phase, rows, apart):
            _weigh_rows(plane, r, rows, cols, low, apart, lows, margin)
            _weigh_rows(plane, r, rows, cols, high, apart, highs, margin)
            _weigh_cols(lows, margin, cols, low, apart, parts[0], r * cols)
            _weigh_cols(lows, margin, cols, high, apart, parts[1], r * cols)
            _weigh_cols(highs, margin, cols, low, apart, parts[2], r * cols)
            _weigh_cols(highs, margin, cols, high, apart, parts[3], r * cols)


@njit(**OPTIONS)
def _join(parts, rows, cols, low, high, apart, buffers, out):  # type: ignore[no-untyped-def]
    lows, highs, margin = buffers[0], buffers[1], (buffers.shape[1] - cols) // 2
    for phase in range(apart):
        for r in range(phase, rows, apart):
            where = r, rows, cols
            _weigh_rows_of_two(parts[0], low, parts[2], high, where, apart, lows, margin)
            _weigh_rows_of_two(parts[1], low, parts[3], high, where, apart, highs, margin)
            _weigh_cols_of_two(lows, low, highs, high, margin, cols, apart, out, r * cols)


@njit(**OPTIONS)
def _inside(r, rows, step, apart):  # type: ignore[no-untyped-def]
    """Tell from which tap to which rows lie in the block."""
    taps, first = step
    start = max(0, -((r + first) // apart))
    return start, max(start, min(len(taps), -((r + first - rows) // apart)))


@njit(**OPTIONS)
def _weigh_rows(plane, r, rows, cols, step, apart, buffer, margin):  # type: ignore[no-untyped-def]
    """Add up a row's neighbours above and below."""
    taps, first = step
    start, stop = _inside(r, rows, step, apart)
    base = (r + first) * cols
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        sums = splat(0.0)
        for k in range(start, stop):
            sums = sums + load(plane, base + k * apart * cols + c) * taps[k]
        store(buffer, margin + c, sums)


@njit(**OPTIONS)
def _weigh_rows_of_two(one, step, other, turn, where, apart, buffer, margin):  # type: ignore[no-untyped-def]
    """Do the same with two planes, each with its own taps."""
    r, rows, cols = where
    taps, first = step
    pats, foremost = turn
    start, stop = _inside(r, rows, step, apart)
    begun, end = _inside(r, rows, turn, apart)
    base, ground = (r + first) * cols, (r + foremost) * cols
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        sums = splat(0.0)
        for k in range(start, stop):
            sums = sums + load(one, base + k * apart * cols + c) * taps[k]
        for k in range(begun, end):
            sums = sums + load(other, ground + k * apart * cols + c) * pats[k]
        store(buffer, margin + c, sums)


@njit(**OPTIONS)
def _weigh_cols(buffer, margin, cols, step, apart, out, place):  # type: ignore[no-untyped-def]
    """Add up the neighbours left and right in a row with zeros at both ends."""
    taps, first = step
    base = margin + first
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        sums = splat(0.0)
        for k in range(len(taps)):
            sums = sums + load(buffer, base + k * apart + c) * taps[k]
        store(out, place + c, sums)


@njit(**OPTIONS)
def _weigh_cols_of_two(one, step, other, turn, margin, cols, apart, out, place):  # type: ignore[no-untyped-def]
    """Do the same with two rows, each with its own taps."""
    taps, first = step
    pats, foremost = turn
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        sums = splat(0.0)
        for k in range(len(taps)):
            sums = sums + load(one, margin + first + k * apart + c) * taps[k]
        for k in range(len(pats)):
            sums = sums + load(other, margin + foremost + k * apart + c) * pats[k]
        store(out, place + c, sums)


@njit(**OPTIONS)
def add_rows(ring, oldest, side, cols, out, place):  # type: ignore[no-untyped-def]
    """Add up the rows of a ring (row * col,) from the oldest on: in one order everywhere.

    Parameters
    ----------
    ring, out : ndarray of float64
    oldest, side, cols : int
        Row that is added first, rows, and columns of the ring.
    place : int
        Where the sums begin in `out`.
    """
    for at in range(0, cols, WIDTH):
        c = min(at, cols - WIDTH)
        sums = splat(0.0)
        for k in range(oldest, side):
            sums = sums + load(ring, k * cols + c)
        for k in range(oldest):
            sums = sums + load(ring, k * cols + c)
        store(out, place + c, sums)


#: Compiled kernels.
KERNELS = (_correlate, _split, _join)
