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


@dataclass
class Split:
    """A sample with its held-out blocks, and the corners where a crop touches none of them.

    Attributes
    ----------
    data : Sample
    blocks, held : ndarray of bool, (row, col)
        Pixels that are not trained on, and those of them that are judged by.
    corners : ndarray of int, (corner, 2)
    inputs, target : Tensor
        Of `data`.
    """

    data: Sample
    blocks: NDArray[np.bool_]
    held: NDArray[np.bool_]
    corners: NDArray[np.int64]
    inputs: Tensor
    target: Tensor


def split(one: Sample, how: DownscalerTraining) -> Split:
    """Hold out a share of a sample's blocks, chosen by the seed."""
    rng = np.random.default_rng(how.seed)
    rows, cols = one.inputs.shape[1:]
    block = min(how.block, max(how.crop, rows // 3), max(how.crop, cols // 3))
    grid = max(1, rows // block), max(1, cols // block)
    chosen = rng.permutation(grid[0] * grid[1]) < max(1, round(how.validation * grid[0] * grid[1]))
    down, right = (
        np.minimum(np.arange(n) // block, count - 1)  # the last one takes what is left over
        for n, count in zip((rows, cols), grid, strict=True)
    )
    held = chosen.reshape(grid)[down[:, None], right]
    known = np.isfinite(one.target).all(axis=0)
    side = how.crop
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
    return Split(one, held, judged, corners, inputs, torch.from_numpy(one.target))


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

    Returns
    -------
    inputs, targets : Tensor, (crop, channel, row, col)
    """
    chosen = one.corners[rng.integers(0, len(one.corners), how.batch)]
    side, s, inputs, targets = how.crop, one.data.factor, [], []
    for row, col in chosen:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        part = np.s_[:, row : row + side, col : col + side]
        inputs.append(moved(one.inputs[part], turns, mirror, network.plain, s))
        targets.append(moved(one.target[part], turns, mirror, 0, s))
    return torch.stack(inputs), torch.stack(targets)
