"""The linear guide: what finer bands of the same scene say about coarser ones.

Of a guide only its *detail* is used, D = g - ibp(M g): what interpolation of its block means
misses. One scale coarser all of it is known, so that is where the weights are learned and where
they are judged: the band is coarsened once more, ``x - ibp(M x) = sum of a_k D_k`` is solved by
least squares over pixels, and then ``fine = ibp(x) + sum of a_k D_k`` one scale finer; block means
are kept. That what holds between coarser scales is used at finer ones is the protocol of Wald et
al. (1997); the sum is a high-pass relative of the intensity substitutions of pan-sharpening
(Aiazzi et al. 2007, doi:10.1109/TGRS.2007.901007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.features import base

#: Coarser pixels at the edge of a part that are not learned from: the base does not see beyond.
RIM = 8
#: Side of the squares, in coarser pixels, that are learned from and judged on in turn.
SQUARE = 16


@dataclass(frozen=True)
class Part:
    """Pixels of one part of a raster, one scale coarser, in two halves like a chessboard's.

    Attributes
    ----------
    columns : tuple of ndarray of float64, (guides + bands, pixel)
        The guide's detail, then what the base of each band misses; one array for each half.
    """

    columns: tuple[NDArray[np.float64], NDArray[np.float64]]


def part(coarse: NDArray[Any], guide: NDArray[Any], factor: int) -> Part:
    """Coarsen a part of the raster and of its guide once more, and find what is missed.

    Parameters
    ----------
    coarse : ndarray, (band, row, col)
        NaN is no value; what makes no whole block of `factor` is left out.
    guide : ndarray, (guide, row * factor, col * factor)
    factor : int
    """
    rows, cols = (n // factor * factor for n in coarse.shape[1:])
    bands = coarse[:, :rows, :cols]
    means = block_mean(guide, factor)[:, :rows, :cols]
    stack = np.concatenate([means, bands])
    if min(rows, cols) <= 2 * RIM * factor:
        none = np.zeros((len(stack), 0))
        return Part((none, none))
    stack = stack - base(block_mean(stack, factor), factor)
    inner = stack[:, RIM * factor : rows - RIM * factor, RIM * factor : cols - RIM * factor]
    down, right = (np.arange(n) // (SQUARE * factor) for n in inner.shape[1:])
    black = (down[:, None] + right) % 2 == 0
    known = ~np.isnan(inner).any(axis=0)
    return Part((inner[:, known & black], inner[:, known & ~black]))


@dataclass(frozen=True)
class Weights:
    """A linear guide.

    Attributes
    ----------
    values : ndarray of float64, (band, guide)
        0 for a band that the guide does not help.
    ratios : tuple of float
        RMSE over ibp's where it was not learned, one scale coarser, for each band; infinite where
        there was nothing to judge by.
    """

    values: NDArray[np.float64]
    ratios: tuple[float, ...]

    @property
    def helped(self) -> tuple[bool, ...]:
        """Which bands the guide helps: the others are left to ibp."""
        return tuple(ratio < 1 for ratio in self.ratios)


def weights(parts: Sequence[Part], guides: int, bands: int) -> Weights:
    """Learn the weights on all pixels; judge those of each half on the other.

    Parameters
    ----------
    parts : sequence of Part
    guides, bands : int
    """
    grams = [np.zeros((guides + bands, guides + bands)) for _ in range(2)]
    for one in parts:
        for gram, columns in zip(grams, one.columns, strict=True):
            gram += np.einsum("ip,jp->ij", columns, columns)
    wrong = sum(_errors(_solve(a, guides), b, guides) for a, b in (grams, grams[::-1]))
    before = np.diag(grams[0] + grams[1])[guides:]
    known = all(gram[:guides, :guides].any() for gram in grams) & (before > 0)
    ratios = np.sqrt(np.where(known, wrong, np.inf) / np.where(known, before, 1))
    found = _solve(grams[0] + grams[1], guides)
    return Weights(np.where(ratios[:, None] < 1, found, 0.0), tuple(ratios.tolist()))


def _solve(gram: NDArray[np.float64], guides: int) -> NDArray[np.float64]:
    """Least squares from the products of all pairs: (band, guide).

    Guides are brought to one size first, for what steadies them must not depend on their units: of
    an index beside digital numbers it would leave nothing.
    """
    size = np.sqrt(np.diag(gram)[:guides])
    size = np.where(size > 0, size, 1.0)
    inner = gram[:guides, :guides] / size / size[:, None]
    steady = inner + 1e-9 * np.eye(guides)
    cross = gram[:guides, guides:] / size[:, None]
    found: NDArray[np.float64] = np.linalg.lstsq(steady, cross, rcond=None)[0].T / size
    return found


def _errors(
    found: NDArray[np.float64], gram: NDArray[np.float64], guides: int
) -> NDArray[np.float64]:
    """Sum of squares that weights leave, for each band, from the products of all pairs."""
    left = np.concatenate([-found, np.eye(len(found))], axis=1)
    wrong: NDArray[np.float64] = np.maximum(np.einsum("bi,ij,bj->b", left, gram, left), 0)
    return wrong


def detail(guide: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Find what interpolation of a guide's block means misses; 0 where the guide has no value.

    Parameters
    ----------
    guide : ndarray, (guide, row, col)
    """
    return np.nan_to_num(guide - base(block_mean(guide, factor), factor))
