"""The selective scan on a CPU: fused kernels that never hold a (d, l, n) array.

Letters as in `stcli.nn.scan`. Channels are shared out in groups, groups over threads. A thread
walks along the sequence in spans and takes all its channels through a span before the next, so
that the span's rows of B and C stay in cache however long the sequence is. The forward pass keeps
the state every `CHUNK` steps; the backward pass recomputes the steps between from it.

Kernels take the number of states as the length of a tuple, which is a constant of its type: loops
over states then unroll into vector instructions. A kernel is compiled at its first use and kept
on disk.

No result depends on the number of threads: a channel is summed by one thread in one order, and
the gradients of B and C are summed over a fixed number of groups in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import config, njit, prange, set_num_threads
from numpy.typing import NDArray
from torch import Tensor

#: Steps between kept states, and steps that all channels of a group take before the next.
CHUNK = 64
_SPAN = 256
_GROUPS = 8
_LOG2E = math.log2(math.e)
_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
}


def cpu_scan(
    u: Tensor, delta: Tensor, matrices: tuple[Tensor, Tensor, Tensor, Tensor], starts: Tensor
) -> Tensor:
    """Scan with the fused kernels; parameters and result as `stcli.nn.scan.scan_reference`.

    float32 (exponential by polynomial, relative error below 3e-7 + 1e-7 |x|, absolute below 2e-7)
    or float64 (the C library's).
    """
    return _Scan.apply(u, delta, *matrices, starts)  # type: ignore[no-any-return, no-untyped-call]


class _Scan(torch.autograd.Function):
    """Joins the kernels to autograd."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, *rest: Tensor) -> Tensor:
        A, B, C, D, starts = rest
        arrays = [_array(t) for t in (u, delta, A, B, C, D)]
        y = np.empty_like(arrays[0])
        chunks = -(-u.shape[1] // CHUNK) if any(ctx.needs_input_grad) else 0
        keep = np.empty((len(y), chunks, B.shape[1]), dtype=y.dtype)
        run = _forward if _threads() > 1 else _forward_serial
        run((0,) * B.shape[1], *arrays, starts.numpy(), y, keep)
        ctx.save_for_backward(u, delta, A, B, C, D, starts)
        ctx.keep = keep
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, A, B, C, D, starts = ctx.saved_tensors
        arrays = [_array(t) for t in (u, delta, A, B, C, D)]
        run = _backward if _threads() > 1 else _backward_serial
        own, shared = _empty_gradients(arrays)
        inputs = (*arrays, starts.numpy(), ctx.keep, _array(gradients[0]))
        run((0,) * B.shape[1], inputs, (*own, *(part.reshape(len(part), -1) for part in shared)))
        du, dΔ, dA, dD = own
        if A.shape[1] == 1:
            dA = dA.sum(axis=1, keepdims=True)
        dB, dC = (part.sum(axis=0) for part in shared)
        return (*(torch.from_numpy(a) for a in (du, dΔ, dA, dB, dC, dD)), None)


def _threads() -> int:
    """Threads that torch may use; numba is held to as many."""
    allowed = torch.get_num_threads()
    threads = min(allowed, int(config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    if threads > 1:
        set_num_threads(threads)
        if torch.get_num_threads() != allowed:
            torch.set_num_threads(allowed)  # numba's pool sets OpenMP's number as it starts
    return threads


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.detach().numpy())


def _empty_gradients(arrays: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Arrays for the gradients of u, Δ, A and D, and of B and C for each group of channels."""
    u, _, A, B, _, D = arrays
    groups = min(_GROUPS, len(u))
    decays = np.zeros((len(A), B.shape[1]), dtype=u.dtype)
    own = [np.empty_like(u), np.empty_like(u), decays, np.zeros_like(D)]
    return own, [np.zeros((groups, *B.shape), dtype=u.dtype) for _ in range(2)]


@njit(inline="always")
def _exp(x, exact):  # type: ignore[no-untyped-def]
    """Exponential of x <= 0: the C library's, or 2^k times a polynomial of degree 6.

    NumPy's floor becomes one vector instruction; that of math, through an integer, does not.
    """
    if exact:
        return math.exp(x)
    t = max(x, np.float32(-87.0)) * np.float32(_LOG2E)
    whole = np.floor(t + np.float32(0.5))
    f = t - whole
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1.0)
    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return p * bits.view(np.float32)


@njit(**_OPTIONS)
def _forward_group(group, width, u, delta, A, B, C, D, starts, y, keep):  # type: ignore[no-untyped-def]
    """Scan the channels of a group."""
    states = len(width)
    channels, length = u.shape
    groups = min(_GROUPS, channels)
    low, high = group * channels // groups, (group + 1) * channels // groups
    state = np.zeros((high - low, states), dtype=u.dtype)
    nothing = keep[0, :0]
    for first in range(0, length, _SPAN):
        span = slice(first, min(first + _SPAN, length))
        for d in range(low, high):
            kept = keep[d, first // CHUNK :] if keep.shape[1] else nothing
            row = (u[d, span], delta[d, span], starts[span])
            if A.shape[1] == 1:  # one decay for all states: Mamba-2
                _advance_shared(
                    width, row, A[d, 0], B[span], C[span], state[d - low], y[d, span], kept
                )
            else:
                _advance(width, row, A[d], B[span], C[span], state[d - low], y[d, span], kept)
            for step in range(span.start, span.stop):
                y[d, step] += D[d] * u[d, step]


@njit(**_OPTIONS)
def _advance(width, row, A, B, C, state, y, kept):  # type: ignore[no-untyped-def]
    """Take a channel through a span, from `state` to `state`."""
    u, delta, starts = row
    exact = u.itemsize == 8
    h = np.empty(len(width), dtype=u.dtype)
    h[:] = state
    for step in range(len(u)):
        if len(kept) and step % CHUNK == 0:
            kept[step // CHUNK] = h
        if starts[step]:
            h[:] = 0
        Δ = delta[step]
        Δu = Δ * u[step]
        total = u.dtype.type(0)
        for n in range(len(width)):
            h[n] = _exp(Δ * A[n], exact) * h[n] + Δu * B[step, n]
            total += C[step, n] * h[n]
        y[step] = total
    state[:] = h


@njit(**_OPTIONS)
def _advance_shared(width, row, A, B, C, state, y, kept):  # type: ignore[no-untyped-def]
    """Take a channel through a span with one decay for all states."""
    u, delta, starts = row
    exact = u.itemsize == 8
    h = np.empty(len(width), dtype=u.dtype)
    h[:] = state
    for step in range(len(u)):
        if len(kept) and step % CHUNK == 0:
            kept[step // CHUNK] = h
        if starts[step]:
            h[:] = 0
        Δ = delta[step]
        Δu = Δ * u[step]
        a = _exp(Δ * A, exact)
        total = u.dtype.type(0)
        for n in range(len(width)):
            h[n] = a * h[n] + Δu * B[step, n]
            total += C[step, n] * h[n]
        y[step] = total
    state[:] = h


@njit(**_OPTIONS)
def _backward_group(group, width, inputs, gradients):  # type: ignore[no-untyped-def]
    """Go back through the chunks of a group's channels; gradients of B and C lie flat."""
    u, delta, A, B, C, D, starts, keep, dy = inputs
    du, dΔ, dA, dD, dB, dC = gradients
    channels, length = u.shape
    groups, states = len(dB), len(width)
    low, high = group * channels // groups, (group + 1) * channels // groups
    g = np.zeros((high - low, states), dtype=u.dtype)
    h = np.empty((CHUNK + 1, states), dtype=u.dtype)
    decay = np.empty((CHUNK + 1, states), dtype=u.dtype)
    slope = np.empty((CHUNK + 1, states), dtype=u.dtype)
    spread = np.empty((CHUNK + 1, states), dtype=u.dtype)
    for chunk in range((length - 1) // CHUNK, -1, -1):
        span = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, length))
        flat = slice(span.start * states, span.stop * states)
        count = flat.stop - flat.start
        for d in range(low, high):
            row = (u[d, span], delta[d, span], dy[d, span])
            h[0] = keep[d, chunk]
            _decays(width, row[1], A[d], starts[span], decay)
            _states(width, row, B[span], decay, h)
            _chain(width, row[2], C[span], decay, slope, g[d - low])
            _spread(row[2], spread)
            _add_products(count, h.ravel()[states:], spread.ravel(), dC[group, flat])
            _spread(row[0] * row[1], spread)
            _add_products(count, slope.ravel(), spread.ravel(), dB[group, flat])
            _dots(width, slope, B[span], du[d, span])
            _multiply(count, slope.ravel(), decay.ravel(), h.ravel())
            _weigh(width, slope, A[d], dΔ[d, span])
            _add_weighed(width, slope, row[1], dA[d])
            for step in range(span.start, span.stop):
                dΔ[d, step] += du[d, step] * u[d, step]
                du[d, step] = du[d, step] * delta[d, step] + D[d] * dy[d, step]
                dD[d] += dy[d, step] * u[d, step]


# The steps of the backward pass through a chunk. Each is small, with few arrays: the compiler,
# which cannot know that two arrays do not overlap, then tests for it once and vectorises.


@njit(**_OPTIONS)
def _decays(width, delta, A, starts, decay):  # type: ignore[no-untyped-def]
    """Fill each step's decay, 0 at a start."""
    exact = decay.itemsize == 8
    for step in range(len(delta)):
        Δ = delta[step]
        if len(A) == 1:
            decay[step] = _exp(Δ * A[0], exact)
        else:
            for n in range(len(width)):
                decay[step, n] = _exp(Δ * A[n], exact)
        if starts[step]:
            decay[step] = 0


@njit(**_OPTIONS)
def _states(width, row, B, decay, h):  # type: ignore[no-untyped-def]
    """Fill the states after each step; row 0 of h is given."""
    u, delta, _ = row
    for step in range(len(u)):
        Δu = delta[step] * u[step]
        for n in range(len(width)):
            h[step + 1, n] = decay[step, n] * h[step, n] + Δu * B[step, n]


@njit(**_OPTIONS)
def _chain(width, dy, C, decay, slope, g):  # type: ignore[no-untyped-def]
    """Fill the gradient of the state after each step, the last first; g passes on to before."""
    last = len(dy)
    slope[last] = g
    decay[last] = 1
    for step in range(last - 1, -1, -1):
        gradient = dy[step]
        for n in range(len(width)):
            slope[step, n] = slope[step + 1, n] * decay[step + 1, n] + C[step, n] * gradient
    g[:] = slope[0] * decay[0]


@njit(**_OPTIONS)
def _spread(row, out):  # type: ignore[no-untyped-def]
    """Write each step's value to all its states."""
    for step in range(len(row)):
        out[step] = row[step]


@njit(**_OPTIONS)
def _add_products(count, x, y, total):  # type: ignore[no-untyped-def]
    for i in range(count):
        total[i] += x[i] * y[i]


@njit(**_OPTIONS)
def _multiply(count, total, x, y):  # type: ignore[no-untyped-def]
    for i in range(count):
        total[i] *= x[i] * y[i]


@njit(**_OPTIONS)
def _dots(width, x, y, out):  # type: ignore[no-untyped-def]
    """Sum the products of two arrays (step, n) over n."""
    for step in range(len(out)):
        total = x.dtype.type(0)
        for n in range(len(width)):
            total += x[step, n] * y[step, n]
        out[step] = total


@njit(**_OPTIONS)
def _weigh(width, x, A, out):  # type: ignore[no-untyped-def]
    """Sum each row of (step, n), weighed by A, which may be one value for all n."""
    weight = np.empty(len(width), dtype=x.dtype)
    weight[:] = A
    for step in range(len(out)):
        total = x.dtype.type(0)
        for n in range(len(width)):
            total += x[step, n] * weight[n]
        out[step] = total


@njit(**_OPTIONS)
def _add_weighed(width, x, row, total):  # type: ignore[no-untyped-def]
    """Add the rows of (step, n), each weighed by its step's value, to (n,)."""
    here = np.zeros(len(width), dtype=x.dtype)
    for step in range(len(row)):
        weight = row[step]
        for n in range(len(width)):
            here[n] += x[step, n] * weight
    for n in range(len(width)):
        total[n] += here[n]


# Threaded and serial kernels are functions apart, not one compiled twice: numba's cache on disk
# knows a function by its name and would take the one for the other.
@njit(parallel=True, **_OPTIONS)
def _forward(width, u, delta, A, B, C, D, starts, y, keep):  # type: ignore[no-untyped-def]
    for group in prange(min(_GROUPS, len(u))):
        _forward_group(group, width, u, delta, A, B, C, D, starts, y, keep)


@njit(**_OPTIONS)
def _forward_serial(width, u, delta, A, B, C, D, starts, y, keep):  # type: ignore[no-untyped-def]
    for group in range(min(_GROUPS, len(u))):
        _forward_group(group, width, u, delta, A, B, C, D, starts, y, keep)


@njit(parallel=True, **_OPTIONS)
def _backward(width, inputs, gradients):  # type: ignore[no-untyped-def]
    for group in prange(len(gradients[4])):
        _backward_group(group, width, inputs, gradients)


@njit(**_OPTIONS)
def _backward_serial(width, inputs, gradients):  # type: ignore[no-untyped-def]
    for group in range(len(gradients[4])):
        _backward_group(group, width, inputs, gradients)
