"""The GLocal OBIA-Mamba network: a CNN over pixels, Mamba over superpixels, fused.

After Dewis et al. 2025 (arXiv:2511.10604): superpixels as tokens, two branches, two losses. The
paper's widths, token features and segmentation are not public; those here are stcli's own.

::

    bands, valid ──► LocalBranch ──► f (pixel) ─────────────┬──► fused ──► pixel logits
                          │                                 │
                 mean, deviation a token                  gather
                          ▼                                 │
      shape ──► TokenEmbedding ──► BidirectionalMamba × n ──┴──► token logits
                      ▲
      dates ──► TemporalMamba, of a stack whose composite the bands are

Shapes: b windows, h and w pixels, k tokens of all windows end to end, c channels, d token width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stcli.landcover.network.channelnorm import ChannelNorm
from stcli.landcover.network.datetokens import EXTRA
from stcli.landcover.network.moments import moments
from stcli.landcover.network.temporal import Packed, TemporalMamba, split
from stcli.landcover.network.tokens import SHAPE_FEATURES, Tokens
from stcli.nn.backend import Backend
from stcli.nn.mamba import BidirectionalMamba
from stcli.settings import NetworkSettings, TemporalSettings

#: Pixels that are fused at once.
_AT_ONCE = 4096
#: Dates of superpixels that are scanned at once, about.
DATES_AT_ONCE = 8192


@dataclass(frozen=True)
class Windows:
    """A batch of windows.

    Attributes
    ----------
    bands : Tensor of float32 (b, band, h, w)
        Scaled, 0 where not valid.
    valid : Tensor of bool (b, h, w)
    index : Tensor of int64 (b, h, w)
        Token of each pixel in the packed sequence; k where there is none.
    shape : Tensor of float32 (k, SHAPE_FEATURES)
    starts : Tensor of bool (k,)
        First token of each window.
    across : Tensor of int64 (k,)
        The tokens of each window along the lattice's columns, for layers that scan these.
    dates : Packed or None
        The dates of each token, of a stack.
    """

    bands: Tensor
    valid: Tensor
    index: Tensor
    shape: Tensor
    starts: Tensor
    across: Tensor
    dates: Packed | None = None

    def to(self, device: str) -> Windows:
        """Move all tensors to a device."""
        return Windows(
            self.bands.to(device),
            self.valid.to(device),
            self.index.to(device),
            self.shape.to(device),
            self.starts.to(device),
            self.across.to(device),
            None if self.dates is None else self.dates.to(device),
        )


def pack(tokens: list[Tokens]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lay the tokens of several windows end to end.

    Returns
    -------
    index, shape, starts, across
        Of `Windows`.
    """
    total = sum(t.count for t in tokens)
    starts = torch.zeros(total, dtype=torch.bool)
    index, across, first = [], [], 0
    for t in tokens:
        place = torch.from_numpy(t.index)
        index.append(torch.where(place == t.count, total, place + first))
        across.append(torch.from_numpy(t.across + first))
        if t.count:
            starts[first] = True
        first += t.count
    shape = torch.cat([torch.from_numpy(t.shape) for t in tokens])
    return torch.stack(index), shape, starts, torch.cat(across)


class Mix(nn.Conv2d):
    """A 1x1 convolution: a matrix product over the channels of each pixel, with no copy."""

    def __init__(self, before: int, after: int, bias: bool = True) -> None:
        super().__init__(before, after, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, d, h, w)."""
        mixed = F.linear(input.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
        return mixed.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """Two 3x3 convolutions around a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        y = self.second(F.silu(self.first(self.norm(x)), inplace=_unlearning()))
        return y.add_(x)  # type: ignore[no-any-return]


class Separable(nn.Module):
    """As `Residual`, each convolution a 3x3 one of every channel alone and a mix of channels.

    Mixes have no bias: that of the convolution before passes through them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mix = Mix(width, width, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.out = Mix(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        y = F.silu(self.mix(self.first(self.norm(x))), inplace=_unlearning())
        return self.out(self.second(y)).add_(x)  # type: ignore[no-any-return]


class LocalBranch(nn.Module):
    """CNN over pixels at full, half and quarter resolution; `fine` residuals at full."""

    def __init__(self, bands: int, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.local_width
        residual = Separable if settings.convolution == "separable" else Residual
        self.stem = nn.Conv2d(bands + 1, width, 3, padding=1)
        self.fine = residual(width) if settings.fine else nn.Identity()
        self.to_middle = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.middle = residual(2 * width)
        self.to_coarse = nn.Conv2d(2 * width, 3 * width, 2, stride=2)
        self.coarse = Residual(3 * width)
        self.from_coarse = Mix(3 * width, 2 * width)
        self.from_middle = Mix(2 * width, width)
        self.out = ChannelNorm(width)

    def forward(self, bands: Tensor, valid: Tensor) -> Tensor:
        """Map (b, band, h, w) and (b, h, w) to features (b, c, h, w)."""
        x = torch.cat([bands, valid[:, None].to(bands.dtype)], dim=1)
        full = self.fine(self.stem(x.contiguous(memory_format=torch.channels_last)))
        half = self.middle(self.to_middle(full))
        quarter = self.coarse(self.to_coarse(half))
        half = _double(self.from_coarse(quarter)).add_(half)
        full = _double(self.from_middle(half)).add_(full)
        return self.out(full)  # type: ignore[no-any-return]


class GLocal(nn.Module):
    """The whole network.

    Parameters
    ----------
    bands, classes : int
        Bands of a stack are those of its composite: two for each of a date's.
    settings : NetworkSettings
    backend : Backend, optional
        What runs the scan; by default the CPU's kernel.
    """

    def __init__(
        self, bands: int, classes: int, settings: NetworkSettings, backend: Backend | None = None
    ) -> None:
        super().__init__()
        c, d = settings.local_width, settings.model_width
        self.dates = None
        if settings.date_width:
            scan = over_dates(settings)
            self.dates = TemporalMamba(bands // 2 + EXTRA, d, scan, backend)
        self.local = LocalBranch(bands, settings) if c else None
        self.crossed = settings.order == "crossed"
        self.embed = nn.Linear(2 * (bands + c) + SHAPE_FEATURES, d)
        self.mix = nn.ModuleList(
            BidirectionalMamba(d, settings.state, backend) for _ in range(settings.layers)
        )
        self.token_norm = nn.LayerNorm(d)
        self.token_head = nn.Linear(d, classes)
        self.from_pixel = nn.Linear(c or bands, d)
        self.from_token = nn.Linear(d, d)
        self.head = nn.Linear(d, classes)

    def forward(
        self, windows: Windows, asked: tuple[slice, slice] = (slice(None), slice(None))
    ) -> tuple[Tensor, Tensor]:
        """Classify.

        Parameters
        ----------
        windows : Windows
        asked : (slice, slice)
            Rows and columns that get logits; the others are context alone.

        Returns
        -------
        pixel logits : Tensor (b, class, asked rows, asked columns)
        token logits : Tensor (k, class)
        """
        local = windows.bands.permute(0, 2, 3, 1)
        pixels = [local]
        if self.local is not None:
            local = self.local(windows.bands, windows.valid).permute(0, 2, 3, 1)
            pixels.append(local)
        tokens = self._tokens(pixels, windows)
        logits = self._fused(local[:, *asked], tokens, windows.index[:, *asked])
        return logits.permute(0, 3, 1, 2), self.token_head(tokens)

    def _fused(self, local: Tensor, tokens: Tensor, index: Tensor) -> Tensor:
        """Logits (b, h, w, class) of pixels (b, h, w, c) and the features of their tokens."""
        # both biases are added a token, not a pixel; no token is a token of zeros
        of_token = F.pad(self.from_token(tokens), (0, 0, 0, 1)) + self.from_pixel.bias
        flat, place = local.reshape(-1, local.shape[3]), index.reshape(-1)
        if not _unlearning():
            return self._joined(flat, place, of_token).reshape(*index.shape, -1)
        # a part at a time: what is made on the way stays in the cache
        parts = (torch.split(each, _AT_ONCE) for each in (flat, place))
        logits = [self._joined(pixel, at, of_token) for pixel, at in zip(*parts, strict=True)]
        return torch.cat(logits).reshape(*index.shape, -1)

    def _joined(self, local: Tensor, place: Tensor, of_token: Tensor) -> Tensor:
        """Logits (n, class) of pixels (n, c), whose tokens stand at `place` of `of_token`."""
        fused = F.embedding(place, of_token).addmm_(local, self.from_pixel.weight.t())
        return self.head(F.silu(fused, inplace=_unlearning()))  # type: ignore[no-any-return]

    def _tokens(self, pixels: list[Tensor], windows: Windows) -> Tensor:
        mean, deviation = moments(pixels, windows.index, len(windows.shape))
        t = self.embed(torch.cat([mean, deviation, windows.shape], dim=1))
        if self.dates is not None:
            assert windows.dates is not None  # windows of a stack have them
            t = t + self._over_dates(self.dates, windows.dates)
        back = torch.argsort(windows.across)
        for number, layer in enumerate(self.mix):
            if self.crossed and number % 2:  # each window's tokens stay in its place
                t = layer(t[windows.across], windows.starts)[back]
            else:
                t = layer(t, windows.starts)
        return self.token_norm(t)  # type: ignore[no-any-return]

    def _over_dates(self, scan: TemporalMamba, dates: Packed) -> Tensor:
        """Encode the dates of each token: (k, d); a part at a time, and anew for gradients.

        What a scan over time keeps for its gradients is many times its input, and all dates of all
        superpixels are many: so each part is run again when its gradients are asked for.
        """
        parts = list(split(dates, DATES_AT_ONCE))
        if not parts:
            return self.token_head.weight.new_zeros(0, self.token_norm.normalized_shape[0])
        if _unlearning():
            return torch.cat([scan(part) for part in parts])
        return torch.cat(
            [
                checkpoint(scan, part, use_reentrant=False, preserve_rng_state=False)
                for part in parts
            ]
        )


def over_dates(settings: NetworkSettings) -> TemporalSettings:
    """Give the settings of the scan over dates; none is dropped: a training can be taken up."""
    return TemporalSettings(settings.date_width, settings.date_state, settings.date_layers, 0.0)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _unlearning() -> bool:
    """Tell whether values may be written over: nobody asks for gradients."""
    return not torch.is_grad_enabled()
