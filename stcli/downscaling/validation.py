"""How a network does on the pixels held out from its training.

The error that decides is the RMSE over held-out pixels divided by that of the base (ibp): below 1
the network is worth its cost. Each band's correction is blended with the base by the weight that
is best on held-out pixels, from 0 (ibp alone) to 1: so a band that a network spoils is left to ibp
even where the others gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.downscaling.network import Upscaler
from stcli.downscaling.splits import Split, judges
from stcli.downscaling.turns import moved, moved_back

#: Ways to turn and mirror a window; the results of all are averaged.
TURNS = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))
#: Gain below which a correction is not worth it: a share of ibp's RMSE.
WORTH = 1e-3


@torch.no_grad()
def residual_of(
    network: Upscaler, inputs: Tensor, factor: int, noise: Tensor | None = None
) -> NDArray[np.float32]:
    """Run a network over a whole field: (feature, row, col) to (band * s * s, row, col).

    Parameters
    ----------
    network : Upscaler
    inputs : Tensor, (feature, row, col)
    factor : int
    noise : Tensor, (channel, row, col), optional
    """
    training = network.training
    network.eval()
    added = None if noise is None else noise[None]
    found = network(inputs[None], factor, added) * network.weighted(factor)
    network.train(training)
    whole: NDArray[np.float32] = found[0].numpy()
    return whole


def averaged(network: Upscaler, window: Tensor, factor: int) -> NDArray[np.float32]:
    """Average a network over the eight ways of turning and mirroring its input.

    Returns
    -------
    ndarray of float32, (band * factor**2, row, col)
    """
    total = torch.zeros(())
    for turns, mirror in TURNS:
        turned = moved(window, turns, mirror, network.plain, factor)
        found = torch.from_numpy(residual_of(network, turned, factor))
        total = total + moved_back(found, turns, mirror, factor)
    mean: NDArray[np.float32] = (total / len(TURNS)).numpy()
    return mean


def score(network: Upscaler, one: Split) -> float:
    """RMSE over held-out pixels divided by the base's, mean over bands."""
    factor = one.data.factor
    wanted, found = _held(one, around_held(one, lambda x: residual_of(network, x, factor)))
    ours, theirs = (((found - wanted) ** 2).mean(axis=1), (wanted**2).mean(axis=1))
    return float(np.mean(np.sqrt(ours / np.where(theirs > 0, theirs, 1))))


def blend(network: Upscaler, splits: Sequence[Split]) -> dict[int, tuple[float, ...]]:
    """Set the weights of each band's correction; measure what is left with them.

    Parameters
    ----------
    network : Upscaler
        Its buffer ``blend`` is changed.
    splits : sequence of Split

    Returns
    -------
    dict of int to tuple of float
        For each factor that is judged, RMSE over the base's by band, as the network will be used
        (averaged over turns). 1 for a band that is left to the base.
    """
    network.blend.fill_(1.0)
    ratios = {}
    for index, factor in enumerate(network.factors):
        sums = np.zeros((3, len(network.unit)))
        for one in splits:
            if one.data.factor == factor and judges(one):
                wanted, found = _held(one, around_held(one, _averaging(network, factor)))
                sums += [(a * b).sum(axis=1) for a, b in _pairs(wanted, found)]
        if sums[0].any():
            before, both, own = sums
            weight = np.clip(both / np.where(own > 0, own, 1), 0, 1)
            left = before - 2 * weight * both + weight**2 * own
            ratio = np.sqrt(np.maximum(left, 0) / np.where(before > 0, before, 1))
            helped = (ratio < 1 - WORTH) & (before > 0)
            network.blend[index] = torch.from_numpy(np.where(helped, weight, 0.0))
            ratios[factor] = tuple(np.where(helped, ratio, 1.0).tolist())
    return ratios


def around_held(one: Split, run: Callable[[Tensor], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run something on each held-out block with what is around it; 0 elsewhere.

    Parameters
    ----------
    one : Split
    run : callable
        Inputs (feature, row, col) to (band * factor**2, row, col).

    Returns
    -------
    ndarray of float32, (band * factor**2, row, col)
    """
    found = np.zeros_like(one.data.target)
    for part in one.parts:
        seen = run(one.inputs[(slice(None), *part.around)])
        found[(slice(None), *part.core)] = seen[(slice(None), *part.within)]
    return found


def _averaging(network: Upscaler, factor: int) -> Callable[[Tensor], NDArray[np.float32]]:
    return lambda window: averaged(network, window, factor)


def _pairs(
    wanted: NDArray[np.float64], found: NDArray[np.float64]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    return (wanted, wanted), (wanted, found), (found, found)


def _held(
    one: Split, residual: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the held-out pixels of the truth and of what was found: (band, pixel) each."""
    bands = len(residual) // one.data.factor**2
    wanted, found = (
        a[:, one.held].reshape(bands, -1).astype(np.float64) for a in (one.data.target, residual)
    )
    return wanted, found
