"""A sample made finer again in every way, to be looked at beside its truth."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from stcli.downscaling.ensemble import Ensemble
from stcli.downscaling.features import base, shuffle
from stcli.downscaling.network import Upscaler
from stcli.downscaling.samples import Sample
from stcli.downscaling.validation import averaged, residual_of

#: Sides of the square that a member's noise is drawn for are multiples of it.
_NOISE = 64


def rebuilt(network: Upscaler, one: Sample) -> dict[str, NDArray[np.float64]]:
    """Make a sample's coarse field finer; its truth stands last.

    Returns
    -------
    dict of str to ndarray of float64, (band, row * factor, col * factor)
        ``ibp``, ``network``, ``a member`` and ``truth``.
    """
    s, ibp, window = one.factor, base(one.coarse, one.factor), torch.from_numpy(one.inputs)
    rows, cols = one.coarse.shape[1:]
    side = _NOISE * -(-max(rows, cols) // _NOISE)
    noise = torch.from_numpy(Ensemble(2).noise(0, (0, 0), side, 0)[:, :rows, :cols])
    found = averaged(network, window, s)
    apart = residual_of(network, window, s, noise) - residual_of(network, window, s)
    return {
        "ibp": ibp,
        "network": ibp + shuffle(found, s),
        "a member": ibp + shuffle(found + apart, s),
        "truth": ibp + shuffle(one.target, s),
    }
