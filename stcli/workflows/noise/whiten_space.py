"""``whiten --along space``: bands over their local noise, level by level, and back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, UsageError
from stcli.noise.space.models import Model
from stcli.noise.space.starlet import gain, reach, split
from stcli.noise.space.statistics import typical
from stcli.raster.info import RasterInfo
from stcli.raster.writing.output import OutputSpec
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
    map_filling,
    map_reach,
    measure,
    plan_measure,
    ready,
    refuse_unmeasured,
    tell_unmeasured,
)
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Noted, Step, resumable, unheard


@dataclass(frozen=True)
class Whitened:
    """What came out, how white it is, and how it ran."""

    output: str
    report: dict[str, Any]
    run: dict[str, Any]


def plane_names(band: str, levels: int) -> list[str]:
    """Name a band's planes: whitened details, their deviations, and the rest."""
    numbers = range(1, levels + 1)
    return [*(f"{band}:w{j}" for j in numbers), *(f"{band}:s{j}" for j in numbers), f"{band}:mean"]


@dataclass(frozen=True)
class WhitenBlock:
    """The block function: (band and plane, row, col); noted, the whitened details' moments."""

    settings: NoiseMapSettings
    fallback: tuple[tuple[float, ...], ...]
    reach: int
    dtype: np.dtype[Any]

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Noted:
        """Whiten a tile's core."""
        tile, levels = ready(block, valid, where, self.reach), self.settings.levels
        parts, moments = [], np.zeros((len(block), levels, 3))
        for band in range(len(block)):
            valid = tile.core(band)
            if not valid.any():
                parts += [np.full(valid.shape, np.nan)] * (2 * levels + 1)
                continue
            plane = tile.plane(band, Model(), levels=map_filling(self.settings))
            maps = tile.noise(plane, band, self.settings)
            details, rest = split(plane, tile.mask(band), levels)
            white, scales = [], []
            for j, (detail, sigma) in enumerate(zip(details, maps, strict=True)):
                core = sigma[tile.trim]
                known = np.where(core > 0, core, self.fallback[band][j])
                # what is written is what divides, so that the inverse multiplies by the same
                scale = (gain(j + 1) * known).astype(self.dtype).astype(np.float64)
                white.append(detail[tile.trim] / scale)
                scales.append(scale)
                moments[band, j] = _moments(white[-1][valid])
            found = (*white, *scales, rest[tile.trim])
            parts += [np.where(valid, part, np.nan).astype(self.dtype) for part in found]
        return Noted([np.stack(parts).astype(self.dtype, copy=False)], moments.tolist())


def _moments(values: NDArray[np.float64]) -> tuple[float, float, float]:
    square = np.square(values)
    return float(values.size), float(square.sum()), float(np.square(square).sum())


def whiten_space(
    inputs: Inputs,
    path: str,
    map_settings: NoiseMapSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Whitened:
    """Divide each band's wavelet details by their local noise.

    Parameters
    ----------
    path : str
        Raster to write: for each band the details over their deviation (``NAME:w1`` …), those
        deviations (``NAME:s1`` …) and what is left (``NAME:mean``): all that `unwhiten_space`
        needs.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as opened:
        raster, info, around = OwnMasks(opened), opened.info, _around(map_settings)
        spec, need = _spec(info, path, map_settings, output), _cost(info, map_settings)
        moments: dict[int, NDArray[np.float64]] = {}

        def sink(tile: Tile, told: Any) -> None:
            if told is not None:
                moments[tile.index] = np.array(told)

        with resumable((spec,), info.geobox, output) as product:
            work = product.plan(raster, need, settings, around)
            compile_kernels(progress)
            sample = measure(raster, map_settings, settings, progress)[0]
            refuse_unmeasured(sample, info.path)
            tell_unmeasured(sample, info)
            level = typical(sample)
            fallback = tuple(map(tuple, np.where(level > 0, level, 1.0).tolist()))
            used = {"verb": "whiten space", "noise": fields(map_settings), "fallback": fallback}
            product.identify(**output.identity(inputs, **used))
            block = WhitenBlock(map_settings, fallback, around, float_type(info))
            tally = product.run(work, Step(block, stage="whiten"), sink, progress)
    ran = report(work.budget, tally, time.perf_counter() - begun)
    return Whitened(path, _whiteness(info, moments), ran)


def plan_whiten_space(
    inputs: Inputs,
    path: str,
    map_settings: NoiseMapSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `whiten_space` would do: passes, memory by term, output. Nothing is done.

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
        passes["whiten"] = plan_pass(raster, need, settings, _around(map_settings))
        return planned(passes, (spec,), info.shape, output.shard)


def _spec(info: RasterInfo, path: str, settings: NoiseMapSettings, output: Output) -> OutputSpec:
    """Describe the output.

    Raises
    ------
    UsageError
        Noise that is not additive.
    """
    if settings.model != "additive":
        raise UsageError(f"--model: {settings.model} found, whiten wants additive noise.")
    levels = settings.levels
    names = [name for band in info.band_names for name in plane_names(band, levels)]
    own = [[*("1",) * levels, *(unit,) * (levels + 1)] for unit in band_units(info)]
    used = {"whiten": "space", "noise": fields(settings)}
    return float_spec(info, path, names, output, units=[u for each in own for u in each], **used)


def _around(settings: NoiseMapSettings) -> int:
    """Pixels that whitening looks away."""
    return max(map_reach(settings), reach(settings.levels))


def _cost(info: RasterInfo, settings: NoiseMapSettings) -> Cost:
    planes, written = MAP_PLANES + 3 * settings.levels, info.count * (2 * settings.levels + 1)
    return cost(info, planes, 2 * written)


def _whiteness(info: RasterInfo, moments: dict[int, NDArray[np.float64]]) -> dict[str, Any]:
    """Deviation and kurtosis of the whitened details, by band and level; normal noise has 1, 3."""
    if not moments:  # a shard without a valid pixel
        return {}
    total = np.sum([moments[index] for index in sorted(moments)], axis=0)
    size, square, fourth = np.moveaxis(total, -1, 0)
    size = np.maximum(size, 1)  # of a band without a valid pixel
    variance = square / size
    kurtosis = fourth / size / np.where(variance > 0, variance, 1.0) ** 2
    return {
        name: {"deviation": np.sqrt(variance[b]).tolist(), "kurtosis": kurtosis[b].tolist()}
        for b, name in enumerate(info.band_names)
    }


@dataclass(frozen=True)
class UnwhitenBlock:
    """The block function: each band is its rest and its details times their deviations."""

    count: int
    levels: int
    dtype: np.dtype[Any]

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Give the core (band, row, col), in a list."""
        each = (self.count, 2 * self.levels + 1, *block.shape[1:])
        planes = block.astype(np.float64).reshape(each)
        white, scale = planes[:, : self.levels], planes[:, self.levels : -1]
        if valid.ndim == 3:  # a band is there where all of its planes are
            valid = np.logical_and.reduce(valid.reshape(each), axis=1)
        values = np.where(valid, planes[:, -1] + (white * scale).sum(axis=1), np.nan)
        return [values.astype(self.dtype)[(slice(None), *where.trim)]]


def unwhiten_space(
    inputs: Inputs,
    path: str,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Whitened:
    """Undo `whiten_space`.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
        InputError where the bands are not those that `whiten_space` writes.
    """
    begun = time.perf_counter()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as opened:
        raster, info = OwnMasks(opened), opened.info
        names, levels = _whitened_bands(info)
        spec = _back_spec(info, path, names, output)
        block = UnwhitenBlock(len(names), levels, float_type(info))
        with resumable((spec,), info.geobox, output) as product:
            work = product.plan(raster, _back_cost(info, len(names)), settings)
            product.identify(**output.identity(inputs, verb="unwhiten space"))
            tally = product.run(work, Step(block, stage="unwhiten"), unheard, progress)
    return Whitened(path, {}, report(work.budget, tally, time.perf_counter() - begun))


def plan_unwhiten_space(
    inputs: Inputs, path: str, settings: RunSettings, *, output: Output = Output()
) -> dict[str, Any]:
    """Say what `unwhiten_space` would do. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as opened:
        raster, info = OwnMasks(opened), opened.info
        names, _ = _whitened_bands(info)
        spec = _back_spec(info, path, names, output)
        work = plan_pass(raster, writing(_back_cost(info, len(names)), (spec,)), settings)
        return planned({"unwhiten": work}, (spec,), info.shape, output.shard)


def _back_spec(info: RasterInfo, path: str, names: list[str], output: Output) -> OutputSpec:
    """Describe bands that are put together again, in the units of their rests."""
    units = band_units(info)[info.count // len(names) - 1 :: info.count // len(names)]
    return float_spec(info, path, names, output, units=units, unwhiten="space")


def _back_cost(info: RasterInfo, bands: int) -> Cost:
    return cost(info, 4 * info.count, bands)


def _whitened_bands(info: RasterInfo) -> tuple[list[str], int]:
    """Find which bands were whitened, and in how many levels.

    Raises
    ------
    InputError
    """
    ends = [name.removesuffix(":mean") for name in info.band_names if name.endswith(":mean")]
    levels = (info.count // max(1, len(ends)) - 1) // 2
    wanted = [name for band in ends for name in plane_names(band, levels)]
    if not ends or wanted != list(info.band_names):
        found = ", ".join(info.band_names[:6])
        raise InputError(
            f"{info.path}: bands {found} found, NAME:w1 … NAME:mean wanted as stcli whiten --along "
            "space writes them."
        )
    return ends, levels
