"""Models of noise: what makes noise of a known dependence on the value additive, and back.

``multiplicative``: z = ln x. The deviation of z is the noise as a share of the value.
``poisson``: the generalised Anscombe transform, z = (2/a) sqrt(a x + 3 a**2 / 8 + b), for noise of
variance a x + b, a the gain and b the square of the read noise (Starck, Murtagh and Bijaoui 1998;
Makitalo and Foi 2013, doi:10.1109/TIP.2012.2202675). The deviation of z is 1 where the model holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stcli.noise.space.separable import Plane


@dataclass(frozen=True)
class Model:
    """How noise depends on the value of a band.

    Attributes
    ----------
    name : str
        ``"additive"``, ``"multiplicative"`` or ``"poisson"``.
    gain : float
        a, in the band's unit; for ``"poisson"``.
    read_noise : float
        sqrt(b), in the band's unit; for ``"poisson"``.
    """

    name: str = "additive"
    gain: float = 0.0
    read_noise: float = 0.0

    def forward(self, values: Plane) -> Plane:
        """Make the noise additive in values (..., row, col); without a transform: the nearest's."""
        if self.name == "multiplicative":
            return np.log(np.maximum(values, np.finfo(np.float64).tiny))
        if self.name == "poisson":
            return 2 / self.gain * np.sqrt(np.maximum(self._offset(values), 0.0))
        return values

    def backward(self, values: Plane) -> Plane:
        """Undo `forward`, with the closed form of the unbiased inverse for ``"poisson"``."""
        if self.name == "multiplicative":
            return np.exp(values)
        if self.name == "poisson":
            variance = (self.read_noise / self.gain) ** 2
            return self.gain * _unbiased(np.maximum(values, 0.5), variance)
        return values

    def scale(self, values: Plane) -> Plane:
        """Deviation in the band's unit of noise that has deviation 1 after `forward`.

        A share of the value for ``"multiplicative"`` stays a share: 1.
        """
        if self.name == "poisson":
            variance = self.gain * values + self.read_noise**2
            return np.sqrt(np.maximum(variance, self.read_noise**2))
        return np.ones_like(values)

    def _offset(self, values: Plane) -> Plane:
        return self.gain * values + 0.375 * self.gain**2 + self.read_noise**2


def _unbiased(z: Plane, variance: float) -> Plane:
    """Mean of the counts whose transform has mean z (Makitalo and Foi 2013, equation 10)."""
    root = np.sqrt(1.5)
    out: Plane = z**2 / 4 + root / (4 * z) - 11 / (8 * z**2) + 5 * root / (8 * z**3) - 1 / 8
    return np.maximum(out - variance, -variance)
