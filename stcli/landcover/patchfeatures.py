"""What is measured of a patch: its spectrum, and how that varies within it.

No feature changes when a patch is turned by a quarter or mirrored. Everything is measured on
*channels*: each band's arsinh(value / unit), which is the logarithm of large values, keeps what
is negative, and stays finite at zero; and the contrasts of pairs of bands, differences of those:
the logarithms of their ratios.

Letters: n patches, b bands, c channels, f features; a patch has r rows and as many columns.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]

#: Percentiles of a channel within a patch.
PERCENTILES = (5, 25, 50, 75, 95)
#: Up to so many bands every pair gives a contrast; with more, each band with the next two.
PAIRED = 16
#: Share of the median absolute value that is arsinh's unit.
UNIT = 0.03
#: Added before logarithms of differences: what noise alone would make.
_FLOOR = 1e-3


def unit_of(patches: Float) -> float:
    """Measure the unit of arsinh from training patches (n, b, r, r): above 0."""
    middle = float(np.nanmedian(np.abs(patches)))
    return UNIT * middle if middle > 0 else 1.0


def pairs(bands: int) -> list[tuple[int, int]]:
    """List the bands, from 0, of each contrast."""
    if bands <= PAIRED:
        return list(combinations(range(bands), 2))
    return [(i, j) for i in range(bands) for j in (i + 1, i + 2) if j < bands]


def spectrum(patches: Float, unit: float) -> NDArray[np.float64]:
    """Describe each channel's distribution: percentiles, mean, deviation.

    Parameters
    ----------
    patches : ndarray of float (n, b, r, r)
        Without NaN; see `filled`.
    unit : float
        From `unit_of`.

    Returns
    -------
    ndarray of float64 (n, f)
    """
    channels = _channels(patches, unit).reshape(len(patches), -1, patches[0, 0].size)
    ranks = np.percentile(channels, PERCENTILES, axis=2)
    moments = np.stack([channels.mean(axis=2), channels.std(axis=2)])
    return _flat(np.concatenate([ranks, moments]).transpose(1, 2, 0))


def pattern(patches: Float, unit: float) -> NDArray[np.float64]:
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
            channels[..., s:, :] - channels[..., :-s, :],
            channels[..., s:] - channels[..., :-s],
        )
        slanted = (
            channels[..., s:, s:] - channels[..., :-s, :-s],
            channels[..., s:, :-s] - channels[..., :-s, s:],
        )
        for two in (straight, slanted):
            means = np.stack([np.abs(d).mean(axis=(-2, -1)) for d in two], axis=-1)
            found.append(np.log(np.sort(means, axis=-1) + _FLOOR))
        step *= 2
    if not found:  # patches of one pixel
        return np.zeros((len(patches), 0))
    return _flat(np.concatenate(found, axis=-1))


def feature_count(bands: int, side: int) -> int:
    """Count the features of a patch, all views together."""
    channels, steps = bands + len(pairs(bands)), max(side - 1, 0).bit_length()
    return channels * (len(PERCENTILES) + 2 + 4 * steps)


def filled(patches: Float) -> NDArray[np.float64]:
    """Put each band's median of a patch where it has no value; 0 where it has none at all."""
    result = np.array(patches, dtype=np.float64)
    holes = np.isnan(result)
    for n in np.flatnonzero(holes.any(axis=(1, 2, 3))):
        for b in range(result.shape[1]):
            here = holes[n, b]
            known = result[n, b][~here]
            result[n, b][here] = np.median(known) if known.size else 0.0
    return result


def features(patches: Float, unit: float) -> dict[str, NDArray[np.float64]]:
    """Measure patches (n, b, r, r): each view's features (n, f) by its name."""
    whole = filled(patches)
    return {"spectrum": spectrum(whole, unit), "pattern": pattern(whole, unit)}


def _channels(patches: Float, unit: float) -> NDArray[np.float64]:
    """Give bands and contrasts (n, c, r, r)."""
    bands = np.arcsinh(np.asarray(patches, dtype=np.float64) / unit)
    contrasts = [bands[:, i] - bands[:, j] for i, j in pairs(bands.shape[1])]
    return np.concatenate([bands, np.stack(contrasts, axis=1)], axis=1) if contrasts else bands


def _flat(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(array.reshape(len(array), -1))
