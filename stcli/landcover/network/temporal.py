"""The temporal network: a Mamba scan over the steps of a season, a series at a time.

::

    bands, seen ──┐
    day of season ┴─► linear ─► BidirectionalMamba × n ─► mean and maximum over steps ─► logits

Only steps that were seen are tokens: a gap is no token, and nothing is put in its place.
Shapes: n series, s steps, b bands, k tokens of all series end to end, d token width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stcli.nn.backend import Backend
from stcli.nn.mamba import BidirectionalMamba
from stcli.settings import TemporalSettings

#: Sines and cosines of the day: one to this many waves a year.
_WAVES = 3
_YEAR = 365.25


@dataclass(frozen=True)
class Packed:
    """Series laid end to end.

    Attributes
    ----------
    bands : Tensor of float32 (k, b)
        Scaled; with what else describes a step.
    day : Tensor of float32 (k,)
        Since the season or the year began.
    owner : Tensor of int64 (k,)
        Series of each token, rising.
    count : int
        Series, those without a token included.
    """

    bands: Tensor
    day: Tensor
    owner: Tensor
    count: int

    def to(self, device: str) -> Packed:
        """Move all tensors to a device."""
        return Packed(self.bands.to(device), self.day.to(device), self.owner.to(device), self.count)


def split(series: Packed, tokens: int) -> Iterator[Packed]:
    """Part series so that each part begins within its own stretch of so many tokens."""
    first = torch.searchsorted(series.owner, torch.arange(series.count, device=series.owner.device))
    sizes = torch.bincount(first // tokens).tolist()
    begin = 0
    for size in filter(None, sizes):
        end = begin + size
        a = int(first[begin])
        b = int(first[end]) if end < series.count else len(series.owner)
        owner = series.owner[a:b] - begin
        yield Packed(series.bands[a:b], series.day[a:b], owner, size)
        begin = end


def pack(values: Tensor, offsets: Tensor) -> Packed:
    """Lay the seen steps of series (n, s, b), of offsets (s,), end to end; NaN is not seen."""
    seen = torch.isfinite(values).all(dim=2)
    owner, step = seen.nonzero(as_tuple=True)
    return Packed(values[seen], offsets[step], owner, len(values))


class TemporalMamba(nn.Module):
    """Classify series.

    Parameters
    ----------
    bands, classes : int
    settings : TemporalSettings
    backend : Backend, optional
        What runs the scan; by default the CPU's kernel.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        settings: TemporalSettings,
        backend: Backend | None = None,
    ) -> None:
        super().__init__()
        width = settings.width
        self.enter = nn.Linear(bands + 2 * _WAVES, width)
        self.layers = nn.ModuleList(
            BidirectionalMamba(width, settings.state, backend) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(2 * width)
        self.drop = nn.Dropout(settings.dropout)
        self.leave = nn.Linear(2 * width, classes)

    def forward(self, series: Packed) -> Tensor:
        """Map series to logits (n, class); those without a token get the bias of none."""
        starts = torch.ones_like(series.owner, dtype=torch.bool)
        starts[1:] = series.owner[1:] != series.owner[:-1]
        x = self.enter(torch.cat([series.bands, _waves(series.day)], dim=1))
        for layer in self.layers:
            x = layer(x, starts)
        pooled = self.norm(_pool(x, series.owner, series.count))
        return self.leave(self.drop(F.silu(pooled)))  # type: ignore[no-any-return]


def _waves(day: Tensor) -> Tensor:
    """Encode days (k,) as sines and cosines of the year (k, 2 waves)."""
    wave = torch.arange(1, _WAVES + 1, device=day.device)
    angle = day[:, None] * wave * (2 * math.pi / _YEAR)
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def _pool(x: Tensor, owner: Tensor, count: int) -> Tensor:
    """Mean and maximum (n, 2 d) of each series' tokens (k, d); 0 where it has none."""
    index = owner[:, None].expand_as(x)
    empty = x.new_zeros(count, x.shape[1])
    number = torch.bincount(owner, minlength=count)[:, None].clamp(min=1)
    mean = empty.index_add(0, owner, x) / number
    return torch.cat([mean, empty.scatter_reduce(0, index, x, "amax", include_self=False)], dim=1)
