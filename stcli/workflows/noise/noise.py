"""``noise``: a raster in; its noise at each pixel, and a table of it, out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import UsageError
from stcli.noise.space.models import Model
from stcli.noise.space.statistics import PoissonFit, Sample, noise_covariance, signal_to_noise
from stcli.raster.info import RasterInfo
from stcli.raster.writing.draft import drafts, refuse_file
from stcli.raster.writing.hidden import hidden_home
from stcli.raster.writing.output import STDOUT, OutputSpec
from stcli.raster.writing.publish import refuse_name
from stcli.settings import NoiseMapSettings, RunSettings
from stcli.workflows.each_band import OwnMasks
from stcli.workflows.floats import band_units, float_spec, float_type
from stcli.workflows.job import (
    Inputs,
    Output,
    Progress,
    fields,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.noise.noise_pass import (
    MAP_PLANES,
    compile_kernels,
    cost,
    known,
    map_filling,
    map_reach,
    measure,
    plan_measure,
    ready,
    tell_unmeasured,
)
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Blocks, Step, resumable


@dataclass(frozen=True)
class Noise:
    """What came out: a row a band, the covariance between bands, and how it ran.

    Attributes
    ----------
    output : str
    bands : list of dict
        ``band``, ``sigma`` (median, of level 1), ``sigma_5`` and ``sigma_95`` (percentiles),
        ``levels`` (median by level), ``snr_db`` (None without noise or without signal), ``poisson``
        (gain, read noise, standard error; None when the data do not support it).
    covariance, correlation : list of list of float
        Of the noise between bands; None for noise that is unknown.
    """

    output: str
    model: str
    bands: list[dict[str, Any]]
    covariance: list[list[float | None]]
    correlation: list[list[float | None]]
    run: dict[str, Any]


@dataclass(frozen=True)
class NoiseBlock:
    """The block function: the noise map of each band, level by level, NaN where unknown."""

    settings: NoiseMapSettings
    models: tuple[Model, ...]
    reach: int
    dtype: np.dtype[Any]

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Give deviations (band and level, row, col) of the core, in each band's unit: a list."""
        tile = ready(block, valid, where, self.reach)
        out = np.empty(
            (len(self.models) * self.settings.levels, where.core.height, where.core.width),
            self.dtype,
        )
        levels = self.settings.levels
        for band, model in enumerate(self.models):
            core = tile.core(band)
            if not core.any():
                out[band * levels : (band + 1) * levels] = np.nan
                continue
            plane = tile.plane(band, model, levels=map_filling(self.settings))
            maps = tile.noise(plane, band, self.settings)
            unit = model.scale(model.backward(plane[tile.trim]))
            for level, sigma in enumerate(maps):
                found = np.where(core, sigma[tile.trim] * unit, np.nan)
                out[band * levels + level] = found
        return [out]


def noise(
    inputs: Inputs,
    path: str,
    map_settings: NoiseMapSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
    plot: str | None = None,
    progress: Progress = silent,
) -> Noise:
    """Measure the noise of a raster at each pixel.

    Parameters
    ----------
    path : str
        Raster to write: a band ``sigma NAME`` (and ``sigma NAME level j`` beyond the first level)
        for each band, floats, NaN for nodata and where no noise could be measured.
    plot : str, optional
        PNG of the noise map's first band to draw.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun, plots = time.perf_counter(), (plot,) if plot else ()
    output = output.taking_up(path, *plots)
    refuse_clash(inputs.paths, (path, *plots))
    if plot and output.shard is not None:
        raise UsageError("--plot: not with --shard, which sees a part of the map.")
    for each in plots:
        refuse_name(each, "PNG")
        refuse_file(each, output.overwrite)
    with inputs.open() as opened:
        raster, info, view = OwnMasks(opened), opened.info, _View(opened.info.shape)
        spec, reach = _spec(info, path, map_settings, output), map_reach(map_settings)
        home = None if path in STDOUT else hidden_home(Path(path))
        with (
            drafts(plots, output.overwrite, home) as pictures,
            resumable((spec,), info.geobox, output) as product,
        ):
            product.beside = pictures
            work = product.plan(raster, _cost(info, map_settings), settings, reach)
            compile_kernels(progress)
            sample, models, fits = measure(raster, map_settings, settings, progress)
            product.identify(
                **output.identity(inputs, verb="noise", noise=fields(map_settings), models=models)
            )
            tell_unmeasured(sample, info)
            told = _summary(path, info, map_settings, (sample, models, fits))
            del sample  # its bytes are those of this pass from here on
            block = NoiseBlock(map_settings, models, reach, float_type(info))
            step = Step(block, first_band if plot else None, "noise map")
            tally = product.run(work, step, view.add, progress)
            view.draw(pictures, info.band_names[0], spec.bands[0].units)
    ran = report(work.budget, tally, time.perf_counter() - begun)
    return replace(told, run=ran)


def plan_noise(
    inputs: Inputs,
    path: str,
    map_settings: NoiseMapSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `noise` would do: passes, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as opened:
        raster, info = OwnMasks(opened), opened.info
        spec = _spec(info, path, map_settings, output)
        need = writing(_cost(info, map_settings), (spec,))
        passes = plan_measure(raster, map_settings, settings)
        passes["noise map"] = plan_pass(raster, need, settings, map_reach(map_settings))
        return planned(passes, (spec,), info.shape, output.shard)


def _spec(info: RasterInfo, path: str, settings: NoiseMapSettings, output: Output) -> OutputSpec:
    names, shares = noise_names(info, settings.levels), settings.model == "multiplicative"
    units = ["1" if shares else unit for unit in band_units(info) for _ in range(settings.levels)]
    return float_spec(info, path, names, output, units=units, noise=fields(settings))


def _cost(info: RasterInfo, settings: NoiseMapSettings) -> Cost:
    planes, values = MAP_PLANES + settings.levels, info.count * settings.levels
    return cost(info, planes, values)


def first_band(blocks: Blocks) -> NDArray[Any]:
    """Give the first band of a tile's core, what a plot is made of.

    Returns
    -------
    ndarray (row, col)
    """
    band: NDArray[Any] = blocks[0][0]
    return band


class _View:
    """A map's first band, thinned to at most `SIDE` rows and columns: what a plot shows."""

    SIDE = 1000

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.step = shape, max(1, -(-max(shape) // self.SIDE))
        rows, cols = (-(-side // self.step) for side in shape)
        self.plane = np.full((rows, cols), np.nan, dtype=np.float32)

    def add(self, tile: Tile, band: NDArray[Any] | None) -> None:
        if band is None:
            return
        core, step = tile.core, self.step
        part = band[-core.row_off % step :: step, -core.col_off % step :: step]
        row, col = -(-core.row_off // step), -(-core.col_off // step)
        self.plane[row : row + part.shape[0], col : col + part.shape[1]] = part

    def draw(self, pictures: Sequence[Path], band: str, unit: str | None) -> None:
        """Draw the map into each of these files."""
        for draft in pictures:
            from stcli.raster.pictures.plots import draw_map  # matplotlib takes a second to import

            words = (f"noise of {band}", f"sigma [{unit or 'unit of the band'}]")
            draw_map(draft, self.plane, self.shape, words)


def noise_names(info: RasterInfo, levels: int) -> list[str]:
    """Names of a noise map's bands."""
    return [
        f"sigma {name}" + (f" level {level}" if level > 1 else "")
        for name in info.band_names
        for level in range(1, levels + 1)
    ]


def _summary(
    path: str,
    info: RasterInfo,
    settings: NoiseMapSettings,
    found: tuple[Sample, tuple[Model, ...], tuple[PoissonFit, ...]],
) -> Noise:
    sample, models, fits = found
    covariance = noise_covariance(sample)
    size = np.sqrt(np.diag(covariance))
    size = np.where(size > 0, size, 1.0)
    rows = []
    for band, name in enumerate(info.band_names):
        fit = fits[band] if fits and fits[band].supported else None
        rows.append(
            {
                "band": name,
                **_levels(sample, band, models[band]),
                "snr_db": _decibel(float(signal_to_noise(sample, models[band])[band])),
                "poisson": None
                if fit is None
                else {"gain": fit.gain, "read_noise": fit.read_noise, "error": fit.error},
            }
        )
    correlation = covariance / size / size[:, None]
    return Noise(path, settings.model, rows, known(covariance), known(correlation), {})


def _levels(sample: Sample, band: int, model: Model) -> dict[str, Any]:
    """Percentiles of a band's noise in the sample, in its unit."""
    unit = model.scale(sample.values[:, band])
    sigma = sample.sigma[:, band] * unit[:, None]
    sigma = sigma[np.isfinite(sigma).all(axis=1)]
    if not len(sigma):
        return {"sigma": None, "sigma_5": None, "sigma_95": None, "levels": None}
    low, middle, high = np.percentile(sigma[:, 0], (5, 50, 95)).tolist()
    levels = np.median(sigma, axis=0).tolist()
    return {"sigma": middle, "sigma_5": low, "sigma_95": high, "levels": levels}


def _decibel(ratio: float) -> float | None:
    return 10 * float(np.log10(ratio)) if np.isfinite(ratio) and ratio > 0 else None
