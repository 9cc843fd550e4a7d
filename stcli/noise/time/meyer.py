"""The Meyer window of the WDM transform."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

#: Steepness of the taper.
STEEPNESS = 4


def meyer(times: int) -> NDArray[np.float64]:
    """Sample the Meyer window at l = 0 … Nt/2, (Nt/2 + 1,): 1, a cosine taper, 0.

    The squares of two neighbouring rows' windows sum to 1.
    """
    l = np.arange(times // 2 + 1)  # noqa: E741 - the paper's letter
    taper = betainc(STEEPNESS, STEEPNESS, np.clip((l - times / 8) / (times / 4), 0, 1))
    window: NDArray[np.float64] = np.cos(math.pi / 2 * taper)
    window[8 * l >= 3 * times] = 0
    return window
