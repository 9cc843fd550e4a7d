"""The CNN branch on a CPU, for inference: `network.LocalBranch` of this folder without torch.

Images are rows, as `stcli.nn.convolution` has them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, root, splat, store, transpose
from stcli.nn.convolution import (
    MADE,
    Convolution,
    Mix,
    Plain,
    blank,
    convolve_rows,
    extent,
)
from stcli.nn.mamba_cpu import Floats, State
from stcli.nn.weights import part_of
from stcli.settings import NetworkSettings

#: Of torch's layer norm.
_EPS = np.float32(1e-5)


class LocalBranchCpu:
    """A CNN of the weights of `LocalBranch`."""

    def __init__(self, state: State, settings: NetworkSettings) -> None:
        separable = settings.convolution == "separable"
        residual = _separable if separable else _dense
        self.stem = Plain(state["stem.weight"], state["stem.bias"])
        self.fine = residual(part_of(state, "fine")) if settings.fine else None
        self.to_middle = Mix(state["to_middle.weight"], state["to_middle.bias"])
        self.middle = residual(part_of(state, "middle"))
        self.to_coarse = Mix(state["to_coarse.weight"], state["to_coarse.bias"])
        self.coarse = _dense(part_of(state, "coarse"))
        self.from_coarse = Mix(state["from_coarse.weight"], state["from_coarse.bias"])
        self.from_middle = Mix(state["from_middle.weight"], state["from_middle.bias"])
        self.out = _Norm(state, "out")

    def __call__(self, bands: Floats, valid: NDArray[np.bool_]) -> Floats:
        """Map (band, h, w) and (h, w), of multiples of 4, to features of pixels (h * w, c)."""
        (height, width), count = valid.shape, len(bands)
        room = _ROOMS.of(count, len(self.stem.bias), (height, width))
        image, full, half, quarter = room.image, room.full[0], room.half[0], room.quarter[0]
        image[:height, :count, :width] = bands.transpose(1, 0, 2)
        image[:height, count, :width] = valid
        self.stem(image, width, full)
        if self.fine is not None:
            self.fine(room.full, width)
        self.to_middle.halved(full, width, half)
        self.middle(room.half, width // 2)
        self.to_coarse.halved(half, width // 2, quarter)
        self.coarse(room.quarter, width // 4)
        self.from_coarse.doubled(quarter, width // 4, half)
        self.from_middle.doubled(half, width // 2, full)
        return self.out.pixels(full, width)


@dataclass(frozen=True)
class _Room:
    """Rows that a thread uses again: fresh pages take longer than what is written to them.

    At each resolution three: an image, what is made of it, and what is made of that.
    """

    image: Floats
    full: tuple[Floats, ...]
    half: tuple[Floats, ...]
    quarter: tuple[Floats, ...]


class _Rooms(threading.local):
    """The room of each thread: laid out anew for windows of another size, in the same memory."""

    size: tuple[int, ...] = ()
    room: _Room | None = None
    memory: Sequence[Floats] = ()

    def of(self, bands: int, channels: int, shape: tuple[int, int]) -> _Room:
        """Give room for a window."""
        size, (height, width) = (bands, channels, *shape), shape
        if self.room is None or self.size != size:
            images = [(height, bands + 1, width)]
            for k, n in ((1, 1), (2, 2), (3, 4)):
                images += [(height // n, k * channels, width // n)] * 3
            rows = self._laid_out(images)
            self.size = size
            self.room = _Room(rows[0], *(tuple(rows[n : n + 3]) for n in (1, 4, 7)))
        return self.room

    def _laid_out(self, images: list[tuple[int, int, int]]) -> list[Floats]:
        counts = [extent(*image) for image in images]
        if not self.memory or any(n > len(m) for n, m in zip(counts, self.memory, strict=True)):
            self.room, self.memory = None, ()  # before others are made
            self.memory = [np.zeros(n, dtype=np.float32) for n in counts]
        return [blank(m, *image) for image, m in zip(images, self.memory, strict=True)]


_ROOMS = _Rooms()


class _Residual:
    """Two 3x3 convolutions around a residual."""

    def __init__(self, norm: _Norm, first: Convolution, second: Convolution) -> None:
        self.norm, self.first, self.second = norm, first, second

    def __call__(self, room: tuple[Floats, ...], width: int) -> None:
        """Add to an image, the first of three rows, what they give."""
        layers = (self.norm.layer, self.first.layer, self.second.layer)
        _residual(room, width, layers, self.first.room(room[0]), self.second.room(room[0]))


class _Norm:
    """A layer norm over the channels of each pixel."""

    def __init__(self, state: State, name: str) -> None:
        self.weight, self.bias = state[f"{name}.weight"], state[f"{name}.bias"]

    @property
    def layer(self) -> tuple[Floats, Floats]:
        """What `_residual` takes of it."""
        return self.weight, self.bias

    def pixels(self, rows: Floats, width: int) -> Floats:
        """Normalise rows to pixels (h * w, c), with `slack` numbers behind them."""
        height, channels = len(rows) - 1, rows.shape[1]
        size = height * width * channels
        flat = np.empty(size + slack(channels), dtype=np.float32)
        _normalise_pixels(rows, width, self.weight, self.bias, flat)
        return flat[:size].reshape(-1, channels)


def slack(channels: int) -> int:
    """Numbers behind the last pixel that kernels may read and write."""
    return WIDTH * (channels + 1)


def _convolution(state: State, name: str) -> Convolution:
    return Convolution(state[f"{name}.weight"], state[f"{name}.bias"])


def _dense(state: State) -> _Residual:
    return _Residual(
        _Norm(state, "norm"), _convolution(state, "first"), _convolution(state, "second")
    )


def _separable(state: State) -> _Residual:
    """Make dense convolutions of separable ones: their products are the same sums."""
    return _Residual(
        _Norm(state, "norm"),
        _joined(state, "first", "mix"),
        _joined(state, "second", "out"),
    )


def _joined(state: State, alone: str, mix: str) -> Convolution:
    mixed = state[f"{mix}.weight"][:, :, 0, 0]
    weight = mixed[:, :, None, None] * state[f"{alone}.weight"][None, :, 0]
    return Convolution(weight, mixed @ state[f"{alone}.bias"])


@njit(**OPTIONS)
def _moments(line, apart, channels, x):  # type: ignore[no-untyped-def]
    """Mean of 16 pixels' channels, `apart` from each other, and one over their deviation."""
    share, nothing = np.float32(1) / np.float32(channels), splat(np.float32(0))
    mean, square = nothing, nothing
    for channel in range(channels):
        mean = mean + load(line, channel * apart + x)
    mean = mean * share
    for channel in range(channels):
        off = load(line, channel * apart + x) - mean
        square = square + off * off
    return mean, splat(np.float32(1)) / root(square * share + _EPS)


@njit(**OPTIONS)
def _residual(images, width, layers, room, other_room):  # type: ignore[no-untyped-def]
    """Take an image through a norm and two convolutions, a few rows at a time.

    Each step follows the one before at the distance of the rows that it needs of it, so that these
    are still in the cache.
    """
    image, given, between = images
    norm, first, second = layers
    height = len(image) - 1
    for row in range(0, height + 2 * MADE, MADE):
        _normalise(image, row, width, norm, given)
        if MADE <= row < height + MADE:
            convolve_rows(given, row - MADE, width, first, room, between, (True, False))
        if row >= 2 * MADE:
            convolve_rows(between, row - 2 * MADE, width, second, other_room, image, (False, True))


@njit(**OPTIONS)
def _normalise(rows, first, width, norm, result):  # type: ignore[no-untyped-def]
    """Normalise `MADE` rows from `first`, those that there are."""
    (weight, bias), (channels, apart) = norm, rows.shape[1:]
    for row in range(first, min(first + MADE, len(rows) - 1)):
        line, out = rows[row].reshape(-1), result[row].reshape(-1)
        for x in range(0, width, WIDTH):
            mean, scale = _moments(line, apart, channels, x)
            for channel in range(channels):
                at = channel * apart + x
                store(out, at, (load(line, at) - mean) * scale * weight[channel] + bias[channel])
        for channel in range(channels):
            for x in range(width, apart):
                result[row, channel, x] = 0


@njit(**OPTIONS)
def _normalise_pixels(rows, width, weight, bias, flat):  # type: ignore[no-untyped-def]
    """Sixteen channels of sixteen pixels at a time, the last channels first.

    What is written past a pixel's last channel, and past a row's last pixel, is written again.
    """
    channels, apart = rows.shape[1:]
    last = (channels - 1) // WIDTH * WIDTH
    square = np.zeros((last + WIDTH) * WIDTH, dtype=np.float32)
    for row in range(len(rows) - 1):
        line = rows[row].reshape(-1)
        for x in range(0, width, WIDTH):
            mean, scale = _moments(line, apart, channels, x)
            for channel in range(channels):
                value = (load(line, channel * apart + x) - mean) * scale
                store(square, channel * WIDTH, value * weight[channel] + bias[channel])
            place = (row * width + x) * channels
            for first in range(last, -1, -WIDTH):
                transpose(square, first * WIDTH, WIDTH, flat, place + first, channels)


#: Compiled kernels of the branch, the first and the last.
KERNELS = (_residual, _normalise_pixels)
