"""Mamba and Mamba-2 blocks, with the official names and shapes of their weights.

Shapes: tokens (batch, length, dim); inside, packed as (length, channels). Weights load in
``mamba_ssm`` and in ``transformers`` and back (``strict=True``).
Sources: Gu and Dao 2023, arXiv:2312.00752, section 3.4; Dao and Gu 2024, arXiv:2405.21060,
section 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stcli.nn.backend import Backend, choose
from stcli.nn.scan import ssd_scan


@dataclass(frozen=True)
class State:
    """What a block remembers between single tokens.

    Attributes
    ----------
    window : Tensor (batch, channels, d_conv - 1)
        The last inputs of the convolution.
    h : Tensor (batch, channels, n)
        State of the scan.
    """

    window: Tensor
    h: Tensor


class Mamba(nn.Module):
    """Mamba-1 block.

    Parameters
    ----------
    d_model : int
        Width of a token.
    d_state, d_conv, expand : int
        States a channel, taps of the causal convolution, inner channels over `d_model`.
    backend : Backend, optional
        What runs the scan; by default the CPU's kernel.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        backend: Backend | None = None,
    ) -> None:
        super().__init__()
        inner, rank = expand * d_model, math.ceil(d_model / 16)
        self.d_state, self.rank, self.backend = d_state, rank, backend or choose()
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, d_state + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d_model, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(_initial_step(inner))

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
        starts = _starts(x) if starts is None else starts
        u, z = self.in_proj(x.reshape(batch * length, -1)).chunk(2, dim=1)
        u = F.silu(_convolve(u, self.conv1d, starts))
        delta, B, C = self._select(u)
        A = -torch.exp(self.A_log)
        y = self.backend.scan(u.T, delta.T, (A, B, C, self.D), starts).T
        return self.out_proj(y * F.silu(z)).reshape(batch, length, -1)  # type: ignore[no-any-return]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Take one token (batch, d_model); equal to `forward` token by token."""
        u, z = self.in_proj(x).chunk(2, dim=1)
        u, window = _convolve_step(u, self.conv1d, state)
        u = F.silu(u)
        delta, B, C = self._select(u)
        h = u.new_zeros(*u.shape, self.d_state) if state is None else state.h
        A = -torch.exp(self.A_log)
        h = torch.exp(delta[:, :, None] * A) * h + (delta * u)[:, :, None] * B[:, None]
        y = (h * C[:, None]).sum(dim=2) + self.D * u
        return self.out_proj(y * F.silu(z)), State(window, h)

    def _select(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Δ, B and C, which depend on the input."""
        low, B, C = self.x_proj(u).split([self.rank, self.d_state, self.d_state], dim=1)
        return F.softplus(self.dt_proj(low)), B, C


class Mamba2(nn.Module):
    """Mamba-2 (SSD) block.

    Parameters
    ----------
    d_model : int
        Width of a token.
    d_state, d_conv, expand : int
        As in `Mamba`.
    headdim, ngroups : int
        Channels of a head, groups of heads that share B and C.
    backend : Backend, optional
        What runs the scan; by default the CPU's kernel.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        headdim: int = 64,
        ngroups: int = 1,
        d_conv: int = 4,
        expand: int = 2,
        backend: Backend | None = None,
    ) -> None:
        super().__init__()
        inner = expand * d_model
        heads, shared = inner // headdim, 2 * ngroups * d_state
        self.d_state, self.headdim, self.ngroups = d_state, headdim, ngroups
        self.backend = backend or choose()
        self.in_proj = nn.Linear(d_model, 2 * inner + shared + heads, bias=False)
        self.conv1d = nn.Conv1d(
            inner + shared, inner + shared, d_conv, groups=inner + shared, padding=d_conv - 1
        )
        self.dt_bias = nn.Parameter(_initial_step(heads))
        self.A_log = nn.Parameter(torch.log(torch.empty(heads).uniform_(1, 16)))
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedNorm(inner, ngroups)
        self.out_proj = nn.Linear(inner, d_model, bias=False)

    def forward(self, x: Tensor, starts: Tensor | None = None) -> Tensor:
        """Scan tokens causally; parameters and result as `Mamba.forward`."""
        batch, length, _ = x.shape
        starts = _starts(x) if starts is None else starts
        z, mixed, delta = self._project(x.reshape(batch * length, -1))
        u, B, C = self._split(F.silu(_convolve(mixed, self.conv1d, starts)))
        A = -torch.exp(self.A_log)
        y = ssd_scan(u, delta, (A, B, C, self.D), starts, self.backend.scan)
        return self.out_proj(self.norm(y.flatten(1), z)).reshape(batch, length, -1)  # type: ignore[no-any-return]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Take one token (batch, d_model); equal to `forward` token by token."""
        z, mixed, delta = self._project(x)
        mixed, window = _convolve_step(mixed, self.conv1d, state)
        u, B, C = self._split(F.silu(mixed))
        each = u.shape[1] // self.ngroups
        B, C = B.repeat_interleave(each, dim=1), C.repeat_interleave(each, dim=1)
        h = u.new_zeros(len(u), z.shape[1], self.d_state) if state is None else state.h
        h = h.reshape(*u.shape, self.d_state)
        decay = torch.exp(delta * -torch.exp(self.A_log))[:, :, None, None]
        h = decay * h + (delta[:, :, None] * u)[..., None] * B[:, :, None]
        y = (h * C[:, :, None]).sum(dim=3) + self.D[:, None] * u
        return self.out_proj(self.norm(y.flatten(1), z)), State(window, h.flatten(1, 2))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gate z, what the convolution mixes (x, B and C), and Δ of each head."""
        inner, heads = len(self.norm.weight), len(self.A_log)
        parts = torch.split(self.in_proj(x), [inner, self.conv1d.in_channels, heads], dim=1)
        return parts[0], parts[1], F.softplus(parts[2] + self.dt_bias)

    def _split(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heads (l, h, p), and B and C (l, g, n)."""
        inner, shared = len(self.norm.weight), self.ngroups * self.d_state
        u, B, C = torch.split(mixed, [inner, shared, shared], dim=1)
        groups = (len(mixed), self.ngroups, self.d_state)
        return u.reshape(len(mixed), -1, self.headdim), B.reshape(groups), C.reshape(groups)


class GatedNorm(nn.Module):
    """Root-mean-square norm of y · silu(z), a group of channels at a time."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.groups = groups

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        """Map y (l, channels), and its gate z (l, channels), to (l, channels)."""
        gated = (y * F.silu(z)).reshape(len(y), self.groups, -1)
        scale = torch.rsqrt(gated.square().mean(dim=2, keepdim=True) + 1e-5)
        return (gated * scale).flatten(1) * self.weight


class BidirectionalMamba(nn.Module):
    """Two Mamba blocks, along the sequence and against it, normalised and residual.

    Parameters
    ----------
    d_model, d_state : int
        As in `Mamba`.
    backend : Backend, optional
        What runs the scan; by default the CPU's kernel.
    """

    def __init__(self, d_model: int, d_state: int, backend: Backend | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.along = Mamba(d_model, d_state, backend=backend)
        self.against = Mamba(d_model, d_state, backend=backend)

    def forward(self, x: Tensor, starts: Tensor) -> Tensor:
        """Mix packed sequences (length, d_model), each in both directions.

        Parameters
        ----------
        x : Tensor, (length, d_model)
            Sequences one after the other.
        starts : Tensor of bool, (length,)
            The first token of each sequence.

        Returns
        -------
        Tensor, (length, d_model)
        """
        if not len(x):
            return x
        t = self.norm(x)[None]
        ends = torch.cat([starts[1:], starts.new_ones(1)])
        against = self.against(t.flip(1), ends.flip(0)).flip(1)
        return x + (self.along(t, starts) + against)[0]  # type: ignore[no-any-return]


def _initial_step(channels: int) -> Tensor:
    """Bias whose softplus is a step Δ log-uniform in [0.001, 0.1] (Mamba's section 3.6)."""
    step = torch.exp(torch.rand(channels) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
    return step + torch.log(-torch.expm1(-step))


def _starts(x: Tensor) -> Tensor:
    """First tokens of a batch (batch, length, dim) laid end to end."""
    at = torch.arange(x.shape[0] * x.shape[1], device=x.device)
    return (at % x.shape[1]) == 0


def _convolve(u: Tensor, conv: nn.Conv1d, starts: Tensor) -> Tensor:
    """Convolve (length, channels) causally, never across the start of a sequence."""
    at = torch.arange(len(u), device=u.device)
    since = at - torch.cummax(torch.where(starts, at, 0), dim=0).values
    taps = conv.weight[:, 0]
    total = u * taps[:, -1] + (0.0 if conv.bias is None else conv.bias)
    for back in range(1, taps.shape[1]):
        shifted = F.pad(u, (0, 0, back, 0))[: len(u)]
        total = total + shifted * (since >= back)[:, None] * taps[:, -1 - back]
    return total


def _convolve_step(u: Tensor, conv: nn.Conv1d, state: State | None) -> tuple[Tensor, Tensor]:
    """Convolve one more input (batch, channels); also the window to remember."""
    taps = conv.weight[:, 0]
    before = u.new_zeros(*u.shape, taps.shape[1] - 1) if state is None else state.window
    window = torch.cat([before, u[:, :, None]], dim=2)
    bias = 0.0 if conv.bias is None else conv.bias
    return (window * taps).sum(dim=2) + bias, window[:, :, 1:]
