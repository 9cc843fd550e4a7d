"""What is measured of a patch: its spectrum, and how that varies within it.

No feature changes when a patch is turned by a quarter or mirrored. Everything is measured on
*channels*: each band's arsinh(value / unit), which is the logarithm of large values, keeps what
is negative, and stays finite at zero; and the contrasts of pairs of bands, differences of those:
the logarithms of their ratios.

Letters: n patches, b bands, c channels, f features; a patch has r rows and as many columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]
Unit = float | NDArray[np.float64]

#: Percentiles of a channel within a patch.
PERCENTILES = (5, 25, 50, 75, 95)
#: Up to so many bands every pair gives a contrast; with more, each band with the next two.
PAIRED = 16
#: Share of the median absolute value that is arsinh's unit.
UNIT = 0.03
#: Cosines of the mean map, how fast they oscillate, and where values are clipped (deviations).
WAVES, WIDTH, CLIP = 600, 1.0, 5.0
#: Added before logarithms of differences: what noise alone would make.
_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Lens:
    """What features are measured with: fitted on training patches, and kept with the model.

    Attributes
    ----------
    unit : ndarray of float64 ()
        Of arsinh, above 0.
    mean, spread : ndarray of float64 (q,)
        Of a pixel's values and changes in the training patches.
    waves : ndarray of float64 (q, w)
    phases : ndarray of float64 (w,)
        Random cosines of those.
    """

    unit: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    waves: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def fit(cls, patches: Float, seed: int) -> Lens:
        """Fit on patches (n, b, r, r), NaN where not valid; the same seed, the same lens."""
        middle = float(np.nanmedian(np.abs(patches)))
        unit = np.asarray(UNIT * middle if middle > 0 else 1.0)
        mean, spread = _moments(patches, unit)
        spread = np.where(spread > 0, spread, 1.0)
        generator = np.random.default_rng(seed)
        width = np.sqrt(2 * WIDTH / len(mean))
        waves = width * generator.normal(size=(len(mean), WAVES))
        phases = generator.uniform(0, 2 * np.pi, WAVES)
        return cls(unit, mean, spread, waves, phases)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Give all that it has learnt: arrays of any shape by their names, as `vars` has them."""
        return dict(vars(self))


def pairs(bands: int) -> list[tuple[int, int]]:
    """List the bands, from 0, of each contrast."""
    if bands <= PAIRED:
        return list(combinations(range(bands), 2))
    return [(i, j) for i in range(bands) for j in (i + 1, i + 2) if j < bands]


def spectrum(patches: Float, unit: Unit) -> NDArray[np.float64]:
    """Describe each channel's distribution: percentiles, mean, deviation.

    Parameters
    ----------
    patches : ndarray of float (n, b, r, r)
        Without NaN; see `filled`.
    unit : float
        Of arsinh.

    Returns
    -------
    ndarray of float64 (n, f)
    """
    channels = _channels(patches, unit).reshape(len(patches), -1, patches[0, 0].size)
    ranks = np.percentile(channels, PERCENTILES, axis=2)
    moments = np.stack([channels.mean(axis=2), channels.std(axis=2)])
    return _flat(np.concatenate([ranks, moments]).transpose(1, 2, 0))


def pattern(patches: Float, unit: Unit) -> NDArray[np.float64]:
    """Describe how each channel changes over 1, 2, 4, … pixels in four directions.

    The logarithms of the mean absolute differences, down and across in rising order, then the
    two diagonals in rising order: which of two is larger says how drawn-out a pattern is, not
    where it points.

    Parameters and returns as `spectrum`.
    """
    channels, found = _channels(patches, unit), []
    step = 1
    while step < channels.shape[-1]:
        s = step
        straight = (
            _change(channels[..., s:, :], channels[..., :-s, :]),
            _change(channels[..., s:], channels[..., :-s]),
        )
        slanted = (
            _change(channels[..., s:, s:], channels[..., :-s, :-s]),
            _change(channels[..., s:, :-s], channels[..., :-s, s:]),
        )
        for two in (straight, slanted):
            means = np.stack(two, axis=-1)
            found.append(np.log(np.sort(means, axis=-1) + _FLOOR))
        step *= 2
    if not found:  # patches of one pixel
        return np.zeros((len(patches), 0))
    return _flat(np.concatenate(found, axis=-1))


def mean_map(patches: Float, lens: Lens) -> NDArray[np.float64]:
    """Describe the set of a patch's pixels: the means of random cosines of each pixel.

    A pixel is its bands, the steepness of each and the difference of each from its neighbours.
    The means are the random Fourier features (Rahimi and Recht 2007) of the kernel mean embedding
    of the pixels' joint distribution: two patches are near when that is alike, wherever in the
    patch the pixels lie.

    Parameters
    ----------
    patches : ndarray of float (n, b, r, r)
        Without NaN.
    lens : Lens

    Returns
    -------
    ndarray of float64 (n, w)
    """
    seen = (_surroundings(patches, lens.unit) - lens.mean) / lens.spread
    angles = np.clip(seen, -CLIP, CLIP) @ lens.waves
    angles += lens.phases  # in place: by far the largest array of all
    return np.asarray(np.cos(angles, out=angles).mean(axis=1))


def feature_count(bands: int, side: int) -> int:
    """Count the features of a patch, all views together."""
    channels, steps = bands + len(pairs(bands)), max(side - 1, 0).bit_length()
    return channels * (len(PERCENTILES) + 2 + 4 * steps) + WAVES


def filled(patches: Float) -> NDArray[np.float64]:
    """Fill gaps of patches (n, b, r, r) by each band's median of the patch; 0 where it has none."""
    result = np.array(patches, dtype=np.float64)
    holes = np.isnan(result)
    for n in np.flatnonzero(holes.any(axis=(1, 2, 3))):
        for b in range(result.shape[1]):
            here = holes[n, b]
            known = result[n, b][~here]
            result[n, b][here] = np.median(known) if known.size else 0.0
    return result


def features(patches: Float, lens: Lens) -> dict[str, NDArray[np.float64]]:
    """Measure patches (n, b, r, r): each view's features (n, f) by its name."""
    whole = filled(patches)
    return {
        "spectrum": spectrum(whole, lens.unit),
        "pattern": pattern(whole, lens.unit),
        "pixels": mean_map(whole, lens),
    }


def _channels(patches: Float, unit: Unit) -> NDArray[np.float64]:
    """Give bands and contrasts (n, c, r, r)."""
    count, bands, *sides = patches.shape
    contrasts = pairs(bands)
    channels = np.empty((count, bands + len(contrasts), *sides))
    channels[:, :bands] = np.arcsinh(np.asarray(patches, dtype=np.float64) / unit)
    for place, (i, j) in enumerate(contrasts, start=bands):
        np.subtract(channels[:, i], channels[:, j], out=channels[:, place])
    return channels


def _change(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean absolute difference (n, c) of two parts of the channels."""
    apart = one - other
    return np.asarray(np.abs(apart, out=apart).mean(axis=(-2, -1)))


def _surroundings(patches: Float, unit: Unit) -> NDArray[np.float64]:
    """Give each pixel (n, pixel, 3 b): bands, steepness, difference from the four neighbours."""
    bands = np.arcsinh(np.asarray(patches, dtype=np.float64) / unit)
    edged = np.pad(bands, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    up, down = edged[..., :-2, 1:-1], edged[..., 2:, 1:-1]
    left, right = edged[..., 1:-1, :-2], edged[..., 1:-1, 2:]
    steep = np.hypot(down - up, right - left) / 2
    apart = up + down + left + right - 4 * bands
    both = np.concatenate([bands, steep, apart], axis=1)
    return both.reshape(*both.shape[:2], -1).transpose(0, 2, 1)


def _moments(patches: Float, unit: Unit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation (3 b,) of all pixels' surroundings, in the memory of one patch."""
    pixels = len(patches) * patches[0, 0].size
    mean = _sum(_each(patches, unit)) / pixels
    return mean, np.sqrt(_sum((seen - mean) ** 2 for seen in _each(patches, unit)) / pixels)


def _each(patches: Float, unit: Unit) -> Iterator[NDArray[np.float64]]:
    """Give the surroundings (pixel, 3 b) of each patch in turn."""
    for n in range(len(patches)):
        yield np.ascontiguousarray(_surroundings(filled(patches[n : n + 1]), unit)[0])


def _sum(parts: Iterator[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Add rows up, one after another, as numpy does where they stand in one array."""
    total = np.asarray(next(parts).sum(axis=0))
    for part in parts:
        total = np.vstack([total, part]).sum(axis=0)
    return total


def _flat(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(array.reshape(len(array), -1))
