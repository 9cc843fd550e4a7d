"""How noisy each of many bands is: what neither the ground beside nor the bands beside explain.

The difference of two neighbouring pixels holds twice the noise's variance and what changes on the
ground. Of a spectrometer, the changes are much alike in neighbouring bands and the noise is not, so
each band's differences are regressed on those of the `BESIDE` bands on either side, and what is
left over is noise (the decorrelation in spectrum and space of Roger and Arnold 1996,
doi:10.1080/01431169608949090, with robust residuals).

Letters: n pairs of pixels, b bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]

#: Bands on either side that explain a band.
BESIDE = 2
#: Fewer bands than this are no spectrum: what is left over would be the ground's.
LEAST = 16
#: From this ratio of a band's deviation to its noise on, a band weighs full.
CLEAR = 10.0
#: Below this ratio a band is noisy.
NOISY = 3.0
#: Deviation of a Gaussian over its median absolute value.
_GAUSS = 1.4826


def band_noise(differences: Plane) -> Plane:
    """Measure the deviation of each band's noise.

    Parameters
    ----------
    differences : ndarray of float64 (n, b)
        Of pixels beside each other, in the bands' order along the spectrum.

    Returns
    -------
    ndarray of float64 (b,)
        In the bands' units.
    """
    count = differences.shape[1]
    noise = np.empty(count)
    for band in range(count):
        near = range(max(0, band - BESIDE), min(count, band + BESIDE + 1))
        others = differences[:, [other for other in near if other != band]]
        weights = np.linalg.lstsq(others, differences[:, band], rcond=None)[0]
        left = differences[:, band] - others @ weights
        noise[band] = _GAUSS * np.median(np.abs(left)) / np.sqrt(2)
    return noise


def clarity(deviation: Plane, noise: Plane) -> Plane:
    """Ratio of deviation (b,) to noise (b,): infinite without noise, 0 for a flat band."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = deviation / noise
    return np.where(deviation > 0, ratio, 0.0)


def weights(ratio: Plane) -> Plane:
    """Weight of each band, above 0 and up to 1: in proportion to its clarity up to `CLEAR`."""
    return np.clip(ratio / CLEAR, 1e-3, 1.0)
