"""Minimum noise fraction: principal components of bands whitened by their noise.

Letters: mu the mean, S the covariance of the bands, N that of their noise, with eigenvectors U and
values d. With W = U d**(-1/2), whose noise is white, and V the eigenvectors of W' S W in falling
order of its values e::

    y = F' (x - mu),   F = W V,   SNR of component k = e_k - 1

(Green et al. 1988, doi:10.1109/36.3001; Lee, Woodbury and Anderson 1990, noise-adjusted principal
components). F is invertible, so x = mu + F^{-T} y; with the first k components alone it is the
input without the noise of the others.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.jit import njit
from stcli.noise.space.separable import Plane

#: Noise variance below this share of the largest is none.
_NONE = 1e-12


@dataclass(frozen=True)
class Rotation:
    """A forward and an inverse transform of bands.

    Attributes
    ----------
    bands : tuple of str
        Names of the bands that went in.
    mean : ndarray of float64 (band,)
    forward, inverse : ndarray of float64 (component, band), (band, component)
        ``y = forward @ (x - mean)``, ``x = mean + inverse @ y``; as many components as bands.
    snr : ndarray of float64 (component,)
        Variance of the signal over that of the noise, falling.
    units : tuple of str or None
        Of the bands; empty where they were not kept.
    """

    bands: tuple[str, ...]
    mean: Plane
    forward: Plane
    inverse: Plane
    snr: Plane
    units: tuple[str | None, ...] = ()

    def to_text(self) -> str:
        """Put the rotation into one line of JSON; numbers to the bit."""
        arrays = {name: _pack(getattr(self, name)) for name in ("mean", "forward", "snr")}
        return json.dumps({"bands": self.bands, "units": self.units, **arrays})

    @classmethod
    def from_text(cls, text: str) -> Rotation:
        """Read what `to_text` wrote.

        Raises
        ------
        ValueError
            It is damaged.
        """
        try:
            found = json.loads(text)
            bands = tuple(str(name) for name in found["bands"])
            count = len(bands)
            mean, snr = (_unpack(found[name], (count,)) for name in ("mean", "snr"))
            forward = _unpack(found["forward"], (count, count))
            units = tuple(found.get("units", ()))  # the first rotations kept none
            return cls(bands, mean, forward, _inverse(forward), snr, units)
        except (KeyError, TypeError, np.linalg.LinAlgError) as error:
            raise ValueError(str(error)) from error


def rotation(bands: tuple[str, ...], values: Plane, noise: Plane) -> Rotation:
    """Find the components of a sample.

    Parameters
    ----------
    values : ndarray of float64 (pixel, band)
    noise : ndarray of float64 (band, band)
        Covariance of the noise.

    Raises
    ------
    InputError
        Bands have no noise to be measured by.
    """
    size = np.sqrt(np.diag(noise))
    spread = values.std(axis=0)
    bare = [
        name.removeprefix("band ")
        for name, sigma, deviation in zip(bands, size, spread, strict=True)
        if not sigma > 1e-9 * deviation or deviation == 0
    ]
    if bare:
        raise InputError(
            f"{'bands' if len(bare) > 1 else 'band'} {', '.join(bare)}: no noise found (constant, "
            "or rounded), some is wanted to measure by; leave out what has none with --bidx."
        )
    mean = values.mean(axis=0)
    centred = (values - mean) / size
    covariance = centred.T @ centred / len(values)
    d, u = np.linalg.eigh(noise / size / size[:, None])
    whitener = u / np.sqrt(np.maximum(d, _NONE * d[-1]))
    e, v = np.linalg.eigh(whitener.T @ covariance @ whitener)
    forward = ((whitener @ v[:, ::-1]) / size[:, None]).T
    heaviest = np.abs(forward * size).argmax(axis=1)  # fixes the sign, which eigh leaves open
    forward *= np.sign(forward[np.arange(len(forward)), heaviest])[:, None]
    return Rotation(bands, mean, forward, _inverse(forward), np.maximum(e[::-1] - 1, 0.0))


def chance(bands: int, independent: float, pixels: int) -> float:
    """Tell up to which SNR components may be noise alone, since covariances are of few pixels.

    The largest eigenvalue of the ratio of two covariances of the same white noise, less one
    (Wachter 1980, doi:10.1214/aos/1176345134).

    Parameters
    ----------
    bands : int
    independent : float
        Coefficients that the covariance of the noise is of, as many as are independent.
    pixels : int
        That the covariance of the bands is of.

    Returns
    -------
    float
        Infinite where the noise's covariance is singular.
    """
    if independent <= bands:
        return np.inf
    c, y = bands / independent, bands / pixels
    return float(((1 + np.sqrt(c + y - c * y)) / (1 - c)) ** 2 - 1)


def project(block: NDArray[Any], matrix: Plane, before: Plane, after: Plane) -> Plane:
    """Give ``matrix @ (block - before) + after`` at each pixel.

    Parameters
    ----------
    block : ndarray (band, row, col)
    matrix : ndarray of float64 (out, band)
    before, after : ndarray of float64 (band,), (out,)

    Returns
    -------
    ndarray of float64 (out, row, col)
        Summed in one order everywhere, as a matrix product is not.
    """
    flat = block.reshape(len(block), -1)
    out = np.empty((len(matrix), flat.shape[1]))
    _project(flat, np.ascontiguousarray(matrix), before, after, out)
    return out.reshape(len(matrix), *block.shape[1:])


@njit(nogil=True, cache=True)
def _project(flat: Any, matrix: Any, before: Any, after: Any, out: Any) -> Any:
    for k in range(matrix.shape[0]):
        out[k, :] = after[k]
        for band in range(matrix.shape[1]):
            for pixel in range(flat.shape[1]):
                out[k, pixel] += matrix[k, band] * (flat[band, pixel] - before[band])


def _inverse(matrix: Plane) -> Plane:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _pack(array: Plane) -> str:
    return base64.b64encode(array.astype("<f8").tobytes()).decode("ascii")


def _unpack(text: str, shape: tuple[int, ...]) -> Plane:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").reshape(shape).astype(np.float64)
