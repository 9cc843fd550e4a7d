"""The selective scan on a CUDA device, by the official kernels of mamba-ssm.

Imported only when such a device is used: importing mamba-ssm takes seconds.
"""

from __future__ import annotations

import torch
from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
from torch import Tensor


def cuda_scan(
    u: Tensor, delta: Tensor, matrices: tuple[Tensor, Tensor, Tensor, Tensor], starts: Tensor
) -> Tensor:
    """Scan with mamba-ssm's kernel; parameters and result as `stcli.nn.scan.scan_reference`.

    The kernel knows no starts: packed sequences are padded to the longest and scanned as a batch.
    u may be bfloat16 or float16; the kernel wants Δ, B and C as u is, and A and D as float32.
    """
    A, B, C, D = matrices
    first = torch.nonzero(starts).flatten()
    lengths = torch.diff(first, append=first.new_tensor([u.shape[1]]))
    at = torch.arange(int(lengths.max()), device=u.device)
    inside = at < lengths[:, None]
    place = torch.where(inside, first[:, None] + at, 0)

    def spread(rows: Tensor) -> Tensor:
        return (rows.to(u.dtype)[:, place] * inside).permute(1, 0, 2).contiguous()

    A = A.expand(-1, B.shape[1]).float().contiguous()
    y = selective_scan_fn(spread(u), spread(delta), A, spread(B.T), spread(C.T), D.float())
    return y.permute(1, 0, 2)[:, inside]  # type: ignore[no-any-return]
