"""The selective scan on a CPU, for tensors: joins `stcli.nn.scan_kernels` to autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import config, set_num_threads
from numpy.typing import NDArray
from torch import Tensor

from stcli.heap import empty
from stcli.nn.scan_gradients import scan_backward
from stcli.nn.scan_kernels import blocks, scan_forward

#: Groups of blocks whose gradients of B and C are summed apart.
_GROUPS = 8


def cpu_scan(
    u: Tensor, delta: Tensor, matrices: tuple[Tensor, Tensor, Tensor, Tensor], starts: Tensor
) -> Tensor:
    """Scan with the fused kernels; parameters and result as `stcli.nn.scan.scan_reference`.

    float32 (exponential by polynomial, relative error below 3e-7 + 1e-7 |x|, absolute below 2e-7)
    or float64 (the C library's).
    """
    inputs = (u, delta, *matrices)
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
        return _Scan.apply(*inputs, starts)  # type: ignore[no-any-return, no-untyped-call]
    return _scanned((*inputs, starts), kept=False)[0]


class _Scan(torch.autograd.Function):
    """Joins the kernels to autograd."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        y, ctx.keep = _scanned(inputs, kept=True)
        ctx.save_for_backward(*inputs)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *scanned, starts = ctx.saved_tensors
        arrays = [_array(t) for t in scanned]
        own, shared = _empty_gradients(arrays)
        inputs = (*arrays, starts.numpy(), ctx.keep, _array(gradients[0]))
        scan_backward(inputs, (*own, *shared), _threads() > 1)
        du, dΔ, dA, dD = own
        dB, dC = (part.sum(axis=0) for part in shared)
        return (*(torch.from_numpy(a) for a in (du, dΔ, dA, dB, dC, dD)), None)


def _scanned(inputs: tuple[Tensor, ...], kept: bool) -> tuple[Tensor, NDArray[Any]]:
    """Return y, and the states before every chunk where these are to be kept."""
    y, keep = scan_forward(tuple(map(_array, inputs)), kept, _threads() > 1)
    return torch.from_numpy(y), keep


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
    return np.ascontiguousarray((tensor.detach() if tensor.requires_grad else tensor).numpy())


def _empty_gradients(arrays: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Arrays for the gradients of u, Δ, A and D, and of B and C for each group of blocks."""
    u, _, A, B, _, D = arrays
    groups = min(_GROUPS, blocks(len(u)))
    own = [empty(a.shape, a.dtype) for a in (u, u, A, D)]
    return own, [empty((groups, *B.shape), u.dtype) for _ in range(2)]
