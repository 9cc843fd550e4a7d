"""The network at the coarse resolution: convolutions, then a pixel shuffle for each factor.

It corrects back-projection: ``fine = base + residual``. The last layer takes from the residual its
mean over each block (the additive conservation layer of Harder et al. 2023, since the base keeps
block means already), in training as in use, so that nothing is learned that would be taken away.

Letters: b batch, f features, c bands, s factor, h and w coarse rows and columns.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from stcli.settings import UpscalerSettings

#: Coarse pixels at a crop's edge that are not scored: the network does not see around them.
RIM = 4


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

    def __init__(self, bands: int, guides: int, settings: UpscalerSettings) -> None:
        super().__init__()
        places = guides * settings.factors[0] ** 2
        self.plain = 2 * (bands + guides)
        self.features = self.plain + places
        self.register_buffer("mean", torch.zeros(self.features))
        self.register_buffer("scale", torch.ones(self.features))
        self.register_buffer("unit", torch.ones(bands))

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
        return list(self.parameters())

    def units(self, factor: int) -> Tensor:
        """Repeat each band's unit over its places: (1, c * s * s, 1, 1)."""
        return self.unit.repeat_interleave(factor**2)[None, :, None, None]


class Shuffle(Upscaler):
    """Convolutions at the coarse resolution with a head for each factor."""

    def __init__(self, bands: int, guides: int, settings: UpscalerSettings) -> None:
        super().__init__(bands, guides, settings)
        width = settings.width
        self.stem = nn.Conv2d(self.features, width, 3, padding=1, padding_mode="replicate")
        self.body = nn.Sequential(*(Residual(width) for _ in range(settings.blocks)))
        self.heads = nn.ModuleDict({str(s): head(width, bands, s) for s in settings.factors})

    def forward(self, x: Tensor, factor: int) -> Tensor:
        """Find the residual.

        Parameters
        ----------
        x : Tensor, (b, f, h, w)
            As `stcli.downscaling.features` stacks them.
        factor : int

        Returns
        -------
        Tensor, (b, c * s * s, h, w)
            In units of the buffer ``unit``, one for each band; each block sums to 0.
        """
        return conserving(self.heads[str(factor)](self.body(self.stem(self.scaled(x)))), factor)


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
