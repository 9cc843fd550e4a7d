"""Mean and standard deviation of what a token's pixels hold.

`moments` is plain and can be learnt through; where nobody asks for gradients, sums and sums of
squares are made in one pass over the pixels, in the same order and so to the same bits.

Letters: b windows, h and w pixels, k tokens of all windows end to end, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stcli.landcover.network.sums import token_sums


def moments(pixels: list[Tensor], index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation a token.

    Parameters
    ----------
    pixels : list of Tensor (b, h, w, c)
        The channels of all are taken one after the other.
    index : Tensor of int64 (b, h, w)
        Token of each pixel; `count` where there is none.
    count : int

    Returns
    -------
    mean, deviation : Tensor (k, all c)
    """
    place = index.reshape(-1)
    size = torch.bincount(place, minlength=count + 1)[:count, None].clamp(min=1)
    sums = _slow_sums if torch.is_grad_enabled() or place.device.type != "cpu" else _fast_sums
    pairs = [sums(each.reshape(-1, each.shape[3]), place, count) for each in pixels]
    mean = torch.cat([total for total, _ in pairs], dim=1) / size
    square = torch.cat([total for _, total in pairs], dim=1) / size
    # the floor keeps the root's gradient finite in segments of one value
    return mean, (square - mean * mean).clamp(min=0).add(1e-5).sqrt()


def _slow_sums(values: Tensor, place: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sum values (pixel, c) and their squares a token: (k, c) each; `place` is (pixel,)."""
    empty = values.new_zeros(count + 1, values.shape[1])
    both = (empty.index_add(0, place, each) for each in (values, values * values))
    total, squares = (each[:count] for each in both)
    return total, squares


def _fast_sums(values: Tensor, place: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Do as `_slow_sums` in one pass."""
    total, squares = token_sums(values.detach().numpy(), place.numpy(), count)
    return torch.from_numpy(total), torch.from_numpy(squares)
