"""What a learned upscaler sees, all of it at the coarse resolution.

Of each coarse band: its value, and its differences from the mean of the 9 x 9 and of the 3 x 3
pixels around it. What ibp misses depends on the last one most, which on a smooth field is small
beside the others: a network would need many steps to find it there. Of one band without a guide
the differences alone, since its level by itself says nothing of its edges (a model of a terrain's
would be lost at another height). Of
each guide band its block means, the same way, and its *detail*: what is left of the fine guide
when the same interpolation of its block means is taken away. The detail stands in ``s * s``
channels, one for each place in a block. It is to the guide what the network is to find for the
bands, so a linear guide is one weight away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.conserve import conserve
from stcli.downscaling.interpolation import fill_gaps, interpolate
from stcli.downscaling.interpolation import halo as reach_of
from stcli.settings import DownscaleSettings

#: Pixels on either side that the means around a pixel take.
AROUND = (4, 1)
#: Rings of a gap that take the values beside them before the network sees it.
FILL = 12
#: Pixels around a pixel that its differences from the means around it depend on.
REACH = max(AROUND) + FILL


def base(coarse: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Interpolate what the network corrects: ibp, with block means kept.

    Parameters
    ----------
    coarse : ndarray, (band, row, col)
        NaN is no value.

    Returns
    -------
    ndarray of float64, (band, row * factor, col * factor)
    """
    how = DownscaleSettings(factor)
    fine = np.stack([interpolate(band, how) for band in coarse])
    return conserve(fine, coarse, factor)


def halo(margin: int, guided: bool) -> int:
    """Coarse pixels around a pixel that its features, over a margin, and its base depend on."""
    ibp = reach_of(DownscaleSettings())
    return margin + ibp if guided else max(ibp, margin + REACH)


def features(coarse: NDArray[Any], guide: NDArray[Any] | None, factor: int) -> NDArray[np.float32]:
    """Stack the network's input.

    Parameters
    ----------
    coarse : ndarray, (band, row, col)
        NaN is no value.
    guide : ndarray, (guide, row * factor, col * factor), optional
        NaN is no value.
    factor : int
        Only matters with a guide.

    Returns
    -------
    ndarray of float32, (feature, row, col)
        `blocks` of them, and with a guide ``guides * factor**2`` more; no NaN.
    """
    stack = [*coarse]
    details: list[NDArray[Any]] = []
    if guide is not None:
        means = block_mean(guide, factor)
        stack += [*means]
        detail = np.nan_to_num(guide - base(means, factor))
        details = [*unshuffle(detail, factor)]
    filled = [fill(band) for band in stack]
    local = [band - mean_around(band, around) for around in AROUND for band in filled]
    levels = filled if len(filled) > 1 else []
    return np.stack([*levels, *local, *details]).astype(np.float32)


def blocks(bands: int, guides: int) -> int:
    """Count the features that are of whole blocks, not of a place in one."""
    return 3 * (bands + guides) if bands + guides > 1 else 2


def unshuffle(fine: NDArray[Any], factor: int) -> NDArray[Any]:
    """Put the places of a block into channels.

    Returns
    -------
    ndarray, (band * factor * factor, row, col)
        Channels run by band, then row in the block, then column, as torch's pixel shuffle wants.
    """
    bands, rows, cols = fine.shape
    s = factor
    blocks = fine.reshape(bands, rows // s, s, cols // s, s).transpose(0, 2, 4, 1, 3)
    return blocks.reshape(bands * s * s, rows // s, cols // s)


def shuffle(channels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Undo `unshuffle`."""
    s, (count, rows, cols) = factor, channels.shape
    blocks = channels.reshape(count // s**2, s, s, rows, cols).transpose(0, 3, 1, 4, 2)
    return blocks.reshape(count // s**2, rows * s, cols * s)


def fill(band: NDArray[Any]) -> NDArray[np.float64]:
    """Fill gaps (NaN) of a band (row, col) ring by ring, at most `FILL` rings, the rest with 0."""
    return fill_gaps(np.asarray(band, np.float64), ~np.isnan(band), FILL)


def mean_around(band: NDArray[np.float64], around: int) -> NDArray[np.float64]:
    """Average the pixels around each, itself among them; the outermost repeat beyond the edge.

    Parameters
    ----------
    band : ndarray of float64, (row, col)
        Without gaps.
    around : int
        Pixels taken on either side.
    """
    taps = np.full(2 * around + 1, 1 / (2 * around + 1))
    down = correlate1d(band, taps, axis=0, mode="nearest")
    mean: NDArray[np.float64] = correlate1d(down, taps, axis=1, mode="nearest")
    return mean
