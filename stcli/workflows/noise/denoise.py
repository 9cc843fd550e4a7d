"""``denoise``: a raster in; the same raster with its noise shrunk away out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.noise.space import separable, similar, similar_kernels, spatial, wiener
from stcli.noise.space import shrink as wavelet
from stcli.noise.space.edges import FILL_REACH
from stcli.noise.space.models import Model
from stcli.noise.space.separable import Plane
from stcli.noise.space.statistics import Sample, typical
from stcli.raster.info import RasterInfo
from stcli.raster.writing.output import OutputSpec
from stcli.settings import NoiseMapSettings, RunSettings, ShrinkSettings, SimilarSettings
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
from stcli.workflows.kernels import compile_apart
from stcli.workflows.noise import noise_pass
from stcli.workflows.noise.noise_file import of_file, with_noise
from stcli.workflows.noise.noise_pass import (
    MAP_PLANES,
    Ready,
    cost,
    known,
    measure,
    plan_measure,
    ready,
    tell_unmeasured,
)
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Noted, Step, resumable

#: Kernels of maps and of both methods, and what compiles all of them.
KERNELS = (*spatial.KERNELS, *separable.KERNELS, *wiener.KERNELS, *similar_kernels.KERNELS)
REHEARSAL = "from stcli.workflows.noise.denoise import rehearse; rehearse()"
#: How noise is taken away: coefficients shrunk, or similar pixels averaged.
Method = ShrinkSettings | SimilarSettings


@dataclass(frozen=True)
class Denoised:
    """What came out.

    Attributes
    ----------
    bands : list of dict
        ``band``; ``sigma``, the typical noise, None if unknown; ``removed``, the deviation of what
        was taken away; ``bias``, the mean of input minus output.
    kept : int
        Valid values that were left as they are because no noise could be measured near them.
    """

    output: str
    noise: str
    model: str
    bands: list[dict[str, Any]]
    kept: int
    run: dict[str, Any]


@dataclass(frozen=True)
class DenoiseBlock:
    """The block function.

    Attributes
    ----------
    map_settings, settings
    models : tuple of Model
        One a band.
    middle : tuple of float
        Of each band, in its model's domain: what wide holes are filled with.
    reach : int
    sigmas : tuple of tuple of float, optional
        Fixed noise by band and level, in the model's domain; None for the local map.
    shared : tuple of float
        Of each band, the factor on its noise by what neighbours share of it (see `similar`).
    paired : bool
        The block's second half holds the noise of its first, in each band's unit.
    dtype : numpy.dtype
        Of the result.
    """

    map_settings: NoiseMapSettings
    settings: Method
    models: tuple[Model, ...]
    middle: tuple[float, ...]
    reach: int
    sigmas: tuple[tuple[float, ...], ...] | None
    shared: tuple[float, ...]
    paired: bool
    dtype: np.dtype[Any]

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Noted:
        """Give the core (band, row, col); noted: sums (band, 3) of what was removed, and kept."""
        tile = ready(block, valid, where, self.reach)
        count = len(self.models)
        out = np.empty((count, where.core.height, where.core.width), self.dtype)
        sums, kept = np.zeros((count, 3)), 0
        if isinstance(self.settings, SimilarSettings):
            bands = self._similar(tile, self.settings)
        else:
            bands = self._shrunk(tile, self.settings)
        for band, (clean, sigma) in enumerate(bands):
            before, valid = block[band][where.trim].astype(np.float64), tile.core(band)
            core = np.where(valid, clean[tile.trim], np.nan)
            out[band] = core
            change = (before - core)[valid]
            sums[band] = change.sum(), np.square(change).sum(), change.size
            kept += int(((sigma[tile.trim] <= 0) & valid).sum())
        return Noted([out], [sums.tolist(), kept])

    def _shrunk(self, tile: Ready, how: ShrinkSettings) -> Iterator[tuple[Plane, Plane]]:
        """Give each band with its coefficients shrunk, and its noise: one band at a time."""
        for band, model in enumerate(self.models):
            valid = tile.mask(band)
            if not tile.core(band).any():
                yield np.zeros(valid.shape), np.zeros(valid.shape)
                continue
            plane = tile.plane(band, model, self.middle[band])
            sigmas = self._sigmas(tile, plane, band, model)
            shrunk = wavelet.shrink(plane, valid, sigmas, how)
            clean = model.backward(shrunk)
            if model.name == "multiplicative":
                clean = wavelet.unbiased(model.backward(plane), clean, valid)
            yield clean, sigmas[0]

    def _similar(self, tile: Ready, how: SimilarSettings) -> Iterator[tuple[Plane, Plane]]:
        """Give each band with its similar pixels averaged, and its noise: all bands together."""
        models = enumerate(self.models)
        planes = np.stack([tile.plane(b, model, self.middle[b]) for b, model in models])
        values = np.stack([m.backward(p) for m, p in zip(self.models, planes, strict=True)])
        sigmas = np.stack(
            [self._sigmas(tile, planes[b], b, model)[0] for b, model in enumerate(self.models)]
        )
        sigmas *= np.array(self.shared)[:, None, None]
        means = similar.similar_mean(planes, values, tile.valid, sigmas, how)
        for band, model in enumerate(self.models):
            clean = means[band]
            if model.name == "multiplicative":
                clean = wavelet.unbiased(values[band], clean, tile.mask(band))
            yield clean, sigmas[band]

    def _sigmas(self, tile: Ready, plane: Plane, band: int, model: Model) -> list[Plane]:
        """Give the noise of a band by level, in the model's domain; 0 where it is unknown."""
        if self.sigmas is not None:
            return [np.full(plane.shape, sigma) for sigma in self.sigmas[band]]
        if not self.paired:
            return [np.nan_to_num(sigma) for sigma in tile.noise(plane, band, self.map_settings)]
        levels = len(tile.block) // len(self.models) - 1
        first = len(self.models) + band * levels
        unit = model.scale(model.backward(plane))
        planes = tile.block[first : first + levels].astype(np.float64)
        unit = np.where(unit > 0, unit, 1.0)
        return [np.nan_to_num(tile.around.reflect(part) / unit) for part in planes]


def denoise(
    inputs: Inputs,
    path: str,
    noise: str,
    how: tuple[NoiseMapSettings, Method],
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Denoised:
    """Denoise a raster with a model of its noise: shrink wavelet coefficients, or average.

    Parameters
    ----------
    path : str
        Raster to write: the bands of the input, floats, NaN for nodata.
    noise : str
        ``"local"`` (the noise map), ``"global"`` (its median over the raster), or the path of a
        raster that ``noise`` wrote.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    _refuse_clash(inputs, path, noise)
    map_settings, method = how
    reach, total = _reach(map_settings, method, noise), _Total()
    with inputs.open() as opened, ExitStack() as stack:
        raster, info = OwnMasks(opened), opened.info
        source = with_noise(raster, noise, map_settings.model, stack)
        spec = _spec(info, path, noise, how, output)
        product = stack.enter_context(resumable((spec,), info.geobox, output))
        # planned first: what the first pass leaves in memory serves this one too
        work = product.plan(raster, _cost(info, how, of_file(noise)), settings, reach)
        compile_apart(KERNELS, (REHEARSAL,), progress)
        sample, models, _ = measure(raster, _measured(*how), settings, progress)
        tell_unmeasured(sample, info)
        level, middle = typical(sample), _middle(sample, models)
        shared = _shared(level, method)
        del sample  # its bytes are those of this pass from here on
        fixed = tuple(map(tuple, np.nan_to_num(level).tolist())) if noise == "global" else None
        used = {"noise": noise, "map": fields(map_settings), "how": fields(method)}
        read = replace(inputs, paths=(*inputs.paths, noise)) if of_file(noise) else inputs
        product.identify(
            **output.identity(
                read, verb="denoise", **used, models=models, fixed=fixed, shared=shared
            )
        )
        paired, dtype = of_file(noise), float_type(info)
        block = DenoiseBlock(
            map_settings, method, models, middle, reach, fixed, shared, paired, dtype
        )
        step = Step(block, stage="denoise")
        tally = product.run(replace(work, source=source), step, total.add, progress)
    ran = report(work.budget, tally, time.perf_counter() - begun)
    rows = total.rows(info, known(level[:, 0]))
    return Denoised(path, noise, map_settings.model, rows, total.kept, ran)


def rehearse() -> None:
    """Measure the noise of a small block and take it away, so that all kernels are compiled."""
    noise_pass.rehearse()
    plane = np.arange(32.0 * 32).reshape(32, 32) % 7
    valid, sigma = np.ones(plane.shape, np.bool_), np.ones(plane.shape)
    wavelet.shrink(plane, valid, [sigma], ShrinkSettings(depth=1))
    planes = plane[None]
    similar.similar_mean(planes, planes, valid, sigma[None], SimilarSettings(search=3))


def plan_denoise(
    inputs: Inputs,
    path: str,
    noise: str,
    how: tuple[NoiseMapSettings, Method],
    settings: RunSettings,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `denoise` would do: passes, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    _refuse_clash(inputs, path, noise)
    reach = _reach(*how, noise)
    with inputs.open() as opened, ExitStack() as stack:
        raster, info = OwnMasks(opened), opened.info
        with_noise(raster, noise, how[0].model, stack)
        spec = _spec(info, path, noise, how, output)
        need = writing(_cost(info, how, of_file(noise)), (spec,))
        passes = plan_measure(raster, _measured(*how), settings)
        passes["denoise"] = plan_pass(raster, need, settings, reach)
        return planned(passes, (spec,), info.shape, output.shard)


def _measured(map_settings: NoiseMapSettings, method: Method) -> NoiseMapSettings:
    """Give the settings of the first pass: similar pixels want the noise of two levels."""
    least = 2 if isinstance(method, SimilarSettings) else 1
    return replace(map_settings, levels=max(map_settings.levels, least))


def _shared(level: NDArray[np.float64], method: Method) -> tuple[float, ...]:
    """Give each band's factor by what neighbours share of its noise, typical by (band, level)."""
    if isinstance(method, SimilarSettings):
        return tuple(similar.shared(*by_level[:2]) for by_level in level.tolist())
    return (1.0,) * len(level)


def _middle(sample: Sample, models: tuple[Model, ...]) -> tuple[float, ...]:
    """Median of each band in its model's domain; of an empty band any number."""
    columns = (values[~np.isnan(values)] for values in sample.values.T)
    middle = np.array([np.median(values) if len(values) else 0.0 for values in columns])
    return tuple(float(m.forward(middle[[b]])[0]) for b, m in enumerate(models))


def _refuse_clash(inputs: Inputs, path: str, noise: str) -> None:
    refuse_clash((*inputs.paths, *((noise,) if of_file(noise) else ())), (path,))


def _spec(
    info: RasterInfo, path: str, noise: str, how: tuple[NoiseMapSettings, Method], output: Output
) -> OutputSpec:
    used = fields(how[1]) | fields(how[0])
    units = band_units(info)
    return float_spec(info, path, info.band_names, output, units=units, noise=noise, denoise=used)


def _reach(map_settings: NoiseMapSettings, method: Method, noise: str) -> int:
    """Pixels that denoising looks away."""
    of_map = spatial.halo(map_settings) if noise == "local" else 0
    bias = wavelet.BIAS_REACH if map_settings.model == "multiplicative" else 0
    if isinstance(method, SimilarSettings):
        away = similar.halo(method, of_map)
    else:
        away = wavelet.halo(method, of_map)
    return int(away + FILL_REACH + bias)


def _cost(info: RasterInfo, how: tuple[NoiseMapSettings, Method], paired: bool) -> Cost:
    planes = MAP_PLANES + how[0].levels
    if isinstance(how[1], SimilarSettings):
        planes += 9 * info.count + 6
    else:
        planes += 3 * how[1].depth + 8
    more = info.count * (1 + how[0].levels) if paired else 0
    return cost(info, planes + more, info.count)


class _Total:
    """Sums over tiles, added in the tiles' order whatever order they come in."""

    def __init__(self) -> None:
        self.parts: dict[int, NDArray[np.float64]] = {}
        self.kept = 0

    def add(self, tile: Tile, told: list[Any] | None) -> None:
        """Take what a tile noted; None for one without a valid pixel."""
        if told is not None:
            sums, kept = told
            self.parts[tile.index] = np.array(sums)
            self.kept += kept

    def rows(self, info: RasterInfo, sigma: list[float | None]) -> list[dict[str, Any]]:
        none = np.zeros((info.count, 3))  # of a shard without a valid pixel
        sums = np.sum([none, *(self.parts[index] for index in sorted(self.parts))], axis=0)
        size = np.maximum(sums[:, 2], 1)
        mean = sums[:, 0] / size
        removed = np.sqrt(np.maximum(sums[:, 1] / size - mean**2, 0))
        return [
            {"band": name, "sigma": sigma[b], "removed": float(removed[b]), "bias": float(mean[b])}
            for b, name in enumerate(info.band_names)
        ]
