"""A U-Net with a ResNet-18 encoder, as peer of the land-cover network; plain PyTorch, trained here.

Encoder: He et al. 2016, arXiv:1512.03385, table 1, 18 layers. Decoder: Ronneberger et al. 2015,
arXiv:1505.04597, widths 256, 128, 64, 32, 16. About 14.3 million weights, drawn at random: there
are no pretrained ones for four bands, and nothing is downloaded.
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Side of a training square, and of a tile with its rim at inference.
SQUARE, TILE, RIM = 256, 512, 32


class Block(nn.Module):
    """Basic residual block."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])
        self.short = nn.Sequential()
        if stride > 1 or before != width:
            self.short = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w)."""
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.short(x) + self.norms[1](self.second(y)))


class Up(nn.Module):
    """Double, join the encoder's features, convolve twice."""

    def __init__(self, before: int, beside: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (before + beside, width):
            layers += [nn.Conv2d(channels, width, 3, 1, 1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, beside: Tensor | None) -> Tensor:
        """Map (b, c, h, w) to twice the size."""
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.layers(x if beside is None else torch.cat([x, beside], 1))


class UNet(nn.Module):
    """The whole network: bands to class logits; sides are multiples of 32."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(bands, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        widths = (64, 64, 128, 256, 512)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(a, b, 1 if n == 0 else 2), Block(b, b, 1))
            for n, (a, b) in enumerate(pairwise(widths))
        )
        self.ups = nn.ModuleList(
            [Up(512, 256, 256), Up(256, 128, 128), Up(128, 64, 64), Up(64, 64, 32), Up(32, 0, 16)]
        )
        self.head = nn.Conv2d(16, classes, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, band, h, w) to (b, class, h, w)."""
        found = [self.stem(x)]
        x = F.max_pool2d(found[0], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        beside = [*found[-2::-1], None]
        for up, more in zip(self.ups, beside, strict=True):
            x = up(x, more)
        return self.head(x)


def train(image: np.ndarray, truth: np.ndarray, classes: int, seconds: float, seed: int) -> UNet:
    """Train for a wall time on random turned squares of a scaled image (band, row, col).

    `truth` is the class from 0, and -1 where unknown. AdamW, half a cosine over the time.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    model = UNet(len(image), classes)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    begun, share = time.perf_counter(), 0.0
    while share < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * share)) + 1e-6
        pairs = [_square(image, truth, generator) for _ in range(4)]
        x, y = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        loss = F.cross_entropy(model(x), y, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        share = (time.perf_counter() - begun) / seconds
    return model.eval()


def _square(
    image: np.ndarray, truth: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    row, col = (int(generator.integers(n - SQUARE + 1)) for n in truth.shape)
    x, y = (part[..., row : row + SQUARE, col : col + SQUARE] for part in (image, truth))
    way = int(generator.integers(8))
    x, y = (np.rot90(part, way % 4, (-2, -1)) for part in (x, y))
    if way >= 4:
        x, y = x[..., ::-1], y[..., ::-1]
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


@torch.inference_mode()
def predict(model: UNet, image: np.ndarray) -> np.ndarray:
    """Class from 0 at each pixel of (band, row, col), tile by tile with a mirrored rim."""
    rows, cols = image.shape[1:]
    core = TILE - 2 * RIM
    ends = [(-n % core) + RIM for n in (rows, cols)]
    padded = np.pad(image, ((0, 0), (RIM, ends[0]), (RIM, ends[1])), mode="reflect")
    found = np.empty((rows + ends[0] - RIM, cols + ends[1] - RIM), np.uint8)
    for row in range(0, rows, core):
        for col in range(0, cols, core):
            tile = np.ascontiguousarray(padded[None, :, row : row + TILE, col : col + TILE])
            logits = model(torch.from_numpy(tile))[0, :, RIM:-RIM, RIM:-RIM]
            found[row : row + core, col : col + core] = logits.argmax(0).numpy()
    return found[:rows, :cols]
