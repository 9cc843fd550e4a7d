"""The selective scan: its equations, in torch. Which kernel runs them: `stcli.nn.backend`.

Letters (Gu and Dao 2023, arXiv:2312.00752; Dao and Gu 2024, arXiv:2405.21060): b batch, l length,
d channels, n states, Δ step, A decay, B input, C output, D skip, u input, h state, y output; and
for Mamba-2 h heads of p channels each, which share Δ and a scalar A, g groups of B and C.

Mamba-1, for each channel::

    h_l = exp(Δ_l A) h_{l-1} + Δ_l B_l u_l        y_l = C_l · h_l + D u_l

B is discretised by Euler (Δ B), as in the official kernels. Mamba-2 (SSD) is the same recurrence
with one A for all states of a head, so one kernel serves both: A of shape (d, n), or (d, 1).

Sequences of different lengths lie end to end along l; `starts` marks where each begins, and the
state before it is zero there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Matrices = tuple[Tensor, Tensor, Tensor, Tensor]
Scan = Callable[[Tensor, Tensor, Matrices, Tensor], Tensor]


def scan_reference(u: Tensor, delta: Tensor, matrices: Matrices, starts: Tensor) -> Tensor:
    """Scan step by step in torch: slow, plain, differentiable.

    Parameters
    ----------
    u, delta : Tensor (d, l)
        Input and positive step.
    matrices : (A, B, C, D)
        Shapes (d, n) or (d, 1), (l, n), (l, n), (d,).
    starts : Tensor of bool (l,)
        True at the first step of each sequence.

    Returns
    -------
    Tensor (d, l)
    """
    A, B, C, D = matrices
    zero = u.new_zeros(len(u), B.shape[1])
    h = zero
    y = []
    for step in range(u.shape[1]):
        Δ = delta[:, step, None]
        h = torch.exp(Δ * A) * (zero if starts[step] else h) + Δ * B[step] * u[:, step, None]
        y.append(h @ C[step])
    return torch.stack(y, dim=1) + D[:, None] * u


def ssd_reference(x: Tensor, delta: Tensor, matrices: Matrices, starts: Tensor) -> Tensor:
    """Scan heads step by step in torch (Mamba-2): slow, plain, differentiable.

    Parameters
    ----------
    x : Tensor (l, h, p)
    delta : Tensor (l, h)
        Positive step of each head.
    matrices : (A, B, C, D)
        Shapes (h,), (l, g, n), (l, g, n), (h,).
    starts : Tensor of bool (l,)

    Returns
    -------
    Tensor (l, h, p)
    """
    A, B, C, D = matrices
    each = x.shape[1] // B.shape[1]
    B, C = B.repeat_interleave(each, dim=1), C.repeat_interleave(each, dim=1)
    h = x.new_zeros(x.shape[1], x.shape[2], B.shape[2])
    y = []
    for step in range(len(x)):
        decay = torch.exp(delta[step] * A) * (~starts[step]).to(x.dtype)
        fed = (delta[step, :, None] * x[step])[:, :, None] * B[step][:, None, :]
        h = decay[:, None, None] * h + fed
        y.append((h * C[step][:, None, :]).sum(dim=2))
    return torch.stack(y) + D[:, None] * x


def ssd_scan(x: Tensor, delta: Tensor, matrices: Matrices, starts: Tensor, scan: Scan) -> Tensor:
    """Scan heads (Mamba-2) with a kernel for channels; parameters as `ssd_reference`.

    A head's channels share its Δ and A; groups of B and C are scanned one after the other.
    """
    A, B, C, D = matrices
    length, heads, width = x.shape
    groups = B.shape[1]
    u = x.permute(1, 2, 0).reshape(groups, -1, length)
    Δ = delta.T.repeat_interleave(width, dim=0).reshape(groups, -1, length)
    a, d = (t.repeat_interleave(width).reshape(groups, -1) for t in (A, D))
    y = [scan(u[g], Δ[g], (a[g][:, None], B[:, g], C[:, g], d[g]), starts) for g in range(groups)]
    return torch.cat(y).reshape(heads, width, length).permute(2, 0, 1)
