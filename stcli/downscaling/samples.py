"""Samples: fields whose fine values are known, coarsened.

A *sample* is one field at one factor: its features at the coarse resolution and the residual of
the base, place by place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from stcli.downscaling.coarsen import block_mean, block_sum, spread
from stcli.downscaling.features import base, features, unshuffle


@dataclass(frozen=True)
class Sample:
    """One field at one factor.

    Attributes
    ----------
    factor : int
    inputs : ndarray of float32, (feature, row, col)
    target : ndarray of float32, (band * factor**2, row, col)
        Truth minus base, place by place; NaN where either has no value.
    coarse : ndarray of float64, (band, row, col)
        What is made finer.
    whole : (int, int)
        Rows and columns of the first sample of the field, of which this may be a shifted one: in
        all of them the same blocks are held out.
    """

    factor: int
    inputs: NDArray[np.float32]
    target: NDArray[np.float32]
    coarse: NDArray[np.float64]
    whole: tuple[int, int]


def sample(truth: NDArray[Any], guide: NDArray[Any] | None, factor: int) -> Sample:
    """Coarsen a field and find what the base misses.

    Parameters
    ----------
    truth : ndarray, (band, row, col)
        NaN is no value; rows and columns that make no whole block are left out.
    guide : ndarray, (guide, row, col), optional
        On the same grid.
    factor : int
    """
    rows, cols = (n // factor * factor for n in truth.shape[1:])
    fine = truth[:, :rows, :cols]
    coarse = block_mean(fine, factor)
    coarse[block_sum(np.isnan(fine), factor) > 0] = np.nan
    seen = None if guide is None else guide[:, :rows, :cols]
    inputs = features(coarse, seen, factor)
    target = unshuffle(fine - base(coarse, factor), factor).astype(np.float32)
    return Sample(factor, inputs, target, coarse, (rows // factor, cols // factor))


def paired(
    coarse: NDArray[Any], fine: NDArray[Any], guide: NDArray[Any] | None, factor: int
) -> Sample:
    """Make a sample of a coarse and a fine field of two sources.

    Where their block means differ no network that keeps the coarse field's can follow; so only
    what the fine field has within its blocks is learned.

    Parameters
    ----------
    coarse : ndarray, (band, row, col)
    fine : ndarray, (band, row * factor, col * factor)
    guide : ndarray, (guide, row * factor, col * factor), optional
    factor : int
    """
    known = np.asarray(coarse, np.float64)
    within = fine - spread(block_mean(fine, factor), factor)
    missed = within - (base(known, factor) - spread(known, factor))
    target = unshuffle(missed, factor).astype(np.float32)
    rows, cols = known.shape[1:]
    return Sample(factor, features(known, guide, factor), target, known, (rows, cols))


def copies(
    truth: NDArray[Any],
    guide: NDArray[Any] | None,
    factor: int,
    blurs: Sequence[Sequence[float]],
    turn: int | None = None,
) -> list[Sample]:
    """Make samples of blurred truths, the first of them at several shifts of the block grid.

    A sensor's bands are less sharp at their own resolution than block means of them are, by its
    point spread; a model meant for another scale than it is trained at must have seen that.

    Parameters
    ----------
    truth : ndarray, (band, row, col)
    guide : ndarray, (guide, row, col), optional
    factor : int
    blurs : sequence of sequence of float
        Of each copy, standard deviations of a Gaussian in fine pixels, one a band.
    turn : int, optional
        Only the shift whose turn it is: for a field that is one of many.
    """
    found: list[Sample] = []
    starts, whole = shifts(factor), (truth.shape[1] // factor, truth.shape[2] // factor)
    if turn is not None:
        starts = (starts[turn % len(starts)],)
    for number, blur in enumerate(blurs):
        soft = np.stack([blurred(band, sigma) for band, sigma in zip(truth, blur, strict=True)])
        for down, right in starts[: 1 if number else None]:
            seen = None if guide is None else guide[:, down:, right:]
            one = sample(soft[:, down:, right:], seen, factor)
            found.append(replace(one, whole=whole))
    return found


def shifts(factor: int) -> tuple[tuple[int, int], ...]:
    """Choose four places where the block grid may begin: coarsened there, a field is a new one."""
    half = factor // 2
    return (0, 0), (half, half), (factor - 1, half - 1), (half - 1, factor - 1)


def transferred(psf: Sequence[float], factor: int, bands: int) -> list[tuple[float, ...]]:
    """Choose the blurs of a model that is trained one scale coarser than it is used.

    With the point spread known, a band of one pixel's deviation s beyond the pixel's own box has
    1 / factor of it left among pixels that are `factor` times as large; the rest,
    s (1 - 1 / factor**2)**0.5, is put back. Copies have 0.7 and 1.3 of it. Unknown, copies have
    none and 0.45 pixels.

    Parameters
    ----------
    psf : sequence of float
        Deviations in pixels, one a band or one for all; empty if unknown.
    factor, bands : int
    """
    if not psf:
        return [(0.0,) * bands, (0.45,) * bands]
    left = (1 - 1 / factor**2) ** 0.5
    each = [sigma * left for sigma in (psf if len(psf) == bands else tuple(psf) * bands)]
    return [tuple(share * sigma for sigma in each) for share in (1.0, 0.7, 1.3)]


def blurred(band: NDArray[Any], sigma: float) -> NDArray[np.float64]:
    """Blur, leaving gaps out of every mean.

    At every frequency that pixels can hold the transfer is that of the Gaussian, so at Nyquist it
    is what `stcli.settings.psf_of_mtf` was given. (A Gaussian sampled at whole pixels has, at a
    deviation of 0.3 pixels, a tenth of its variance, and blurs next to nothing.)

    Parameters
    ----------
    band : ndarray, (row, col)
        NaN is no value.
    sigma : float
        Deviation in pixels.
    """
    if sigma == 0:
        return np.asarray(band, np.float64)
    taps = _taps(sigma)
    known = ~np.isnan(band)
    weight = _filtered(known.astype(np.float64), taps)
    total = _filtered(np.where(known, band, 0.0).astype(np.float64), taps)
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


def _taps(sigma: float) -> NDArray[np.float64]:
    """Weights (2 * n + 1,) whose transfer is exp(-sigma**2 * w**2 / 2) up to w = pi."""
    reach = math.ceil(4 * sigma) + 24  # the tail falls as 1 / n ** 2, for the transfer ends at pi
    w = 2 * np.pi * np.fft.rfftfreq(8 * reach)
    half = np.fft.irfft(np.exp(-(sigma**2) * w**2 / 2))[: reach + 1]
    taps: NDArray[np.float64] = np.concatenate([half[:0:-1], half])
    taps /= taps.sum()
    return taps


def _filtered(x: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh both ways; the outermost pixels repeat beyond the edge."""
    down = correlate1d(x, taps, axis=0, mode="nearest")
    found: NDArray[np.float64] = correlate1d(down, taps, axis=1, mode="nearest")
    return found
