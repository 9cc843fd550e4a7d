"""What a sample of pixels tells of a raster's noise: levels, covariance, SNR, gain and read noise.

A sample is the same for every tiling, and so is all that is reckoned from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.noise.space.models import Model
from stcli.noise.space.separable import Plane
from stcli.noise.space.spatial import MEDIAN

#: Diagonal coefficients beyond this many local deviations are edges, not noise.
EDGE = 4.0
#: Groups of pixels of equal number, by local mean, of the Poisson-Gaussian fit, and their size.
GROUPS, GROUP_SIZE = 24, 200
#: Deviations that the gain must be away from 0, and ratio of extreme variances, to be believed.
SIGNIFICANT, CONTRAST = 5.0, 1.3


@dataclass(frozen=True)
class Sample:
    """Sampled pixels of a raster, in the order of their place.

    Attributes
    ----------
    values : ndarray of float64 (pixel, band)
        As read, in each band's unit; NaN, here and below, where a band has no value.
    local : ndarray of float64 (pixel, band)
        The wavelet's smooth plane of level 1, in the domain that noise is measured in.
    diagonal : ndarray of float64 (pixel, band)
        HH coefficients of level 1 over their gain, in that domain; NaN where they lean on holes.
    sigma : ndarray of float64 (pixel, band, level)
        The noise map there, in that domain; NaN where unknown.
    low, high : ndarray of float64 (band,)
        Least and greatest valid value of the whole raster; of an empty band infinity, and less.
    """

    values: Plane
    local: Plane
    diagonal: Plane
    sigma: NDArray[np.float64]
    low: Plane
    high: Plane

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Bands that have no valid pixel: bool (band,)."""
        found: NDArray[np.bool_] = self.low > self.high
        return found


def typical(sample: Sample) -> NDArray[np.float64]:
    """Median of the noise map: (band, level); NaN where it is unknown everywhere."""
    known = np.where(np.isfinite(sample.sigma), sample.sigma, np.nan)
    out = np.full(known.shape[1:], np.nan)
    for band, level in np.ndindex(*out.shape):
        part = known[:, band, level]
        part = part[~np.isnan(part)]
        if part.size:
            out[band, level] = np.median(part)
    return out


def noise_covariance(sample: Sample) -> Plane:
    """Covariance of the noise between bands at the noise map's typical level.

    Each pixel's diagonal coefficients are divided by one number, how strong the noise is there
    against its typical level (geometric mean over the bands): that leaves what ties the bands
    together untouched. Edges, beyond `EDGE` local deviations in any band, are left out. Only
    pixels count that all bands have whose noise is known.

    Returns
    -------
    ndarray of float64 (band, band)
        NaN for bands whose noise is unknown, and between bands where they have no pixel in common.
    """
    level = typical(sample)[:, 0]
    known = ~np.isnan(level)
    if known.all():
        return _covariance(sample.diagonal, sample.sigma[:, :, 0], level)
    out = np.full((len(level), len(level)), np.nan)
    part = _covariance(sample.diagonal[:, known], sample.sigma[:, known, 0], level[known])
    out[np.ix_(known, known)] = part
    return out


def covariance_pixels(sample: Sample) -> int:
    """Count the sampled pixels that `noise_covariance` is of: where no band has an edge."""
    known = ~np.isnan(typical(sample)[:, 0])
    return int(_inner(sample.diagonal[:, known], sample.sigma[:, known, 0]).sum())


def _inner(diagonal: Plane, sigma: Plane) -> NDArray[np.bool_]:
    """Tell which pixels (pixel,) have noise alone in all bands: bool."""
    with np.errstate(invalid="ignore", divide="ignore"):
        inner: NDArray[np.bool_] = np.all(
            (np.abs(diagonal) <= EDGE * sigma) & np.isfinite(sigma), axis=1
        )
    return inner


def _covariance(diagonal: Plane, sigma: Plane, level: NDArray[np.float64]) -> Plane:
    """Covariance of bands whose noise is known; see `noise_covariance`."""
    inner = _inner(diagonal, sigma)
    if not np.isfinite(sigma).all(axis=1).any():
        return np.where(np.eye(len(level), dtype=bool), np.diag(level**2), np.nan)
    live = level > 0
    inner &= (sigma[:, live] > 0).all(axis=1)
    if inner.sum() < 2:
        return np.diag(level**2)
    if not live.any():
        return np.zeros((len(level), len(level)))
    strength = np.exp(np.log(sigma[inner][:, live] / level[live]).mean(axis=1))
    part = diagonal[inner] / strength[:, None]
    out: Plane = part.T @ part / len(part)
    return out


def signal_to_noise(sample: Sample, model: Model) -> Plane:
    """Variance of the signal over that of the noise: (band,), NaN for a band without noise.

    In the domain that noise is measured in: ``(var z - mean sigma**2) / mean sigma**2``.
    """
    transformed = model.forward(sample.values)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.square(sample.sigma[:, :, 0])
        known = np.isfinite(squares)
        noise = np.where(known, squares, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        ratio = np.maximum(_variance(transformed) - noise, 0.0) / noise
    return np.where(noise > 0, ratio, np.nan)


def _variance(values: Plane) -> Plane:
    """Variance of each band's values (pixel, band), NaN left out: (band,)."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    out: Plane = np.where(known, np.square(values - mean), 0.0).sum(axis=0) / count
    return out


@dataclass(frozen=True)
class PoissonFit:
    """Noise variance as a line in the local mean: ``gain * mean + read_noise**2``.

    Attributes
    ----------
    gain, read_noise : float
        In the band's unit.
    error : float
        Standard error of the gain.
    supported : bool
        The gain is positive, clearly not 0, and the variance changes over the values at hand.
    """

    gain: float
    read_noise: float
    error: float
    supported: bool


def poisson_fit(local: Plane, diagonal: Plane) -> PoissonFit:
    """Fit gain and read noise of one band.

    Pixels are grouped by local mean; a group's variance is the square of its coefficients' robust
    deviation; the line goes through the groups by weighted least squares, twice, so that the
    weights are of the fitted variances (as Foi et al. 2008, doi:10.1109/TIP.2008.2001399, in
    groups of equal number). The line is cut at 0 below.

    Parameters
    ----------
    local, diagonal : ndarray of float64 (pixel,)
        Smooth plane and gain-corrected HH coefficients; NaN does not count.
    """
    known = np.isfinite(local) & np.isfinite(diagonal)
    local, size = local[known], np.abs(diagonal[known])
    groups = min(GROUPS, len(local) // GROUP_SIZE)
    if groups < 4:
        return PoissonFit(0.0, 0.0, np.inf, False)
    parts = np.array_split(np.argsort(local, kind="stable"), groups)
    mean = np.array([local[part].mean() for part in parts])
    variance = np.array([(np.median(size[part]) / MEDIAN) ** 2 for part in parts])
    count = np.array([len(part) for part in parts])
    fitted = np.maximum(variance, variance.max() * 1e-6 + 1e-300)
    unit = float(np.abs(mean).max()) or 1.0  # columns of one size, whatever the band's unit
    design = np.stack([mean / unit, np.ones_like(mean)], axis=1)
    for _ in range(3):
        # the relative deviation of a variance from n coefficients is 2 * 1.17 / sqrt(2 n)
        weight = 1 / (fitted * 1.65 / np.sqrt(count))
        line, *_ = np.linalg.lstsq(design * weight[:, None], variance * weight, rcond=None)
        fitted = np.maximum(design @ line, fitted.max() * 1e-3)
    residual = (variance - design @ line) * weight
    scatter = max(1.0, float(residual @ residual) / max(1, groups - 2))
    normal = (design * weight[:, None]).T @ (design * weight[:, None])
    error = float(np.sqrt(np.linalg.pinv(normal)[0, 0] * scatter)) / unit
    gain, floor = float(line[0]) / unit, float(line[1])
    contrast = fitted.max() > CONTRAST * fitted.min()
    supported = gain > SIGNIFICANT * error and bool(contrast)
    return PoissonFit(gain, float(np.sqrt(max(floor, 0.0))), error, supported)
