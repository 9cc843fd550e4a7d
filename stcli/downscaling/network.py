"""The network at the coarse resolution: convolutions, then a pixel shuffle for each factor.

It corrects back-projection: ``fine = base + residual``. The last layer takes from the residual its
mean over each block (the additive conservation layer of Harder et al. 2023, since the base keeps
block means already), in training as in use, so that nothing is learned that would be taken away.

Members of an ensemble differ by what noise adds to the network's latent features, right before
the last layer. How strong it is where is learned after the rest, with the rest held still: see
`Noise` and `stcli.downscaling.spread`.

Letters: b batch, f features, c bands, s factor, h and w coarse rows and columns, k noise channels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, pixel_unshuffle, softplus

from stcli.downscaling.features import blocks
from stcli.settings import UpscalerSettings

#: Channels of white noise that a member is made from, each pixel of the coarse field.
CHANNELS = 8
#: Coarse pixels at a crop's edge that are not scored: the network does not see around them. Fewer
#: than it reaches: a crop of 32 has 784 pixels to learn from so, 576 with a rim of 4.
RIM = 2


class Residual(nn.Module):
    """Two convolutions beside the identity: (b, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions find to (b, c, h, w)."""
        found: Tensor = x + self.second(torch.nn.functional.gelu(self.first(x)))
        return found


class Noise(nn.Module):
    """What white noise adds to latent features: mixed, and as strong as they say.

    Parameters
    ----------
    width : int
        Channels of the features.
    stride : int
        Coarse pixels along a side of one pixel of theirs.
    """

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        channels = CHANNELS * stride**2
        self.mix = nn.Conv2d(channels, width, 3, padding=1, padding_mode="replicate", bias=False)
        self.gain = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Find what to add.

        Parameters
        ----------
        x : Tensor, (b, width, h / stride, w / stride)
        noise : Tensor, (b, k, h, w)
            Independent, of mean 0 and deviation 1.

        Returns
        -------
        Tensor, the shape of `x`
            Odd in `noise`: a member and its mirror lie on either side of the mean.
        """
        added: Tensor = softplus(self.gain(x)) * self.mix(pixel_unshuffle(noise, self.stride))
        return added


class Upscaler(nn.Module):
    """What every learned upscaler has: the scaling of its input and of what it finds.

    Parameters
    ----------
    bands, guides : int
    settings : UpscalerSettings
    """

    #: Name of each stage of training and its share of the steps; only the last ones, from
    #: ``"joint"`` or ``"pixel"`` on, are judged by their validation.
    stages: ClassVar[tuple[tuple[str, float], ...]] = (("pixel", 1.0),)

    mean: Tensor
    scale: Tensor
    unit: Tensor
    blend: Tensor
    noise: Noise

    def __init__(self, bands: int, guides: int, settings: UpscalerSettings) -> None:
        super().__init__()
        places = guides * settings.factors[0] ** 2
        self.plain = blocks(bands, guides)
        self.features = self.plain + places
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("scale", torch.ones(self.features))
        self.register_buffer("unit", torch.ones(bands))
        self.register_buffer("blend", torch.ones(len(settings.factors), bands))
        self.factors = settings.factors

    def scaled(self, x: Tensor) -> Tensor:
        """Scale the input: (b, f, h, w), mean 0 and deviation 1 where it was trained."""
        scaled: Tensor = (x - self.mean[:, None, None]) / self.scale[:, None, None]
        return scaled

    def loss(self, stage: str, inputs: Tensor, target: Tensor, factor: int) -> Tensor:
        """Measure the loss of a stage on crops.

        Parameters
        ----------
        stage : str
        inputs : Tensor, (b, f, h, w)
        target : Tensor, (b, c * s * s, h, w)
            In units of the buffer ``unit``; NaN where unknown.
        factor : int
        """
        return pixel_loss(self(inputs, factor), target)

    def trained(self, stage: str) -> list[nn.Parameter]:
        """Parameters that a stage moves."""
        silent = {id(p) for p in self.noise.parameters()}
        return [p for p in self.parameters() if id(p) not in silent]

    def units(self, factor: int) -> Tensor:
        """Repeat each band's unit over its places: (1, c * s * s, 1, 1)."""
        return self.unit.repeat_interleave(factor**2)[None, :, None, None]

    def weighted(self, factor: int) -> Tensor:
        """Repeat each band's unit times its weight against ibp, as `units` does."""
        weights = self.unit * self.blend[self.factors.index(factor)]
        return weights.repeat_interleave(factor**2)[None, :, None, None]


class Shuffle(Upscaler):
    """Convolutions at the coarse resolution with a head for each factor."""

    def __init__(self, bands: int, guides: int, settings: UpscalerSettings) -> None:
        super().__init__(bands, guides, settings)
        width = settings.width
        self.stem = nn.Conv2d(self.features, width, 3, padding=1, padding_mode="replicate")
        self.body = nn.Sequential(*(Residual(width) for _ in range(settings.blocks)))
        self.heads = nn.ModuleDict({str(s): head(width, bands, s) for s in settings.factors})
        self.noise = Noise(width)

    def forward(self, x: Tensor, factor: int, noise: Tensor | None = None) -> Tensor:
        """Find the residual.

        Parameters
        ----------
        x : Tensor, (b, f, h, w)
            As `stcli.downscaling.features` stacks them.
        factor : int
        noise : Tensor, (b, k, h, w), optional
            Of a member; without it the mean of all members.

        Returns
        -------
        Tensor, (b, c * s * s, h, w)
            In units of the buffer ``unit``, one for each band; each block sums to 0.
        """
        latent = self.body(self.stem(self.scaled(x)))
        if noise is not None:
            latent = latent + self.noise(latent, noise)
        return conserving(self.heads[str(factor)](latent), factor)


def head(width: int, bands: int, factor: int) -> nn.Conv2d:
    """Make the last convolution for a factor; it starts as no correction at all."""
    last = nn.Conv2d(width, bands * factor**2, 3, padding=1, padding_mode="replicate")
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return last


def conserving(channels: Tensor, factor: int) -> Tensor:
    """Take from each block its mean: (b, c * s * s, h, w) to the same."""
    b, _, h, w = channels.shape
    blocks = channels.reshape(b, -1, factor**2, h, w)
    return (blocks - blocks.mean(dim=2, keepdim=True)).reshape(b, -1, h, w)


def pixel_loss(found: Tensor, target: Tensor) -> Tensor:
    """Average the squared error where the truth is known, off the rim; linear beyond 3 units.

    Parameters
    ----------
    found, target : Tensor, (b, c * s * s, h, w)
    """
    inner = target[..., RIM:-RIM, RIM:-RIM]
    known = torch.isfinite(inner)
    error = torch.where(known, found[..., RIM:-RIM, RIM:-RIM] - torch.nan_to_num(inner), 0.0)
    total = huber_loss(error, torch.zeros_like(error), reduction="sum", delta=3.0)
    return total / known.sum().clamp(min=1)
