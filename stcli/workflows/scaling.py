"""Band scaling from one pass over the raster: robust percentiles of a regular sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.raster.reading.read import Raster
from stcli.settings import BandScaling, RunSettings
from stcli.workflows.empty import no_valid_pixel
from stcli.workflows.job import Pass, Progress
from stcli.workflows.passes import plan_first

#: Pixels of the sample at most; a raster of no more is taken whole.
SAMPLE = 1 << 20
PERCENTILES = (2.0, 98.0)
#: Planned tiles are multiples of this, from the raster's corner, as a file's own blocks mostly are.
_ALIGN = 1024

#: Nanoseconds in which a band's pixel is read at least: uncompressed, from the system's memory.
_PIXEL = 1.0


def sample_step(shape: tuple[int, int], most: int = SAMPLE) -> int:
    """Rows and columns between sampled pixels, of which there are so many at most."""
    return max(1, int(np.ceil((shape[0] * shape[1] / most) ** 0.5)))


def sample_block(
    block: NDArray[Any], valid: NDArray[np.bool_], where: Tile, step: int
) -> NDArray[Any]:
    """Sample the core of a block (band, row, col), valid (row, col): (band, pixel).

    Sampled rows and columns are counted from the raster's corner, so the sample is the same for
    every tiling.
    """
    core = where.core
    rows = slice(where.trim[0].start + -core.row_off % step, where.trim[0].stop, step)
    cols = slice(where.trim[1].start + -core.col_off % step, where.trim[1].stop, step)
    return block[:, rows, cols][:, valid[rows, cols]]


@dataclass(frozen=True)
class SampleStep:
    """The block function: `sample_block` with its step."""

    step: int

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> NDArray[Any]:
        """Sample a block."""
        return sample_block(block, valid, where, self.step)


def scaling_of(samples: Sequence[NDArray[Any]]) -> BandScaling | None:
    """Turn samples (band, pixel) into a scaling: `PERCENTILES` of each band; None without any.

    A band of a single value is scaled by 1, so that it weighs nothing.
    """
    pixels = np.concatenate(samples, axis=1) if samples else np.empty((0, 0))
    if pixels.size == 0:
        return None
    short = np.float32 if np.can_cast(pixels.dtype, np.float32) else np.float64
    low, high = np.transpose([_percentiles(band) for band in pixels])
    flat = high - low <= np.finfo(short).eps * np.maximum(np.abs(low), np.abs(high))
    spread = pixels.max(axis=1).astype(np.float64) - pixels.min(axis=1).astype(np.float64)
    least = np.spacing(np.abs(low))  # what 1 is nothing to, float64 still tells from its neighbour
    high = np.where(flat, low + np.maximum(np.where(spread > 0, spread, 1), least), high)
    return BandScaling(tuple(low.tolist()), tuple(high.tolist()))


def told_apart(scaling: BandScaling) -> BandScaling:
    """Widen ranges of which float32, in which series are held, makes nothing."""
    low = np.array(scaling.low, dtype=np.float32)
    apart = np.array(scaling.high, dtype=np.float32) > low
    least = np.nextafter(low, np.float32(np.inf)).astype(np.float64)
    high = np.where(apart, scaling.high, least)
    return BandScaling(scaling.low, tuple(high.tolist()))


def _percentiles(band: NDArray[Any]) -> NDArray[np.float64]:
    """Percentiles of the values of a band, which are taken one after the other: room for one."""
    found = np.percentile(band.astype(np.float64), PERCENTILES, overwrite_input=True)
    return np.asarray(found, dtype=np.float64)


def band_scaling(raster: Raster, settings: RunSettings, progress: Progress) -> BandScaling:
    """Measure the scaling of a raster's bands in one pass.

    Raises
    ------
    InputError
        When no pixel is valid.
    """
    step = SampleStep(sample_step(raster.info.shape))
    found = scaling_of(plan_scaling(raster, settings).gather(step, "scaling", progress))
    if found is None:
        raise no_valid_pixel(raster)
    return found


def plan_scaling(raster: Raster, settings: RunSettings) -> Pass:
    """Plan the pass that measures the scaling."""
    info = raster.info
    pixel = info.count * info.dtype.itemsize
    cost = Cost(read_pixel=2 * pixel + 2, once=SAMPLE * info.count * 24)
    align = 1 if settings.tile_size else _ALIGN
    if raster.tiles and not settings.tile_size:  # so that each is decoded once, and stays in cache
        align = raster.tiles * -(-_ALIGN // raster.tiles)
        cost = replace(cost, pixel=_PIXEL * info.count)
    return plan_first(raster, cost, settings, align=align, origin=(0, 0))
