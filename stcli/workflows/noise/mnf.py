"""``mnf``: bands to noise-whitened principal components by falling SNR, and back."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, ModelError
from stcli.noise.space.mnf import Rotation, chance, project, rotation
from stcli.noise.space.statistics import Sample, covariance_pixels, noise_covariance
from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import Raster
from stcli.raster.writing.output import OutputSpec
from stcli.settings import NoiseMapSettings, RunSettings
from stcli.settings.checking import check
from stcli.workflows.empty import no_valid_pixel
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
from stcli.workflows.kernels import LOADED
from stcli.workflows.noise.noise_pass import (
    additive,
    compile_kernels,
    plan_sample,
    refuse_unmeasured,
    sample,
    step_of,
)
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Step, resumable, unheard

logger = logging.getLogger("stcli")

#: Dataset tag that holds the rotation.
TAG = "STCLI_MNF"


@dataclass(frozen=True)
class Components:
    """What came out: SNR of each component that was written, in dB, and how it ran."""

    output: str
    snr_db: list[float | None]
    run: dict[str, Any]


@dataclass(frozen=True)
class ProjectBlock:
    """The block function: ``matrix @ (x - before) + after``, NaN where invalid."""

    matrix: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    dtype: np.dtype[Any]

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Give the core (out, row, col), in a list."""
        core = np.ascontiguousarray(block[(slice(None), *where.trim)])
        found = project(core, self.matrix, self.before, self.after)
        found[:, ~valid[where.trim]] = np.nan
        return [found.astype(self.dtype)]


def mnf(
    inputs: Inputs,
    path: str,
    map_settings: NoiseMapSettings,
    settings: RunSettings,
    *,
    components: int | None = None,
    output: Output = Output(),
    progress: Progress = silent,
) -> Components:
    """Turn bands into components of falling SNR with white noise of deviation 1.

    Parameters
    ----------
    path : str
        Raster to write: bands ``MNF 1`` …; the rotation is in its tags.
    components : int, optional
        How many to write; all by default, which `unmnf` turns back into the input.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        info, count = raster.info, _count(raster.info, components)
        spec = _spec(info, path, count, map_settings, output)
        with resumable((spec,), info.geobox, output) as product:
            # planned first: what the first pass leaves in memory serves this one too
            work = product.plan(raster, _cost(info, count), settings)
            compile_kernels(progress)
            turned = _measured(raster, map_settings, settings, progress)
            text, none = turned.to_text(), np.zeros(count)
            product.tag({TAG: text})
            product.identify(**output.identity(inputs, verb="mnf", rotation=text, count=count))
            block = ProjectBlock(turned.forward[:count], turned.mean, none, float_type(info))
            tally = product.run(work, Step(block, stage="project"), unheard, progress)
    ran = report(work.budget, tally, time.perf_counter() - begun)
    snr = [10 * float(np.log10(s)) if s > 0 else None for s in turned.snr[:count]]
    return Components(path, snr, ran)


def unmnf(
    inputs: Inputs,
    path: str,
    settings: RunSettings,
    *,
    components: int | None = None,
    output: Output = Output(),
    progress: Progress = silent,
) -> Components:
    """Turn components back into bands.

    Parameters
    ----------
    components : int, optional
        Take the first so many only: the bands without the noise of the others.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun = time.perf_counter()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        info, count = raster.info, _count(raster.info, components)
        turned = _stored(info)
        spec = float_spec(info, path, turned.bands, output, units=turned.units or None)
        matrix = np.zeros((len(turned.bands), info.count))
        matrix[:, :count] = turned.inverse[:, :count]
        block = ProjectBlock(matrix, np.zeros(info.count), turned.mean, float_type(info))
        with resumable((spec,), info.geobox, output) as product:
            work = product.plan(raster, _cost(info, len(matrix)), settings)
            text = turned.to_text()
            product.identify(**output.identity(inputs, verb="unmnf", rotation=text, count=count))
            tally = product.run(work, Step(block, stage="project"), unheard, progress)
            if tally.empty == tally.tiles and output.shard is None:
                raise no_valid_pixel(raster)
    return Components(path, [], report(work.budget, tally, time.perf_counter() - begun))


def plan_mnf(
    inputs: Inputs,
    path: str,
    map_settings: NoiseMapSettings,
    settings: RunSettings,
    *,
    components: int | None = None,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `mnf` would do: passes, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        info, count = raster.info, _count(raster.info, components)
        spec = _spec(info, path, count, map_settings, output)
        passes = {
            "noise": plan_sample(raster, map_settings, settings),
            "project": plan_pass(raster, writing(_cost(info, count), (spec,)), settings),
        }
        return planned(passes, (spec,), info.shape, output.shard)


def plan_unmnf(
    inputs: Inputs,
    path: str,
    settings: RunSettings,
    *,
    components: int | None = None,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `unmnf` would do. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as raster:
        info = raster.info
        _count(info, components)
        turned = _stored(info)
        bands, units = turned.bands, turned.units or None
        spec = float_spec(info, path, bands, output, units=units)
        work = plan_pass(raster, writing(_cost(info, len(bands)), (spec,)), settings)
        return planned({"project": work}, (spec,), info.shape, output.shard)


def _count(info: RasterInfo, components: int | None) -> int:
    """Tell how many components are taken.

    Raises
    ------
    UsageError
    """
    count = info.count if components is None else components
    check(1 <= count <= info.count, "--components", count, f"1 to {info.count}")
    return count


def _spec(
    info: RasterInfo, path: str, count: int, settings: NoiseMapSettings, output: Output
) -> OutputSpec:
    names = [f"MNF {k}" for k in range(1, count + 1)]
    return float_spec(info, path, names, output, noise=fields(settings))


def _measured(
    raster: Raster, map_settings: NoiseMapSettings, settings: RunSettings, progress: Progress
) -> Rotation:
    """Find the rotation that a raster's bands and their noise ask for.

    Raises
    ------
    InputError
    """
    info = raster.info
    found = sample(raster, map_settings, additive(info.count), settings, progress)
    refuse_unmeasured(found, info.path)
    try:
        turned = rotation(info.band_names, found.values, noise_covariance(found))
    except InputError as error:
        raise InputError(f"{info.path}: {error}") from error
    _heed_few(found, info)
    return replace(turned, units=tuple(band_units(info)))


def _heed_few(found: Sample, info: RasterInfo) -> None:
    """Warn where components of noise alone may look like signal; raises `InputError` as they must.

    Diagonal coefficients hold a quarter of the band: of pixels side by side one in four is of its
    own.
    """
    pixels, step = covariance_pixels(found), step_of(info)
    least = chance(info.count, pixels * min(step**2, 4) / 4, len(found.values))
    if not np.isfinite(least):
        raise InputError(
            f"{info.path}: {pixels} pixels found that tell the noise of all bands together, more "
            f"than {info.count * 4 // min(step**2, 4)} are wanted for {info.count} bands; choose "
            "fewer bands with --bidx, or a larger raster."
        )
    if least > 1:
        logger.warning(
            "%s: %d pixels are few for the noise of %d bands: components of an SNR below %.1f dB "
            "may be noise alone",
            *(info.path, pixels, info.count, 10 * np.log10(least)),
        )


def _stored(info: RasterInfo) -> Rotation:
    """Read the rotation from a raster's tags.

    Raises
    ------
    InputError, ModelError
    """
    if TAG not in info.tags:
        raise InputError(
            f"{info.path}: holds no rotation (tag {TAG}), a raster that stcli mnf wrote is wanted."
        )
    try:
        turned = Rotation.from_text(info.tags[TAG])
    except ValueError as error:
        raise ModelError(f"{info.path}: its rotation is damaged ({error}).") from error
    wanted = tuple(f"MNF {k}" for k in range(1, info.count + 1))
    if info.band_names != wanted or info.count > len(turned.bands):
        raise ModelError(
            f"{info.path}: bands {', '.join(info.band_names[:6])} found, MNF 1 to at most MNF "
            f"{len(turned.bands)} in order wanted."
        )
    return turned


def _cost(info: RasterInfo, out: int) -> Cost:
    """Bytes of turning a raster's bands into `out` others."""
    return Cost(
        2 * (info.count * info.dtype.itemsize + 1),
        8 * info.count + out * (8 + 4 * float_type(info).itemsize),
        once=32 * info.count**2,
        kernels=LOADED,
    )
