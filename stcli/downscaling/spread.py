"""Members of an ensemble: their training, and how well their spread says how unsure they are.

A member is the network with noise added to its latent features. With the network held still, what
noise becomes is trained by the continuous ranked probability score of two members against the
truth, in its fair form, which has the right spread as its best whatever the number of members
(Ferro 2014, doi:10.1002/qj.2270):

    CRPS = mean |m_i - y| - sum over i, j of |m_i - m_j| / (2 K (K - 1))

The noise enters oddly and right before the last layer: where that layer is linear, members spread
around what the network finds without noise, and their mean is no worse than it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.downscaling.metrics import fair_crps, spread_skill
from stcli.downscaling.network import CHANNELS, RIM, Upscaler
from stcli.downscaling.splits import Split
from stcli.downscaling.validation import around_held, averaged, residual_of

#: Members that a validation draws.
DRAWN = 8


@dataclass(frozen=True)
class Spread:
    """How members do on held-out pixels.

    Attributes
    ----------
    crps_over_mae : float
        Fair CRPS over the mean absolute error of ibp: below 1 the ensemble knows more.
    spread_skill : float or None
        Root mean variance of the members over the RMSE of their mean, corrected for their number;
        1 is calibrated, less too sure; None where the mean has no error.
    """

    crps_over_mae: float
    spread_skill: float | None

    def to_json(self) -> dict[str, float | None]:
        """Describe it with JSON's types."""
        return asdict(self)


def member_loss(network: Upscaler, inputs: Tensor, target: Tensor, factor: int) -> Tensor:
    """Measure the fair CRPS of two members on crops, off the rim.

    Parameters
    ----------
    network : Upscaler
    inputs : Tensor, (b, f, h, w)
    target : Tensor, (b, c * s * s, h, w)
        In units of the buffer ``unit``; NaN where unknown.
    factor : int
    """
    shape = (inputs.shape[0], CHANNELS, *inputs.shape[-2:])
    kept = network.weighted(factor) / network.units(factor)
    inner = (..., slice(RIM, -RIM), slice(RIM, -RIM))
    wanted = target[inner]
    known = torch.isfinite(wanted)
    truth = torch.nan_to_num(wanted)
    one, other = ((network(inputs, factor, torch.randn(shape)) * kept)[inner] for _ in range(2))
    score = ((one - truth).abs() + (other - truth).abs() - (one - other).abs()) / 2
    found: Tensor = torch.where(known, score, 0.0).sum() / known.sum().clamp(min=1)
    return found


def spread(network: Upscaler, splits: Sequence[Split], seed: int) -> dict[int, Spread]:
    """Draw members on held-out pixels as they are used, and measure them, factor by factor.

    Bands are weighed by the deviation of what ibp misses of them.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for factor in network.factors:
        members, truths = [], []
        for one in splits:
            if one.data.factor == factor:
                unit = network.units(factor)[0, :, 0].numpy()
                member = _member(network, factor, generator)
                turned = around_held(one, _turned(network, factor))
                drawn = [
                    (around_held(one, member) + turned)[:, one.held] / unit for _ in range(DRAWN)
                ]
                members.append(np.stack(drawn).reshape(DRAWN, -1))
                truths.append((one.data.target[:, one.held] / unit).ravel())
        if truths:
            ensemble, truth = np.concatenate(members, axis=1), np.concatenate(truths)
            error = float(np.abs(truth).mean())
            crps = float(fair_crps(ensemble, truth).mean())
            found[factor] = Spread(crps / error if error else 1.0, spread_skill(ensemble, truth))
    return found


def _member(
    network: Upscaler, factor: int, generator: torch.Generator
) -> Callable[[Tensor], NDArray[np.float32]]:
    """Make a function that draws a member of a window."""

    def drawn(window: Tensor) -> NDArray[np.float32]:
        noise = torch.randn((CHANNELS, *window.shape[-2:]), generator=generator)
        return residual_of(network, window, factor, noise)

    return drawn


def _turned(network: Upscaler, factor: int) -> Callable[[Tensor], NDArray[np.float32]]:
    """Make a function that finds what averaging over turns adds to every member of a window."""
    return lambda window: averaged(network, window, factor) - residual_of(network, window, factor)
