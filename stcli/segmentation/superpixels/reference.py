"""SLIC in plain NumPy: what the kernels in `assign` do, to the bit, a raster at a time.

Letters: B bands, S step of the lattice; a pixel's cell is its place on the lattice over S.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.segmentation.superpixels.rounds import fixed_point, weights
from stcli.segmentation.superpixels.slic import Block
from stcli.settings import BandScaling, SlicSettings


def scaled(block: Block, scaling: BandScaling) -> NDArray[np.float32]:
    """Scale bands to about [0, 1], held within bounds: float32 (band, row, col), 0 if not valid."""
    kind = np.result_type(block.values, np.float32)  # a wide type's offset is taken off in float64
    low, high = (np.array(x, dtype=kind)[:, None, None] for x in (scaling.low, scaling.high))
    features = (block.values - low).astype(np.float32) / (high - low).astype(np.float32)
    return np.where(block.valid, np.clip(features, -scaling.HELD, scaling.HELD), np.float32(0))


def fused(
    a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]
) -> NDArray[np.float32]:
    """a·b + c with one rounding, as a processor's fused operation has it; shapes as of `+`."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def reference(block: Block, scaling: BandScaling, settings: SlicSettings) -> NDArray[np.int64]:
    """Choose the cell of each pixel, before fragments are settled.

    Returns
    -------
    ndarray of int64 (2, row, col)
        Row and column of the chosen cell on the lattice; the pixel's own where not valid.
    """
    x, step, bands = scaled(block, scaling), settings.step, len(scaling.low)
    least, weight, first = weights(settings, bands)
    place = np.indices(block.valid.shape) + np.array(block.lattice)[:, None, None]
    home = place // step
    corner = home[:, 0, 0] - 1
    shape = tuple(home[:, -1, -1] - corner + 2)  # a rim of cells without centres around all
    centres = np.full((bands + 2, *shape), np.nan, dtype=np.float32)
    factor = np.full(shape, first, dtype=np.float32)
    unit, chosen, adaptive = fixed_point(step), home.copy(), settings.compactness == "auto"
    for turn in range(settings.iterations + 1):
        if turn:
            best = np.full(block.valid.shape, np.inf, dtype=np.float32)
            far = np.zeros_like(best)
            here = tuple(home - corner[:, None, None])
            local = [*(x - centres[:bands][(slice(None), *here)])]
            inside = (place - home * step).astype(np.float32)
            local += [*(inside - centres[bands:][(slice(None), *here)])]
            square = np.zeros_like(best)
            for part in local[:bands]:
                square = fused(part, part, square)
            for away in np.ndindex(3, 3):
                cell = home + np.array(away)[:, None, None] - 1
                near = tuple(cell - corner[:, None, None])
                gap = centres[(slice(None), *near)] - centres[(slice(None), *here)]
                offset = ((cell - home) * np.float32(step)).astype(np.float32)
                gap[bands:] = centres[bands:][(slice(None), *near)] + offset
                gap[bands:] -= centres[bands:][(slice(None), *here)]
                position = np.zeros_like(best)
                for part in gap[bands:]:
                    position = fused(part * weight, part, position)
                distance = np.zeros_like(best) if adaptive else position
                for part in gap[:bands]:
                    distance = fused(part, part, distance)
                for part, other in zip(gap[:bands], local, strict=False):
                    distance = fused(np.float32(-2) * part, other, distance)
                spectral = np.maximum(distance + square, np.float32(0))
                if adaptive:
                    distance = fused(spectral, factor[near], position)
                for part, other in zip(gap[bands:], local[bands:], strict=True):
                    distance = fused(np.float32(-2) * part * weight, other, distance)
                less = distance < best
                best, far = np.where(less, distance, best), np.where(less, spectral, far)
                chosen = np.where(less, cell, chosen)
        own = tuple((chosen - corner[:, None, None])[:, block.valid])
        parts = [*(x.astype(np.float64) * unit), *(place - chosen * step), np.ones(x.shape[1:])]
        totals = np.zeros((bands + 3, *shape), dtype=np.int64)
        for total, part in zip(totals, parts, strict=True):
            np.add.at(total, own, part[block.valid].astype(np.int64))
        some, scale = totals[-1] > 0, np.array([unit] * bands + [1, 1])[:, None]
        centres[:, some] = totals[:-1, some] / scale / totals[-1, some]
        if turn and adaptive:
            widest = np.full(shape, least, dtype=np.float32)
            np.maximum.at(widest, own, far[block.valid])
            factor = np.float32(1) / widest
    return np.asarray(np.where(block.valid, chosen, home))
