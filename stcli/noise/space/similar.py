"""Denoising by means of similar pixels: what looks alike nearby is averaged.

A pixel p becomes the weighted mean of the pixels q in a square about it (non-local means: Buades,
Coll and Morel 2005, doi:10.1109/CVPR.2005.38; for speckle on logarithms, Deledalle, Denis and
Tupin 2009, doi:10.1109/TIP.2009.2029593)::

    u(p, q) = mean over bands and pixels k around of (z(p+k) - z(q+k))**2 / (2 (s sigma)**2)
    w(p, q) = exp(-|p - q|**2 / (2 R**2)) / (1 + u)**1.5,      x'(p) = sum w x / sum w

z is a band in the domain where its noise is additive, x the band in its own unit, sigma the noise
map at p + k, s the strength, R four sevenths of the square's radius. All bands have one say in
what is alike; where bands have valid pixels of their own, those that have both p + k and q + k, or
where none has, all of them by their filled values. A band's mean is over the q that it has. The
weight falls as a power and not as a Gaussian: where nothing is alike, as about
a bright point, the few best still count. More than `NEAR` pixels away every other row and column
is looked at, and counts for four: what lies between is much the same and costs as much.

Where neighbouring pixels share noise, sigma measures less than there is, for diagonal details hold
little of it; `shared` tells how much less from those of the next level.

Every value is a sum in one order wherever it lies in a block, so tiled and untiled agree in bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.noise.space.similar_kernels import gather
from stcli.settings import SimilarSettings

#: Deviation of the weights in space, as a share of the square's radius.
SPACE = 4 / 7
#: Pixels away to which every row and column is looked at.
NEAR = 6
#: Ratio of the maps of levels 2 and 1 up to which the first measures the noise well enough.
WHITE = 2.0
#: Greatest factor on a noise map: what gives more is scene, not noise.
MOST = 3.0


def halo(settings: SimilarSettings, of_map: int) -> int:
    """Pixels that the mean looks away, with a noise map that itself looks `of_map` away."""
    around = settings.around // 2
    return around + max(settings.search // 2, of_map)


def shared(first: float, second: float) -> float:
    """Give the factor on a noise map where neighbouring pixels share noise.

    Parameters
    ----------
    first, second : float
        Typical noise of a band by levels 1 and 2 of its map, equal for white noise; NaN if unknown.

    Returns
    -------
    float
        1 for noise that is white or nearly so, at most `MOST`.
    """
    return min(second / (WHITE * first), MOST) if second > WHITE * first > 0 else 1.0


def similar_mean(
    planes: NDArray[np.float64],
    values: NDArray[np.float64],
    valid: NDArray[np.bool_],
    sigmas: NDArray[np.float64],
    settings: SimilarSettings,
) -> NDArray[np.float64]:
    """Average similar pixels.

    Parameters
    ----------
    planes : ndarray of float64 (band, row, col)
        Values that are compared, with additive noise and holes filled.
    values : ndarray of float64 (band, row, col)
        Values that are averaged; those of invalid pixels do not count.
    valid : ndarray of bool (row, col) or (band, row, col)
    sigmas : ndarray of float64 (band, row, col)
        Noise in the unit of `planes`; where it is 0 the band is neither compared nor changed.

    Returns
    -------
    ndarray of float64 (band, row, col)
        In the unit of `values`; pixels nearer to the block's edge than the halo stay as they are.
    """
    known = sigmas > 0
    inverse = np.zeros(sigmas.shape)
    inverse[known] = 1 / (2 * (settings.strength * sigmas[known]) ** 2)
    inverse /= np.maximum(known.sum(axis=0), 1) * settings.around**2
    near = _near(settings.search // 2)
    masks = (valid if valid.ndim == 3 else valid[None]).astype(np.float64)
    total, weight = np.zeros(values.shape), np.zeros(masks.shape)
    gather(planes, inverse, values, masks, near, settings.around // 2, total, weight)
    del inverse
    found = weight > 0
    np.divide(total, weight, out=total, where=np.broadcast_to(found, total.shape))
    return np.where(known & found, total, values)


def _near(radius: int) -> NDArray[np.float64]:
    """Weigh the offsets (row, col) in space; 0 for those that are not looked at."""
    away = np.arange(-radius, radius + 1)
    near = np.exp(-(away[:, None] ** 2 + away**2) / (2 * max(SPACE * radius, 0.5) ** 2))
    far = np.maximum(abs(away[:, None]), abs(away)) > NEAR
    odd = (away[:, None] % 2 == 1) | (away % 2 == 1)
    return np.where(far, np.where(odd, 0.0, 4 * near), near)
