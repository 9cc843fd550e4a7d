"""Denoising: Wiener shrinkage of undecimated wavelet coefficients with a local noise map.

For a coefficient d of gain g under noise of deviation sigma(p), and E the mean of d**2 in a window
(valid pixels only)::

    d' = d max(E - (g sigma)**2, 0) / E

the empirical Wiener gain (Lee 1980, doi:10.1109/TPAMI.1980.4766994, in the wavelet domain). With
two passes the second takes its energies from the first result's coefficients s::

    d' = d E_s / (E_s + (g sigma)**2)

(Ghael, Sayeed and Baraniuk 1997, doi:10.1117/12.292799).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.noise.wavelets import DETAILS, Bank, Plane, analyse, bank, spread, synthesise
from stcli.settings import ShrinkSettings

#: Energies below this are no coefficient at all.
_TINY = 1e-300


def halo(settings: ShrinkSettings, of_map: int) -> int:
    """Pixels that shrinkage looks away, with a noise map that itself looks `of_map` away."""
    filters = bank(settings.wavelet)
    once = filters.halo(settings.depth) + settings.energy // 2
    return (settings.passes - 1) * once + max(once, filters.reach(settings.depth) + of_map)


def shrink(
    plane: Plane, valid: NDArray[np.bool_], sigmas: list[Plane], settings: ShrinkSettings
) -> Plane:
    """Shrink a plane's coefficients.

    Parameters
    ----------
    plane : ndarray of float64 (row, col)
        Values with holes filled.
    valid : ndarray of bool (row, col)
    sigmas : list of ndarray of float64 (row, col)
        Noise by level, in the plane's unit; levels beyond the last take the last. 0 keeps the
        coefficient as it is.

    Returns
    -------
    ndarray of float64 (row, col)
    """
    weight = _mean(valid.astype(np.float64), settings.energy)
    filters = bank(settings.wavelet)
    ground = _Ground(filters, valid, weight, [s * settings.strength for s in sigmas], settings)
    first = ground.level(plane, None, 1)
    return first if settings.passes == 1 else ground.level(plane, first, 1)


class _Ground:
    """What all levels of one plane share."""

    def __init__(
        self,
        filters: Bank,
        valid: NDArray[np.bool_],
        weight: Plane,
        sigmas: list[Plane],
        settings: ShrinkSettings,
    ) -> None:
        self.filters, self.valid, self.weight = filters, valid, weight
        self.sigmas, self.settings = sigmas, settings

    def level(self, plane: Plane, pilot: Plane | None, level: int) -> Plane:
        """Shrink the levels from `level` down, and come back up."""
        if level > self.settings.depth:
            return plane
        smooth, details = analyse(plane, self.filters, level)
        clean = None if pilot is None else analyse(pilot, self.filters, level)
        sigma = self.sigmas[min(level, len(self.sigmas)) - 1]
        for n, kind in enumerate(DETAILS):
            noise = np.square(self.filters.gain(level, kind) * sigma)
            guide = details[n] if clean is None else clean[1][n]
            details[n] *= self._gain(guide, noise, clean is not None)
        below = self.level(smooth, None if clean is None else clean[0], level + 1)
        return synthesise(below, details, self.filters, level)

    def _gain(self, guide: Plane, noise: Plane, is_clean: bool) -> Plane:
        energy = _mean(np.where(self.valid, np.square(guide), 0.0), self.settings.energy)
        energy /= np.maximum(self.weight, _TINY)
        if is_clean:
            return (energy + _TINY) / (energy + noise + _TINY)
        gain: Plane = np.maximum(energy - noise, 0.0) / np.maximum(energy, _TINY)
        return np.where(noise > 0, gain, 1.0)


def _mean(plane: Plane, side: int) -> Plane:
    """Mean over a square, summed in one order everywhere."""
    return spread(plane, np.full(side, 1.0 / side), -(side // 2))


#: Side of the window in which the radiometry of speckled bands is kept, and how far it looks.
BIAS_WINDOW = 33
BIAS_REACH = BIAS_WINDOW // 2


def unbiased(values: Plane, clean: Plane, valid: NDArray[np.bool_]) -> Plane:
    """Correct the bias of shrinkage in the logarithm.

    The mean of a logarithm is not the logarithm of the mean: what was shrunk there is too dark, by
    exp(psi(L)) / L for L looks. So the result is multiplied by the ratio of the local means of
    input and result, which keeps the radiometry whatever the speckle's law.

    Parameters
    ----------
    values, clean : ndarray of float64 (row, col)
        Before and after, in the band's unit, positive.
    """
    before, after = (_mean(np.where(valid, part, 0.0), BIAS_WINDOW) for part in (values, clean))
    return clean * np.where(after > 0, before / np.maximum(after, _TINY), 1.0)
