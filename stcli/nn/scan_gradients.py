"""Kernels of the selective scan's gradients on a CPU; see `stcli.nn.scan_kernels`.

A group of blocks goes back through the chunks. Of each chunk the steps are computed again from the
states before it, which the forward pass has kept.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, exp2, exp2_each, load, splat, store, total
from stcli.nn.scan_kernels import (
    LOG2E,
    SIDE,
    Arrays,
    begin_decays,
    clear,
    copy_all,
    own_rows,
    width_tuples,
)
from stcli.nn.scan_rows import CHUNK, from_lanes, to_lanes


def scan_backward(inputs: Arrays, gradients: Arrays, threaded: bool) -> None:
    """Fill the gradients of u, Δ, A and D, and those of B and C of each group of blocks.

    Parameters
    ----------
    inputs : (u, delta, A, B, C, D, starts, keep, dy)
    gradients : (du, dΔ, dA, dD, dB, dC)
        dB and dC of shape (group, l, n).
    threaded : bool
    """
    run = _backward if threaded else _backward_serial
    run(*width_tuples(*inputs[2:4]), inputs, gradients)


@njit(**OPTIONS)
def _backward_group(group, states, decays, inputs, gradients):  # type: ignore[no-untyped-def]
    """Go back through the chunks of a group's blocks."""
    starts, keep = inputs[6], inputs[7]
    dA, dD, dB, dC = gradients[2:]
    groups, (blocks, chunks, wide) = len(dB), keep.shape
    low, high = group * blocks // groups, (group + 1) * blocks // groups
    ahead = np.zeros((high - low, wide), dtype=dB.dtype)
    sums = (np.zeros_like(ahead), np.zeros((high - low, WIDTH), dtype=dB.dtype))
    shared = np.empty((2, CHUNK * wide), dtype=dB.dtype)
    for chunk in range(chunks - 1, -1, -1):
        span = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, len(starts)))
        clear(shared[0])
        clear(shared[1])
        for block in range(low, high):
            at = block - low
            own = (ahead[at], sums[0][at], sums[1][at], shared[0], shared[1])
            _backward_chunk(block, span, (states, decays), inputs, gradients, own)
        for step in range(span.stop - span.start):
            for n in range(len(states)):
                place = (step * len(states) + n) * WIDTH
                dB[group, span.start + step, n] = total(load(shared[0], place))
                dC[group, span.start + step, n] = total(load(shared[1], place))
    for d in range(low * WIDTH, min(high * WIDTH, len(dD))):
        block, lane = d // WIDTH - low, d % WIDTH
        dD[d] = sums[1][block, lane]
        dA[d] = 0
        for n in range(len(states)):
            dA[d, n % len(decays)] += sums[0][block, n * WIDTH + lane]


@njit(**OPTIONS)
def _backward_chunk(block, span, widths, inputs, gradients, own):  # type: ignore[no-untyped-def]
    """Go back through a chunk of a block; `own` is what the block carries and adds to."""
    decays = widths[1]
    u, delta, A, B, C, D, starts, keep, dy = inputs
    ahead, sumA, sumD, sumB, sumC = own
    ul = np.zeros(CHUNK * WIDTH, dtype=u.dtype)
    Δl, gl = np.zeros_like(ul), np.zeros_like(ul)
    to_lanes(u, block, span, ul)
    to_lanes(delta, block, span, Δl)
    to_lanes(dy, block, span, gl)
    h = np.empty((CHUNK + 1) * len(ahead), dtype=u.dtype)
    copy_all(keep[block, span.start // CHUNK], h)
    decay = np.empty(CHUNK * len(decays) * WIDTH, dtype=u.dtype)
    rates = own_rows(A, block)
    _refill(widths, (ul, Δl, starts[span]), (rates, B[span]), decay, h)
    through = own_rows(D.reshape(-1, 1), block)
    matrices = (rates, B[span], C[span], through)
    _retreat(widths, (ul, Δl, gl), matrices, (decay, h), (ahead, sumA, sumD, sumB, sumC))
    from_lanes(ul, block, span, gradients[0])
    from_lanes(Δl, block, span, gradients[1])


@njit(**OPTIONS)
def _refill(widths, row, matrices, decay, h):  # type: ignore[no-untyped-def]
    """Fill a chunk's decays, 0 at a start, and the states after each step; the first are given."""
    states, decays = widths
    u, delta, starts = row
    rates, B = matrices
    log2e = u.dtype.type(LOG2E)
    for step in range(len(starts)):
        Δ = load(delta, step * WIDTH)
        Δx = Δ * load(u, step * WIDTH)
        live = u.dtype.type(0 if starts[step] else 1)
        place = step * len(decays) * WIDTH
        beside = len(decays) // SIDE * SIDE
        for n in range(0, beside, SIDE):
            four = exp2_each(begin_decays(Δ * log2e, rates, n))
            store(decay, place + n * WIDTH, four[0] * live)
            store(decay, place + (n + 1) * WIDTH, four[1] * live)
            store(decay, place + (n + 2) * WIDTH, four[2] * live)
            store(decay, place + (n + 3) * WIDTH, four[3] * live)
        for n in range(beside, len(decays)):
            a = exp2(Δ * log2e * load(rates, n * WIDTH)) * live
            store(decay, place + n * WIDTH, a)
        for n in range(len(states)):
            a = load(decay, (step * len(decays) + n % len(decays)) * WIDTH)
            place = (step * len(states) + n) * WIDTH
            state = a * load(h, place) + Δx * B[step, n]
            store(h, place + len(states) * WIDTH, state)


@njit(**OPTIONS)
def _retreat(widths, row, matrices, kept, own):  # type: ignore[no-untyped-def]
    """Go back through a chunk's steps; the gradients of u and Δ take the places of u and Δ."""
    states, decays = widths
    u, delta, dy = row
    rates, B, C, D = matrices
    decay, h = kept
    ahead, sumA, sumD, sumB, sumC = own
    through, sum_through = load(D, 0), load(sumD, 0)
    for step in range(len(B) - 1, -1, -1):
        Δ, x = load(delta, step * WIDTH), load(u, step * WIDTH)
        gradient = load(dy, step * WIDTH)
        Δx = Δ * x
        fed = slope = splat(u.dtype.type(0))
        for n in range(len(states)):
            k = n % len(decays)
            place = (step * len(states) + n) * WIDTH
            g = load(ahead, n * WIDTH) + gradient * C[step, n]
            after = load(h, place + len(states) * WIDTH)
            store(sumC, place, load(sumC, place) + gradient * after)
            store(sumB, place, load(sumB, place) + Δx * g)
            fed = fed + g * B[step, n]
            g = g * load(decay, (step * len(decays) + k) * WIDTH)
            store(ahead, n * WIDTH, g)
            weight = g * load(h, place)
            slope = slope + weight * load(rates, k * WIDTH)
            store(sumA, n * WIDTH, load(sumA, n * WIDTH) + weight * Δ)
        sum_through = sum_through + gradient * x
        store(u, step * WIDTH, fed * Δ + gradient * through)
        store(delta, step * WIDTH, fed * x + slope)
    store(sumD, 0, sum_through)


@njit(parallel=True, **OPTIONS)
def _backward(states, decays, inputs, gradients):  # type: ignore[no-untyped-def]
    for group in prange(len(gradients[4])):
        _backward_group(group, states, decays, inputs, gradients)


@njit(**OPTIONS)
def _backward_serial(states, decays, inputs, gradients):  # type: ignore[no-untyped-def]
    for group in range(len(gradients[4])):
        _backward_group(group, states, decays, inputs, gradients)
