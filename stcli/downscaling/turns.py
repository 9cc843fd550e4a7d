"""Turning and mirroring what a network sees and finds: pixels, and the places within blocks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


def moved(part: Tensor, turns: int, mirror: bool, plain: int, factor: int) -> Tensor:
    """Turn by quarters, then mirror.

    Parameters
    ----------
    part : Tensor, (channel, row, col)
        The first `plain` channels are of whole blocks, the others of places in a block.
    turns : int
        Quarters.
    mirror : bool
    plain, factor : int
    """
    blocks = _turned(part[:plain], turns, mirror)
    if part.shape[0] == plain:
        return blocks
    fine = _turned(pixel_shuffle(part[plain:], factor), turns, mirror)
    return torch.cat([blocks, pixel_unshuffle(fine, factor)])


def moved_back(part: Tensor, turns: int, mirror: bool, factor: int) -> Tensor:
    """Undo `moved` for a tensor of places alone: (band * factor**2, row, col)."""
    fine = pixel_shuffle(part, factor)
    return pixel_unshuffle((fine.flip(-1) if mirror else fine).rot90(-turns, (-2, -1)), factor)


def _turned(part: Tensor, turns: int, mirror: bool) -> Tensor:
    turned = part.rot90(turns, (-2, -1))
    return turned.flip(-1) if mirror else turned
