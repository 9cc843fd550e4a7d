"""Denoising: Wiener shrinkage of undecimated wavelet coefficients with a local noise map.

A coefficient of gain g has noise of deviation g sigma(p). With two passes the second takes its
energies from the first result's coefficients; see `stcli.noise.space.wiener`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.noise.space.separable import Plane
from stcli.noise.space.wavelets import DETAILS, Bank, analyse, bank, synthesise
from stcli.noise.space.wiener import TINY, Windows, box
from stcli.settings import ShrinkSettings


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
    windows = Windows(valid.astype(np.float64), settings.energy)
    ground = _Ground(bank(settings.wavelet), windows, sigmas, settings)
    first = ground.shrunk(plane, None)
    return first if settings.passes == 1 else ground.shrunk(plane, first)


@dataclass(frozen=True)
class _Ground:
    """What both passes share."""

    filters: Bank
    windows: Windows
    sigmas: list[Plane]
    settings: ShrinkSettings

    def shrunk(self, plane: Plane, pilot: Plane | None) -> Plane:
        """Go down level by level, shrinking details, and come back up."""
        kept, levels = [], range(1, self.settings.depth + 1)
        for level in levels:
            plane, details = analyse(plane, self.filters, level)
            guides = None
            if pilot is not None:
                pilot, guides = analyse(pilot, self.filters, level)
            self._weigh(details, guides, level)
            kept.append(details)
        for level in reversed(levels):
            plane = synthesise(plane, kept.pop(), self.filters, level)
        return plane

    def _weigh(self, details: list[Plane], guides: list[Plane] | None, level: int) -> None:
        sigma = self.sigmas[min(level, len(self.sigmas)) - 1]
        for n, kind in enumerate(DETAILS):
            factor = self.filters.gain(level, kind) * self.settings.strength
            guide = None if guides is None else guides[n]
            self.windows.shrink(details[n], guide, sigma, factor)


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
    before, after = (box(np.where(valid, part, 0.0), BIAS_WINDOW) for part in (values, clean))
    return clean * np.where(after > 0, before / np.maximum(after, TINY), 1.0)
