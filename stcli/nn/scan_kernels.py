"""Kernels of the selective scan on a CPU: fused, they never hold a (d, l, n) array.

Letters as in `stcli.nn.scan`. Sixteen channels are a *block*; its numbers lie side by side in the
lanes of a vector (`stcli.lanes`), so that the recurrence, the exponential and the sums over
states run in all lanes alike and nothing is summed across them. A block walks along the sequence
in chunks: it turns the chunk's u and Δ into lanes (`stcli.nn.scan_rows`), takes its states through
the chunk, and turns y back; the chunk's rows of B and C stay in cache however long the sequence
is. The forward pass keeps the states before every chunk; the backward pass, which has a module of
its own (`stcli.nn.scan_gradients`), recomputes the steps between.

Numbers of states and of decays a channel (one for each state; one for all in Mamba-2) come as the
lengths of tuples, which are constants of their types: loops over states then unroll. A kernel is
compiled at its first use and kept on disk.

No result depends on the number of threads: a block is computed by one thread in one order, and
the gradients of B and C are summed over a fixed number of groups of blocks in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from stcli.heap import empty
from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, exp2, exp2_each, exp2_parts, load, store
from stcli.nn.scan_rows import (
    CHUNK,
    from_lanes,
    lanes_to_tokens,
    places,
    rooms,
    to_lanes,
    tokens_to_lanes,
    travel,
    turn,
    turn_back,
)

#: States whose decays are computed side by side.
SIDE = 4
LOG2E = math.log2(math.e)
#: Of a rate: what decays so fast is gone after any step.
_LOWEST = -1e30

Arrays = tuple[NDArray[Any], ...]


def scan_forward(arrays: Arrays, kept: bool, threaded: bool) -> Arrays:
    """Scan arrays as `stcli.nn.scan.scan_reference` does tensors.

    Parameters
    ----------
    arrays : (u, delta, A, B, C, D, starts)
        Contiguous, float32 or float64.
    kept : bool
        Keep the states before every chunk, for `scan_backward`.
    threaded : bool
        Scan blocks side by side.

    Returns
    -------
    y : ndarray (d, l)
    keep : ndarray (block, chunk, n * WIDTH)
        No chunk where nothing is kept.
    """
    A, B = arrays[2:4]
    y = empty(arrays[0].shape, arrays[0].dtype)
    chunks = -(-y.shape[1] // CHUNK) if kept else 0
    keep = empty((blocks(len(y)), chunks, B.shape[1] * WIDTH), dtype=y.dtype)
    run = _forward if threaded else _forward_serial
    run(*width_tuples(A, B), arrays, y, keep)
    return y, keep


def scan_tokens(
    u: NDArray[Any], delta: NDArray[Any], matrices: Arrays, starts: NDArray[np.bool_]
) -> NDArray[Any]:
    """Scan tokens (l, d), in one thread, without a gradient to come: y of the same shape.

    To the bits of `scan_forward`. d is a multiple of WIDTH, all arrays are contiguous.
    """
    y = np.empty_like(u)
    _forward_tokens(*width_tuples(*matrices[:2]), (u, delta, *matrices, starts), y)
    return y


def blocks(channels: int) -> int:
    """Count the blocks of so many channels."""
    return -(-channels // WIDTH)


def width_tuples(A: NDArray[Any], B: NDArray[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give tuples as long as there are states of `B`, and decays a channel of `A`."""
    return (0,) * B.shape[1], (0,) * A.shape[1]


@njit(**OPTIONS)
def own_rows(values, block):  # type: ignore[no-untyped-def]
    """Copy a block's rows of (channel, k) to (k, lane); lanes of no channel are 0.

    Held above `_LOWEST`, so that what rates make with Δ is finite.
    """
    out = np.zeros(values.shape[1] * WIDTH, dtype=values.dtype)
    for lane in range(min(WIDTH, len(values) - block * WIDTH)):
        for k in range(values.shape[1]):
            out[k * WIDTH + lane] = max(values[block * WIDTH + lane, k], out.dtype.type(_LOWEST))
    return out


# One number after the other: an assignment of slices takes numba a second to compile.


@njit(**OPTIONS)
def clear(array):  # type: ignore[no-untyped-def]
    """Set all numbers of a flat array to 0."""
    for i in range(array.size):
        array[i] = 0


@njit(**OPTIONS)
def copy_all(source, target):  # type: ignore[no-untyped-def]
    """Copy all of an array to the first numbers of another."""
    for i in range(source.size):
        target[i] = source[i]


@njit(**OPTIONS)
def _scale(array, factor):  # type: ignore[no-untyped-def]
    for i in range(array.size):
        array[i] *= factor


# Steps.


@njit(**OPTIONS)
def begin_decays(delta, rates, first):  # type: ignore[no-untyped-def]
    """Begin the decays of `SIDE` states from the first of them; `exp2_each` ends them."""
    return exp2_parts(
        (
            delta * load(rates, first * WIDTH),
            delta * load(rates, (first + 1) * WIDTH),
            delta * load(rates, (first + 2) * WIDTH),
            delta * load(rates, (first + 3) * WIDTH),
        )
    )


@njit(**OPTIONS)
def _next(h, n, decay, fed):  # type: ignore[no-untyped-def]
    """Take a state through a step and return it."""
    state = decay * load(h, n * WIDTH) + fed
    store(h, n * WIDTH, state)
    return state


# Forward.


@njit(**OPTIONS)
def _forward_block(block, widths, inputs, y, keep):  # type: ignore[no-untyped-def]
    """Scan the channels of a block: what is whole chunks of 16 channels, and the rest."""
    u, delta, A, B, C, D, starts = inputs
    channels, length = u.shape
    rates, through = own_rows(A, block), own_rows(D.reshape(-1, 1), block)
    _scale(rates, u.dtype.type(LOG2E))
    matrices = (rates, B, C, through)
    h = np.zeros(len(widths[0]) * WIDTH, dtype=u.dtype)
    room = rooms(6, u)
    whole = 0
    if (block + 1) * WIDTH <= channels:
        whole = length // CHUNK
    else:
        clear(room.reshape(-1))
    _forward_whole(block, whole, widths, (u, delta, starts), matrices, h, room, y, keep)
    near, nowhere = (room[3], room[4], room[5]), (0, 0, 0, 0)
    ul, Δl, yl = room[0], room[1], room[2]
    for chunk in range(whole, -(-length // CHUNK)):
        span = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, length))
        if keep.shape[1]:
            copy_all(h, keep[block, chunk])
        to_lanes(u, block, span, ul)
        to_lanes(delta, block, span, Δl)
        row = (ul, Δl, starts[span])
        _advance(widths, row, (rates, B[span], C[span], through), h, yl, (near, near, nowhere))
        from_lanes(yl, block, span, y)


@njit(**OPTIONS)
def _forward_whole(block, whole, widths, row, matrices, h, room, y, keep):  # type: ignore[no-untyped-def]
    """Scan the whole chunks of a block of 16 channels, whose numbers travel as it is scanned."""
    u, delta, starts = row
    rates, B, C, through = matrices
    length = u.shape[1]
    origin = block * WIDTH * length
    near, rows = (room[3], room[4], room[5]), (u.reshape(-1), delta.reshape(-1), y.reshape(-1))
    ul, Δl, yl = room[0], room[1], room[2]
    if whole:
        for step in range(CHUNK):
            travel(rows, near, places(-1, whole, origin, length), step)
    for chunk in range(whole):
        span = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        if keep.shape[1]:
            copy_all(h, keep[block, chunk])
        turn(near[0], ul)
        turn(near[1], Δl)
        way = (rows, near, places(chunk, whole, origin, length))
        row = (ul, Δl, starts[span])
        _advance(widths, row, (rates, B[span], C[span], through), h, yl, way)
        turn_back(yl, near[2])
    if whole:
        for step in range(CHUNK):
            travel(rows, near, places(whole, whole, origin, length), step)


@njit(**OPTIONS)
def _forward_tokens(states, decays, inputs, y):  # type: ignore[no-untyped-def]
    """Scan rows of tokens, where a block's channels already lie side by side."""
    u, delta, A, B, C, D, starts = inputs
    length, channels = u.shape
    log2e = u.dtype.type(LOG2E)
    h = np.zeros(len(states) * WIDTH, dtype=u.dtype)
    room = rooms(4, u)
    ul, Δl, yl, idle = room[0], room[1], room[2], (room[3], room[3], room[3])
    way = (idle, idle, (0, 0, 0, 0))  # tokens are near
    for block in range(channels // WIDTH):
        rates, through = own_rows(A, block), own_rows(D.reshape(-1, 1), block)
        _scale(rates, log2e)
        clear(h)
        for first in range(0, length, CHUNK):
            span = slice(first, min(first + CHUNK, length))
            tokens_to_lanes(u, block, span, ul)
            tokens_to_lanes(delta, block, span, Δl)
            matrices = (rates, B[span], C[span], through)
            _advance((states, decays), (ul, Δl, starts[span]), matrices, h, yl, way)
            lanes_to_tokens(yl, block, span, y)


@njit(**OPTIONS)
def _advance(widths, row, matrices, h, y, way):  # type: ignore[no-untyped-def]
    """Take a block through a chunk, from h to h.

    The decays of `SIDE` states are begun before those of the last ones are used, a step's first
    with the last ones of the step before; those begun at the last step are of no step.
    """
    states, decays = widths
    u, delta, starts = row
    rates, B, C, D = matrices
    rows, near, where = way
    through = load(D, 0)
    beside = len(decays) // SIDE * SIDE if len(decays) > 1 else 0
    if beside:
        begun = begin_decays(load(delta, 0), rates, 0)
    for step in range(len(starts)):
        travel(rows, near, where, step)
        if starts[step]:
            clear(h)
        Δ, x = load(delta, step * WIDTH), load(u, step * WIDTH)
        Δx = Δ * x
        out = through * x
        for n in range(0, beside, SIDE):
            more = n + SIDE < beside
            coming = load(delta, (step if more else step + 1) * WIDTH)
            parts = begin_decays(coming, rates, n + SIDE if more else 0)
            four = exp2_each(begun)
            out = out + _next(h, n, four[0], Δx * B[step, n]) * C[step, n]
            out = out + _next(h, n + 1, four[1], Δx * B[step, n + 1]) * C[step, n + 1]
            out = out + _next(h, n + 2, four[2], Δx * B[step, n + 2]) * C[step, n + 2]
            out = out + _next(h, n + 3, four[3], Δx * B[step, n + 3]) * C[step, n + 3]
            begun = parts
        a = exp2(Δ * load(rates, 0))
        for n in range(beside, len(states)):
            if len(decays) > 1:
                a = exp2(Δ * load(rates, n * WIDTH))
            out = out + _next(h, n, a, Δx * B[step, n]) * C[step, n]
        store(y, step * WIDTH, out)


# Threaded and serial kernels are functions apart, not one compiled twice: numba's cache on disk
# knows a function by its name and would take the one for the other.


@njit(parallel=True, **OPTIONS)
def _forward(states, decays, inputs, y, keep):  # type: ignore[no-untyped-def]
    for block in prange(len(keep)):
        _forward_block(block, (states, decays), inputs, y, keep)


@njit(**OPTIONS)
def _forward_serial(states, decays, inputs, y, keep):  # type: ignore[no-untyped-def]
    for block in range(len(keep)):
        _forward_block(block, (states, decays), inputs, y, keep)
