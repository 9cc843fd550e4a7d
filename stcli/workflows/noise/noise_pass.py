"""What the verbs of spatial noise share: a tile made ready for filters, and the first pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile, TilePlan
from stcli.errors import InputError
from stcli.heap import give_back
from stcli.noise.space.edges import FILL_LEVELS, Surround, fill, fill_reach, surround
from stcli.noise.space.models import Model
from stcli.noise.space.separable import Plane
from stcli.noise.space.spatial import KERNELS, halo, leaning, noise_map
from stcli.noise.space.statistics import PoissonFit, Sample, poisson_fit
from stcli.noise.space.wavelets import analyse, bank
from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import Raster
from stcli.settings import NoiseMapSettings, RunSettings
from stcli.workflows.empty import no_valid_pixel, none_valid
from stcli.workflows.job import Pass, Progress
from stcli.workflows.kernels import LOADED, compile_apart
from stcli.workflows.passes import Planned, plan_first
from stcli.workflows.scaling import sample_step

#: Values (pixels times bands) of the first pass's sample at most, and, of many bands, the pixels
#: for each: a covariance of B bands from few times B pixels says little.
SAMPLE, EACH = 1 << 21, 32
#: Compiles the kernels of noise maps.
REHEARSAL = "from stcli.workflows.noise.noise_pass import rehearse; rehearse()"
#: Planes of float64 that the noise map of one band holds at its peak, its levels not counted.
MAP_PLANES = 10


#: What a raster lacks whose noise is unknown.
_WANTED = "measuring it wants several rows and columns of valid pixels side by side"

logger = logging.getLogger("stcli")


@dataclass(frozen=True)
class Ready:
    """A tile with one halo around its core on all sides.

    Attributes
    ----------
    block : ndarray (band, row, col)
        As read.
    valid : ndarray of bool (row, col)
        Completed; (band, row, col) where bands differ.
    around : Surround
    trim : (slice, slice)
        The core inside the completed planes.
    """

    block: NDArray[Any]
    valid: NDArray[np.bool_]
    around: Surround
    trim: tuple[slice, slice]

    def plane(
        self, band: int, model: Model, beyond: float = 0.0, levels: int = FILL_LEVELS
    ) -> Plane:
        """Give a band (row, col) in the model's domain: completed, holes filled (see `fill`)."""
        values = model.forward(self.around.reflect(self.block[band].astype(np.float64)))
        return fill(values, self.mask(band), beyond, levels)

    def noise(self, plane: Plane, band: int, settings: NoiseMapSettings) -> list[Plane]:
        """Measure the noise of a band's plane by level (row, col); NaN where it is unknown."""
        valid = self.mask(band)
        if self.flat or not valid.any():
            return [np.full(plane.shape, np.nan) for _ in range(settings.levels)]
        return noise_map(plane, valid, self.around.corner, settings, map_reach(settings))

    @property
    def flat(self) -> bool:
        """Whether the raster has one row or one column: its diagonal details are reflections."""
        return 1 in self.block.shape[1:]  # a tile has a halo wherever the raster goes on

    @property
    def apart(self) -> bool:
        """Whether bands have valid pixels of their own."""
        return self.valid.ndim == 3

    def mask(self, band: int) -> NDArray[np.bool_]:
        """Give the valid pixels of a band: bool (row, col)."""
        mask: NDArray[np.bool_] = self.valid[band] if self.apart else self.valid
        return mask

    def core(self, band: int) -> NDArray[np.bool_]:
        """Give the valid pixels of a band in the core: bool (row, col)."""
        return self.mask(band)[self.trim]

    @property
    def anywhere(self) -> NDArray[np.bool_]:
        """Pixels of the core that any band has: bool (row, col)."""
        core = self.valid[(..., *self.trim)]
        return np.logical_or.reduce(core) if self.apart else core


def ready(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile, reach: int) -> Ready:
    """Complete a tile by `reach` pixels around its core.

    Parameters
    ----------
    block : ndarray (band, row, col)
    valid : ndarray of bool (row, col) or (band, row, col)
    where : Tile
    reach : int
    """
    around = surround(block.shape[1:], where.trim, where.lattice, reach)
    rows, cols = (
        slice(t.start + before, t.stop + before)
        for t, before in zip(where.trim, around.before, strict=True)
    )
    return Ready(block, around.reflect(valid), around, (rows, cols))


def map_filling(settings: NoiseMapSettings) -> int:
    """Tell how often the spline that fills holes is widened for a noise map.

    So often that a filter about a value never meets the constant in the middle of a hole, which may
    be far from the scene.
    """
    looked, levels = bank(settings.wavelet).reach(settings.levels), FILL_LEVELS
    while fill_reach(levels) < looked:
        levels += 1
    return levels


def map_reach(settings: NoiseMapSettings) -> int:
    """Pixels that a noise map looks away, holes counted."""
    return int(halo(settings) + fill_reach(map_filling(settings)))


def cost(info: RasterInfo, planes: int, core_values: int, once: int = 0, writer: int = 0) -> Cost:
    """Bytes of a pass that works on one band at a time in `planes` planes of float64.

    Bands may have a valid mask each, as read and completed.
    """
    block = info.count * (info.dtype.itemsize + 1)
    read, core = 2 * block + 8 * planes + 2, 3 * 8 * core_values
    return Cost(read, core, once=once, writer=writer, kernels=LOADED, completed=True)


def compile_kernels(progress: Progress) -> None:
    """Have the kernels of noise maps compiled; see `compile_apart`."""
    compile_apart(KERNELS, (REHEARSAL,), progress)


def rehearse() -> None:
    """Measure the noise of a small block, so that all kernels of noise maps are compiled."""
    settings, tile = NoiseMapSettings(window=9), TilePlan((96, 96), 96)[0]
    block = np.arange(96 * 96, dtype=np.float32).reshape(1, 96, 96) % 7
    valid = np.ones((96, 96), dtype=np.bool_)
    SampleBlock(settings, additive(1), 1, map_reach(settings))(block, valid, tile)


@dataclass(frozen=True)
class SampleBlock:
    """The first pass's block function: what a `Sample` holds, for the tile's sampled pixels."""

    settings: NoiseMapSettings
    models: tuple[Model, ...]
    step: int
    reach: int

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[np.int64], list[NDArray[np.float64]], NDArray[np.float64]]:
        """Give places (pixel,), parts (pixel, band) each, and extremes (2, band) of a tile.

        Sampled are the pixels that any band has; what a band lacks is NaN in all of its parts.
        """
        tile, core = ready(block, valid, where, self.reach), where.core
        rows = np.arange(-core.row_off % self.step, core.height, self.step)
        cols = np.arange(-core.col_off % self.step, core.width, self.step)
        grid = np.ix_(rows, cols)
        chosen = tile.anywhere[grid]
        places = ((rows + core.row_off)[:, None] << 32) + (cols + core.col_off)[None, :]
        parts, extremes = [], []
        leans = None
        for band, values in enumerate(block[(slice(None), *where.trim)]):
            inside = tile.core(band)
            known = inside[grid][chosen]
            if not inside.any():
                extremes.append((np.inf, -np.inf))
                parts.append([np.full(len(known), np.nan)] * (3 + self.settings.levels))
                continue
            extremes.append((float(values[inside].min()), float(values[inside].max())))
            if leans is None or tile.apart:
                leans = leaning(tile.mask(band), bank(self.settings.wavelet), 1) | tile.flat
            planes = values.astype(np.float64), *self._measured(tile, band, leans)
            parts.append([np.where(known, p[grid][chosen], np.nan) for p in planes])
        each = [np.stack(bands, axis=-1) for bands in zip(*parts, strict=True)]
        return places[chosen], each, np.array(extremes).T

    def _measured(self, tile: Ready, band: int, leans: NDArray[np.bool_]) -> Iterator[Plane]:
        """Give the core of a band's smooth plane, its diagonal details, and its noise by level."""
        filters = bank(self.settings.wavelet)
        plane = tile.plane(band, self.models[band], levels=map_filling(self.settings))
        smooth, details = analyse(plane, filters, 1)
        detail = np.where(leans, np.nan, details[2] / filters.gain(1, (1, 1)))
        maps = tile.noise(plane, band, self.settings)
        return (p[tile.trim] for p in (smooth, detail, *maps))


def sample_values(info: RasterInfo) -> int:
    """Values of a `Sample` at most."""
    return max(SAMPLE, EACH * info.count**2)


def step_of(info: RasterInfo) -> int:
    """Rows and columns between sampled pixels; 1 for a raster of no more than so many values."""
    return sample_step((info.shape[0] * info.count, info.shape[1]), sample_values(info))


def sample(
    raster: Planned,
    settings: NoiseMapSettings,
    models: tuple[Model, ...],
    run: RunSettings,
    progress: Progress,
) -> Sample:
    """Measure a raster's sample in one pass.

    Raises
    ------
    InputError
        No pixel is valid, or a value is 0 or less and the model is multiplicative.
    """
    info = raster.info
    block = SampleBlock(settings, models, step_of(info), map_reach(settings))
    tiles = plan_sample(raster, settings, run).gather(block, "noise", progress)
    if not tiles and isinstance(raster, Raster):
        raise no_valid_pixel(raster)
    if not tiles:  # of bands with masks of their own all are empty
        raise none_valid(info.path)
    found = _sorted(tiles)
    for name, model, low in zip(info.band_names, models, found.low, strict=True):
        if model.name == "multiplicative" and low <= 0:
            raise InputError(
                f"{info.path}: {low:g} found in {name}, values above 0 are wanted for "
                "--model multiplicative; where 0 means no data, give --assume-nodata 0; a raster "
                "in dB has additive noise already."
            )
    return found


def tell_unmeasured(found: Sample, info: RasterInfo) -> None:
    """Warn of bands without a valid pixel, and where no noise could be measured."""
    tell_empty(info, found.empty)
    known = np.isfinite(found.sigma).any(axis=(0, 2))
    if not known.any():
        logger.warning("%s: its noise is unknown: %s", info.path, _WANTED)
        return
    names = [n for n, k in zip(info.band_names, known | found.empty, strict=True) if not k]
    if names:
        logger.warning("%s: the noise of %s is unknown: %s", info.path, ", ".join(names), _WANTED)


def tell_empty(info: RasterInfo, empty: Sequence[bool] | NDArray[np.bool_]) -> None:
    """Warn of bands, by whether each is `empty`, that have no valid pixel."""
    names = [name for name, none in zip(info.band_names, empty, strict=True) if none]
    if names:
        logger.warning("%s: no valid pixel found in %s, all nodata", info.path, ", ".join(names))


def refuse_unmeasured(found: Sample, path: str) -> None:
    """Refuse a raster in which no noise could be measured; raises `InputError`."""
    if not np.isfinite(found.sigma).any():
        raise InputError(f"{path}: its noise is unknown: {_WANTED}")


def known(figures: NDArray[np.float64]) -> list[Any]:
    """Turn figures into nested lists.

    Parameters
    ----------
    figures : ndarray of float64, of any shape
        NaN for what is unknown, which becomes None.
    """
    plain = figures.astype(object)
    plain[np.isnan(figures)] = None
    listed: list[Any] = plain.tolist()
    return listed


def plan_sample(raster: Planned, settings: NoiseMapSettings, run: RunSettings) -> Pass:
    """Plan the pass that measures a raster's sample.

    Raises
    ------
    BudgetError
    """
    info, reach = raster.info, map_reach(settings)
    # the tiles' parts, one that is joined and one put in order, and three times the places
    values = sample_values(info)
    held = 8 * (values * (3 + settings.levels) + 2 * values + 3 * values // info.count)
    need = cost(info, MAP_PLANES + settings.levels, info.count, held)
    return plan_first(raster, need, run, reach)


def plan_measure(raster: Planned, settings: NoiseMapSettings, run: RunSettings) -> dict[str, Pass]:
    """Plan the passes of `measure`, by stage; raises as `plan_sample`."""
    found = {"noise": plan_sample(raster, settings, run)}
    if settings.model == "poisson":
        found["noise by its model"] = found["noise"]
    return found


def _sorted(tiles: list[Any]) -> Sample:
    """Put the tiles' parts in the order of the pixels' places, which no tiling changes.

    They are taken out of the tiles one by one, so that the sample is not held twice; what they and
    the tiles leave is given back, for the C library keeps it for the threads that made them.
    """
    order = np.argsort(np.concatenate([places for places, *_ in tiles]), kind="stable")

    def part() -> NDArray[np.float64]:
        joined: NDArray[np.float64] = np.concatenate([parts.pop(0) for _, parts, _ in tiles])
        give_back()
        return joined[order]

    values, local, diagonal = part(), part(), part()
    sigma = np.empty((len(tiles[0][1]), *values.shape))
    for level in sigma:
        level[:] = part()
    extremes = np.stack([tile[2] for tile in tiles])
    return Sample(
        values=values,
        local=local,
        diagonal=diagonal,
        sigma=np.moveaxis(sigma, 0, -1),
        low=extremes[:, 0].min(axis=0),
        high=extremes[:, 1].max(axis=0),
    )


def additive(count: int) -> tuple[Model, ...]:
    """Give `count` bands the model of additive noise."""
    return (Model(),) * count


def measure(
    raster: Planned, settings: NoiseMapSettings, run: RunSettings, progress: Progress
) -> tuple[Sample, tuple[Model, ...], tuple[PoissonFit, ...]]:
    """Measure the sample in the model's domain; for ``poisson`` the model is fitted first.

    Raises
    ------
    InputError
        As `sample`; or a band's variance does not grow with its value, and the model is poisson.
    """
    info = raster.info
    named = settings.model if settings.model == "multiplicative" else "additive"
    models = (Model(named),) * info.count
    found = sample(raster, settings, models, run, progress)
    if settings.model == "multiplicative":
        return found, models, ()
    fits = tuple(poisson_fit(found.local[:, b], found.diagonal[:, b]) for b in range(info.count))
    if settings.model == "additive":
        return found, models, fits
    for name, fit, empty in zip(info.band_names, fits, found.empty, strict=True):
        if not fit.supported and not empty:
            raise InputError(
                f"{info.path}: the noise of {name} does not grow with its value, --model "
                "poisson wants one that does; take --model additive."
            )
    models = tuple(
        Model() if empty else Model("poisson", fit.gain, fit.read_noise)
        for fit, empty in zip(fits, found.empty, strict=True)
    )
    return sample(raster, settings, models, run, progress), models, fits
