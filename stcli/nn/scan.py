"""The selective scan (Mamba-1), forward and backward, on a CPU.

Letters (Gu and Dao 2023, arXiv:2312.00752): b batch, l length, d channels, n states,
Δ step, A decay, B input, C output, D skip, u input, h state, y output. For each channel::

    h_l = exp(Δ_l A) h_{l-1} + Δ_l B_l u_l        y_l = C_l · h_l + D u_l

B is discretised by Euler (Δ B), as in the official kernels. Sequences of different lengths lie end
to end along l; `starts` marks where each begins, and the state before it is zero there.

`scan_reference` reads like the equation. `selective_scan` is a fused kernel that never holds a
(d, l, n) array: the forward pass keeps the state every `CHUNK` steps, the backward pass recomputes
the steps between from it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 64
#: Channel groups whose gradients of B and C are summed apart, then in this fixed order.
_GROUPS = 8
_LOG2E = math.log2(math.e)


def scan_reference(
    u: Tensor, delta: Tensor, matrices: tuple[Tensor, Tensor, Tensor, Tensor], starts: Tensor
) -> Tensor:
    """Scan step by step in torch: slow, plain, differentiable.

    Parameters
    ----------
    u, delta : Tensor (d, l)
        Input and positive step.
    matrices : (A, B, C, D)
        Shapes (d, n), (l, n), (l, n), (d,).
    starts : Tensor of bool (l,)
        True at the first step of each sequence.

    Returns
    -------
    Tensor (d, l)
    """
    A, B, C, D = matrices
    h = torch.zeros_like(A)
    y = []
    for step in range(u.shape[1]):
        if starts[step]:
            h = torch.zeros_like(A)
        Δ = delta[:, step, None]
        h = torch.exp(Δ * A) * h + Δ * B[step] * u[:, step, None]
        y.append(h @ C[step])
    return torch.stack(y, dim=1) + D[:, None] * u


def selective_scan(
    u: Tensor, delta: Tensor, matrices: tuple[Tensor, Tensor, Tensor, Tensor], starts: Tensor
) -> Tensor:
    """Scan with the fused CPU kernel; parameters and result as `scan_reference`.

    The dtype is that of `u`: float32 (exponential by polynomial, relative error below 3e-7) or
    float64 (the C library's exponential).
    """
    return _SelectiveScan.apply(u, delta, *matrices, starts)  # type: ignore[no-any-return, no-untyped-call]


class _SelectiveScan(torch.autograd.Function):
    """Joins the numba kernels to autograd."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, *rest: Tensor) -> Tensor:
        A, B, C, D, starts = rest
        arrays = [_array(t) for t in (u, delta, A, B, C, D)]
        flags = starts.numpy()
        y = np.empty_like(arrays[0])
        chunks = -(-u.shape[1] // CHUNK)
        keep = np.empty((u.shape[0], chunks, A.shape[1]), dtype=y.dtype)
        kernel = _forward if torch.get_num_threads() > 1 else _forward_serial
        kernel(*arrays, flags, y, keep)
        ctx.save_for_backward(u, delta, A, B, C, D, starts)
        ctx.keep = keep
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, starts = ctx.saved_tensors
        arrays = [_array(t) for t in tensors]
        u, A, B = arrays[0], arrays[2], arrays[3]
        groups = min(_GROUPS, len(u))
        out = [np.empty_like(u), np.empty_like(u), np.empty_like(A)]
        shared = [np.zeros((groups, *B.shape), dtype=u.dtype) for _ in range(2)]
        du_skip = np.empty(len(u), dtype=u.dtype)
        dy = _array(gradients[0])
        _backward(*arrays, starts.numpy(), ctx.keep, dy, *out, *shared, du_skip)
        dB, dC = (part.sum(axis=0) for part in shared)
        results = (out[0], out[1], out[2], dB, dC, du_skip)
        return (*(torch.from_numpy(a) for a in results), None)


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.detach().numpy())


@njit(inline="always")
def _exp(x, exact):  # type: ignore[no-untyped-def]
    """Exponential of x <= 0: exact, or 2^k times a polynomial (degree 6 on [-1/2, 1/2])."""
    if exact:
        return math.exp(x)
    t = max(x, np.float32(-87.0)) * np.float32(_LOG2E)
    whole = np.float32(math.floor(t + np.float32(0.5)))
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


def _forward_loop(u, delta, A, B, C, D, starts, y, keep):  # type: ignore[no-untyped-def]
    channels, length = u.shape
    states = A.shape[1]
    exact = u.itemsize == 8
    for d in prange(channels):
        h = np.zeros(states, dtype=u.dtype)
        for step in range(length):
            if step % CHUNK == 0:
                keep[d, step // CHUNK] = h
            if starts[step]:
                h[:] = 0
            Δ = delta[d, step]
            Δu = Δ * u[d, step]
            total = u.dtype.type(0)
            for n in range(states):
                h[n] = _exp(Δ * A[d, n], exact) * h[n] + Δu * B[step, n]
                total += C[step, n] * h[n]
            y[d, step] = total + D[d] * u[d, step]


_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz"},
}
_forward = njit(parallel=True, **_OPTIONS)(_forward_loop)
_forward_serial = njit(**_OPTIONS)(_forward_loop)


@njit(parallel=True, **_OPTIONS)
def _backward(u, delta, A, B, C, D, starts, keep, dy, du, dΔ, dA, dB, dC, dD):  # type: ignore[no-untyped-def]
    channels, length = u.shape
    states = A.shape[1]
    exact = u.itemsize == 8
    groups = dB.shape[0]
    for group in prange(groups):
        h = np.empty((CHUNK + 1, states), dtype=u.dtype)
        decay = np.empty((CHUNK, states), dtype=u.dtype)
        g = np.empty(states, dtype=u.dtype)
        for d in range(group * channels // groups, (group + 1) * channels // groups):
            g[:] = 0
            dA[d, :] = 0
            skip = u.dtype.type(0)
            for chunk in range((length - 1) // CHUNK, -1, -1):
                first = chunk * CHUNK
                last = min(first + CHUNK, length)
                h[0] = keep[d, chunk]
                for step in range(first, last):
                    i = step - first
                    Δ = delta[d, step]
                    Δu = Δ * u[d, step]
                    fresh = starts[step]
                    for n in range(states):
                        a = _exp(Δ * A[d, n], exact)
                        decay[i, n] = u.dtype.type(0) if fresh else a
                        h[i + 1, n] = decay[i, n] * h[i, n] + Δu * B[step, n]
                for step in range(last - 1, first - 1, -1):
                    i = step - first
                    Δ = delta[d, step]
                    gradient = dy[d, step]
                    to_Δ = u.dtype.type(0)
                    to_u = u.dtype.type(0)
                    for n in range(states):
                        g[n] += C[step, n] * gradient
                        dC[group, step, n] += gradient * h[i + 1, n]
                        dB[group, step, n] += g[n] * Δ * u[d, step]
                        to_u += g[n] * B[step, n]
                        kept = g[n] * decay[i, n] * h[i, n]
                        to_Δ += kept * A[d, n]
                        dA[d, n] += kept * Δ
                        g[n] *= decay[i, n]
                    dΔ[d, step] = to_Δ + to_u * u[d, step]
                    du[d, step] = to_u * Δ + D[d] * gradient
                    skip += gradient * u[d, step]
            dD[d] = skip
