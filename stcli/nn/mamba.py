"""The Mamba block, with the official names and shapes of its weights.

Shapes: tokens (batch, length, dim); inside, packed as (length, channels). Weights load in
``mamba_ssm.Mamba`` and ``transformers.MambaMixer`` and back (``strict=True``).
Source: Gu and Dao 2023, arXiv:2312.00752, section 3.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stcli.nn.scan import selective_scan


class Mamba(nn.Module):
    """Mamba-1 block.

    Parameters
    ----------
    d_model : int
        Width of a token.
    d_state, d_conv, expand : int
        States a channel, taps of the causal convolution, inner channels over `d_model`.
    """

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * d_model, math.ceil(d_model / 16)
        self.d_state, self.rank = d_state, rank
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, d_state + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d_model, bias=False)
        self._initialise_step()

    def _initialise_step(self) -> None:
        """Start with steps Δ log-uniform in [0.001, 0.1] (section 3.6 of the paper)."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        step = torch.exp(
            torch.rand(len(self.D)) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)
        )
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, x: Tensor, starts: Tensor | None = None) -> Tensor:
        """Scan tokens causally.

        Parameters
        ----------
        x : Tensor (batch, length, d_model)
        starts : Tensor of bool (length,), optional
            With a batch of one: the first token of each of several packed sequences.

        Returns
        -------
        Tensor (batch, length, d_model)
        """
        batch, length, _ = x.shape
        if starts is None:
            starts = (torch.arange(batch * length) % length) == 0
        u, z = self.in_proj(x.reshape(batch * length, -1)).chunk(2, dim=1)
        u = F.silu(self._convolve(u, starts))
        low, B, C = self.x_proj(u).split([self.rank, self.d_state, self.d_state], dim=1)
        delta = F.softplus(self.dt_proj(low))
        A = -torch.exp(self.A_log)
        y = selective_scan(u.T, delta.T, (A, B, C, self.D), starts).T
        return self.out_proj(y * F.silu(z)).reshape(batch, length, -1)  # type: ignore[no-any-return]

    def _convolve(self, u: Tensor, starts: Tensor) -> Tensor:
        """Convolve along the length, causally, never across the start of a sequence."""
        at = torch.arange(len(u))
        since = at - torch.cummax(torch.where(starts, at, 0), dim=0).values
        taps = self.conv1d.weight[:, 0, :]
        bias = self.conv1d.bias if self.conv1d.bias is not None else 0.0
        total = u * taps[:, -1] + bias
        for back in range(1, taps.shape[1]):
            shifted = F.pad(u, (0, 0, back, 0))[: len(u)]
            total = total + shifted * (since >= back)[:, None] * taps[:, -1 - back]
        return total


class BidirectionalMamba(nn.Module):
    """Two Mamba blocks, along the sequence and against it, normalised and residual.

    Parameters
    ----------
    d_model, d_state : int
        As in `Mamba`.
    """

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.along = Mamba(d_model, d_state)
        self.against = Mamba(d_model, d_state)

    def forward(self, x: Tensor, starts: Tensor) -> Tensor:
        """Mix packed sequences (length, d_model), each in both directions."""
        t = self.norm(x)[None]
        ends = torch.cat([starts[1:], starts.new_ones(1)])
        against = self.against(t.flip(1), ends.flip(0)).flip(1)
        return x + (self.along(t, starts) + against)[0]  # type: ignore[no-any-return]
