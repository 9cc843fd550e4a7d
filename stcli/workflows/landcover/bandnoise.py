"""What the noise of many bands does to a training: bands weigh less, or are left out, by name.

A weight is put into the band's scaling: the range that is scaled to [-1, 1] becomes wider, so the
band's values become smaller, in the network and in the segmentation alike. The card keeps the
scaling, and classification needs to know nothing more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, UsageError
from stcli.noise.space.bands import LEAST, NOISY, band_noise, clarity, weights
from stcli.raster.reading.read import Raster
from stcli.settings import BandScaling, RunSettings
from stcli.workflows.empty import empty_bands, no_valid_pixel
from stcli.workflows.job import Inputs, Progress
from stcli.workflows.passes import plan_first
from stcli.workflows.scaling import sample_step

logger = logging.getLogger("stcli")

#: Pairs of pixels that are looked at, at most.
PAIRS = 1 << 16


@dataclass(frozen=True, eq=False)
class Clarity:
    """How clear each band is.

    Attributes
    ----------
    bands : tuple of str
    ratio : ndarray of float64 (band,)
        Deviation over the deviation of the noise.
    """

    bands: tuple[str, ...]
    ratio: NDArray[np.float64]

    @property
    def noisy(self) -> tuple[str, ...]:
        """Bands that are mostly noise."""
        return tuple(b for b, r in zip(self.bands, self.ratio, strict=True) if r < NOISY)

    def to_json(self) -> dict[str, Any]:
        """Say each band's ratio; None for a band in which no noise was found."""
        ratio = [round(float(r), 2) if np.isfinite(r) else None for r in self.ratio]
        return dict(zip(self.bands, ratio, strict=True))


@dataclass(frozen=True, eq=False)
class Heed:
    """What a training does about noisy bands.

    Attributes
    ----------
    mode : str
        ``"weight"``, ``"drop"`` or ``"none"``.
    found : Clarity or None
        None where the noise was not asked for.
    """

    mode: str
    found: Clarity | None = None

    @classmethod
    def of(cls, inputs: Inputs, mode: str, settings: RunSettings, progress: Progress) -> Heed:
        """Measure a raster's bands, if asked to; raises as `measure_clarity`."""
        if mode == "none":
            return cls(mode)
        if mode == "drop":
            inputs = without_empty(inputs)
        with inputs.open() as raster:
            return cls(mode, measure_clarity(raster, settings, progress))

    def inputs(self, inputs: Inputs) -> Inputs:
        """Leave noisy bands out, where that is the mode; raises as `without_noisy`."""
        return (
            inputs
            if self.found is None or self.mode != "drop"
            else without_noisy(inputs, self.found)
        )

    def scaling(self, scaling: BandScaling) -> BandScaling:
        """Let noisy bands weigh less, where that is the mode."""
        return (
            scaling
            if self.found is None or self.mode != "weight"
            else weighted(scaling, self.found)
        )

    def to_json(self) -> dict[str, Any]:
        """Say each band's clarity for the card; nothing where it was not measured."""
        return {} if self.found is None else {"bands_clarity": self.found.to_json()}


def measure_clarity(raster: Raster, settings: RunSettings, progress: Progress) -> Clarity:
    """Measure each band's noise from a regular sample of neighbouring pixels, in one pass.

    Raises
    ------
    InputError
        Too few bands to tell noise from ground, or no two valid pixels beside each other.
    """
    info = raster.info
    if info.count < LEAST:
        raise InputError(
            f"{info.path}: {info.count} bands found, at least {LEAST} wanted for --bands-noise: "
            "the noise of fewer cannot be told from the ground; stcli noise measures it in space."
        )
    step = sample_step(info.shape, PAIRS)

    def function(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        return _pairs(block, valid, where, step, info.shape[1])

    pixel = info.count * info.dtype.itemsize
    cost = Cost(read_pixel=2 * pixel + 2, once=PAIRS * info.count * 8 * 6)
    tiles = plan_first(raster, cost, settings, 1).gather(function, "noise of bands", progress)
    found = [tile for tile in tiles if len(tile[0])]
    if not found and empty_bands(raster):
        raise no_valid_pixel(raster)
    if not found:
        raise InputError(f"{info.path}: no two valid pixels beside each other found.")
    places, both = (np.concatenate(parts) for parts in zip(*found, strict=True))
    both = both[np.argsort(places, kind="stable")]  # sums of one order, whatever the tiles
    left, right = both[:, : info.count], both[:, info.count :]
    ratio = clarity(left.std(axis=0), band_noise(right - left))
    return Clarity(info.band_names, ratio)


def weighted(scaling: BandScaling, found: Clarity) -> BandScaling:
    """Widen the range of each band by its weight; say which bands weigh least."""
    weight = weights(found.ratio)
    low, high = np.array(scaling.low), np.array(scaling.high)
    middle, half = (low + high) / 2, (high - low) / 2 / weight
    if found.noisy:
        logger.warning("bands that are mostly noise weigh less: %s", ", ".join(found.noisy))
    return BandScaling(tuple((middle - half).tolist()), tuple((middle + half).tolist()))


def without_empty(inputs: Inputs) -> Inputs:
    """Leave out the bands without a valid pixel, and say so; all where none would be left."""
    with inputs.open() as raster:
        empty, names, path = empty_bands(raster), raster.info.band_names, raster.info.path
    if not empty or len(empty) == len(names):
        return inputs
    logger.warning("%s: no valid pixel found in %s; left out", path, ", ".join(empty))
    return replace(inputs, bands=tuple(name for name in names if name not in set(empty)))


def without_noisy(inputs: Inputs, found: Clarity) -> Inputs:
    """Leave out the bands that are mostly noise, and say so.

    Raises
    ------
    UsageError
        None would be left.
    """
    kept = tuple(band for band in found.bands if band not in set(found.noisy))
    if not kept:
        raise UsageError("--bands-noise drop: every band is mostly noise; use weight or none.")
    if found.noisy:
        logger.warning("bands that are mostly noise are left out: %s", ", ".join(found.noisy))
    return replace(inputs, bands=kept)


def _pairs(
    block: NDArray[Any], valid: NDArray[np.bool_], where: Tile, step: int, across: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give sampled pixels and their right neighbours (pair, 2 band), and their places."""
    core = where.core
    rows = np.arange(-core.row_off % step, core.height, step)
    cols = np.arange(-core.col_off % step, core.width, step)
    at = np.meshgrid(rows + where.trim[0].start, cols + where.trim[1].start, indexing="ij")
    row, col = (a.ravel() for a in at)
    inside = col + 1 < valid.shape[1]
    row, col = row[inside], col[inside]
    known = valid[row, col] & valid[row, col + 1]
    row, col = row[known], col[known]
    both = np.concatenate([block[:, row, col], block[:, row, col + 1]]).T.astype(np.float64)
    down = row - where.trim[0].start + core.row_off
    along = col - where.trim[1].start + core.col_off
    return down * across + along, both
