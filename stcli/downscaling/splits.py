"""Which pixels of a sample are held out, and crops of the others.

Samples of one field differ by shifts of up to one coarse pixel; so the outermost pixels of a block
that is held out are not judged by, and no fine pixel is both trained on and judged by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torch import Tensor

from stcli.downscaling.network import Upscaler
from stcli.downscaling.samples import Sample
from stcli.downscaling.turns import moved
from stcli.settings import DownscalerTraining

#: Pixels around a held-out block that a network sees of it: more than convolutions reach.
CONTEXT = 16
#: Windows around held-out blocks begin at its multiples, as attention on latents wants.
ALIGN = 16
#: Side of crops of small fields: no smaller one is a multiple of what attention wants.
LEAST_CROP = 16


@dataclass(frozen=True)
class Block:
    """A held-out block: its rows and columns, alone and with what is around it.

    Attributes
    ----------
    core, around : (slice, slice)
    """

    core: tuple[slice, slice]
    around: tuple[slice, slice]

    @property
    def within(self) -> tuple[slice, slice]:
        """The core in what is around it."""
        rows, cols = (
            slice(own.start - out.start, own.stop - out.start)
            for own, out in zip(self.core, self.around, strict=True)
        )
        return rows, cols


@dataclass
class Split:
    """A sample with its held-out blocks, and the corners where a crop touches none of them.

    Attributes
    ----------
    data : Sample
    parts : tuple of Block
    blocks, held : ndarray of bool, (row, col)
        Pixels that are not trained on, and those of them that are judged by.
    side : int
        Of crops.
    corners : ndarray of int, (corner, 2)
    inputs, target : Tensor
        Of `data`.
    """

    data: Sample
    parts: tuple[Block, ...]
    blocks: NDArray[np.bool_]
    held: NDArray[np.bool_]
    side: int
    corners: NDArray[np.int64]
    inputs: Tensor
    target: Tensor


def split(one: Sample, how: DownscalerTraining) -> Split:
    """Hold out a share of a sample's blocks, chosen by the seed."""
    rng = np.random.default_rng(how.seed)
    rows, cols = one.inputs.shape[1:]
    side = _crop(one.whole, how)
    block = min(how.block, *(max(side, length // 3) for length in one.whole))
    grid = max(1, one.whole[0] // block), max(1, one.whole[1] // block)
    chosen = rng.permutation(grid[0] * grid[1]) < max(1, round(how.validation * grid[0] * grid[1]))
    parts = tuple(
        _block((int(row), int(col)), grid, block, (rows, cols))
        for row, col in np.argwhere(chosen.reshape(grid))
    )
    held = np.zeros((rows, cols), bool)
    for part in parts:
        held[part.core] = True
    known = np.isfinite(one.target).all(axis=0)
    good = np.zeros((rows + 1, cols + 1))
    good[1:, 1:] = np.cumsum(np.cumsum(~held & known, 0), 1)
    if rows < side or cols < side:
        corners = np.empty((0, 2), np.int64)
    else:
        area = good[side:, side:] - good[:-side, side:] - good[side:, :-side] + good[:-side, :-side]
        bad = np.zeros((rows + 1, cols + 1))
        bad[1:, 1:] = np.cumsum(np.cumsum(held, 0), 1)
        out = bad[side:, side:] - bad[:-side, side:] - bad[side:, :-side] + bad[:-side, :-side]
        corners = np.argwhere((out == 0) & (area > side * side / 2))
    inputs = torch.from_numpy(np.ascontiguousarray(one.inputs))
    judged = binary_erosion(held, np.ones((3, 3)), border_value=1) & known
    return Split(one, parts, held, judged, side, corners, inputs, torch.from_numpy(one.target))


def _crop(whole: tuple[int, int], how: DownscalerTraining) -> int:
    """Choose the side of crops: the smallest where a field has not two of the usual one a side."""
    return how.crop if min(whole) >= 2 * how.crop else min(how.crop, LEAST_CROP)


def _block(at: tuple[int, int], grid: tuple[int, int], side: int, shape: tuple[int, int]) -> Block:
    """Place a block of the grid; the last one of a row or column takes what is left over."""
    core, around = [], []
    for index, count, length in zip(at, grid, shape, strict=True):
        first, last = index * side, length if index == count - 1 else (index + 1) * side
        core.append(slice(first, last))
        begin = max(0, first - CONTEXT) // ALIGN * ALIGN
        around.append(slice(begin, min(length, last + CONTEXT)))
    return Block((core[0], core[1]), (around[0], around[1]))


def judges(one: Split) -> bool:
    """Tell whether a sample holds out pixels that the base misses."""
    return bool(one.held.any() and one.data.target[:, one.held].any())


def shown(one: Split) -> NDArray[np.bool_]:
    """Find pixels (row, col) with a value that are not held out."""
    known: NDArray[np.bool_] = np.isfinite(one.data.target).all(axis=0) & ~one.blocks
    return known


def crops(
    network: Upscaler, one: Split, how: DownscalerTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cut crops at random corners, each turned and mirrored at random with its blocks.

    Of small ones as many more as hold the pixels of the usual ones.

    Returns
    -------
    inputs, targets : Tensor, (crop, channel, row, col)
    """
    side, s, inputs, targets = one.side, one.data.factor, [], []
    count = how.batch * how.crop**2 // side**2
    chosen = one.corners[rng.integers(0, len(one.corners), count)]
    for row, col in chosen:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        part = np.s_[:, row : row + side, col : col + side]
        inputs.append(moved(one.inputs[part], turns, mirror, network.plain, s))
        targets.append(moved(one.target[part], turns, mirror, 0, s))
    return torch.stack(inputs), torch.stack(targets)
