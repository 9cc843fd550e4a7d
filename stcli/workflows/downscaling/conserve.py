"""``conserve`` and ``check agreement``: whether a fine raster agrees with a coarse one."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.conserve import conserve, residual, unreachable
from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.raster.reading.read import Raster
from stcli.settings import Conserving, RunSettings
from stcli.workflows.downscaling.members import members_of
from stcli.workflows.downscaling.nested import Pair, none_whole
from stcli.workflows.each_band import EachBand
from stcli.workflows.job import Inputs, Output, Progress, refuse_clash, report, silent
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Noted, Step, resumable
from stcli.workflows.target import Target


@dataclass
class Residual:
    """How far the block means of one band are from its coarse values.

    Attributes
    ----------
    band : str
    blocks : int
        Coarse pixels compared.
    largest : float
        Largest absolute difference, in the band's unit.
    relative : float
        Largest difference over the larger of the coarse value and the block's mean absolute
        value.
    missing : int
        Coarse pixels with a value whose block has none, though the fine raster's grid holds it.
    """

    band: str
    blocks: int = 0
    largest: float = 0.0
    relative: float = 0.0
    missing: int = 0

    def add(self, blocks: int, largest: float, relative: float, missing: int) -> None:
        """Take in what `_figures` gave of some blocks."""
        self.blocks += int(blocks)
        self.largest = max(self.largest, largest)
        self.relative = max(self.relative, relative)
        self.missing += int(missing)


@dataclass(frozen=True)
class Agreement:
    """What was measured: one residual a band, how it ran, and what was written, if anything."""

    fine: str
    coarse: str
    factor: int
    bands: tuple[Residual, ...]
    run: dict[str, Any]
    output: str | None = None
    how: str | None = None
    after: tuple[Residual, ...] = field(default=())

    @property
    def relative(self) -> float:
        """Largest relative residual over the bands."""
        return max(band.relative for band in self.bands)

    @property
    def missing(self) -> int:
        """Coarse pixels that the fine raster lacks, over the bands."""
        return sum(band.missing for band in self.bands)

    def to_json(self) -> dict[str, Any]:
        """Describe it with JSON's types."""
        bands = {"bands": [asdict(band) for band in self.bands]}
        after = {"after": [asdict(band) for band in self.after]} if self.after else {}
        named = {"output": self.output, "how": self.how} if self.output else {}
        common = {"fine": self.fine, "coarse": self.coarse, "factor": self.factor}
        return {**named, **common, "residual": self.relative, **bands, **after, "run": self.run}


def agreement(
    fine: Inputs, coarse: Inputs, settings: RunSettings, progress: Progress = silent
) -> Agreement:
    """Measure how well a fine raster agrees with a coarse one.

    Of an ensemble's bands the mean and each member are compared.

    Raises
    ------
    InputError, BudgetError
    """
    begun = time.perf_counter()
    with fine.open() as one, coarse.open() as other:
        pair = Pair.of(one, other, members_of(one.info))
        work = pair.plan(_cost(one), settings)
        found = _residuals(one)

        def sink(tile: Tile, result: Any) -> None:
            if result is not None:
                _take(found, result)

        tally = work.run(_Measure(pair), sink, "agreement", progress)
        _refuse_none(pair, found)
        ran = report(work.budget, tally, time.perf_counter() - begun)
        told = tuple(band for band, place in zip(found, pair.order, strict=True) if place >= 0)
        return Agreement(one.info.path, other.info.path, pair.factor, told, ran)


def conserve_rasters(
    fine: Inputs,
    coarse: Inputs,
    path: str,
    how: Conserving,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Agreement:
    """Write the fine raster with its block means brought to the coarse values.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_clash((*fine.paths, *coarse.paths), (path,))
    with fine.open() as one, coarse.open() as other:
        pair = Pair.of(one, other)
        target = _target(pair, path, how, output, settings)
        target.refuse(one.info.geobox)
        before, after = _residuals(one), _residuals(one)

        def sink(tile: Tile, told: Any) -> None:
            if told is not None:
                _take(before, told[0])
                _take(after, told[1])

        with resumable((target.spec,), one.info.geobox, output, form=target.form) as product:
            work = product.plan(EachBand(one), _cost(one), settings, *pair.cuts)
            product.identify(
                **output.identity(fine, verb="conserve", how=how.how, limits=how.limits),
                coarse=output.identity(coarse)["inputs"],
            )
            step = Step(_Conserve(pair, how, target.dtype), stage="conserve")
            tally = product.run(work, step, sink, progress)
            if output.shard is None:
                _refuse_none(pair, before)
        ran = report(work.budget, tally, time.perf_counter() - begun)
        paths = one.info.path, other.info.path
        return Agreement(*paths, pair.factor, before, ran, path, how.how, after)


def plan_conserve(
    fine: Inputs,
    coarse: Inputs,
    path: str,
    how: Conserving,
    settings: RunSettings,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `conserve_rasters` would do: its pass, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash((*fine.paths, *coarse.paths), (path,))
    with fine.open() as one, coarse.open() as other:
        pair = Pair.of(one, other)
        target = _target(pair, path, how, output, settings)
        target.refuse(one.info.geobox)
        spec = target.spec
        work = pair.plan(writing(_cost(one), (spec,)), settings)
        return planned(
            {"conserve": work}, (spec,), one.info.shape, output.shard, cubes=target.netcdf
        )


def refuse_unreachable(coarse: NDArray[Any], how: Conserving, path: str) -> None:
    """Refuse coarse values (band, row, col) that cannot be conserved in a way.

    Raises
    ------
    InputError
    """
    reason = unreachable(coarse, how.how, how.limits)
    if reason:
        raise InputError(f"{path}: {reason}; choose another --conserve.")


#: Of each band: blocks compared, largest difference, largest relative difference, blocks missing.
_Differences = list[tuple[int, float, float, int]]


def _figures(
    fine: NDArray[Any], coarse: NDArray[Any], factor: int
) -> tuple[int, float, float, int]:
    """Sum up the differences of a band's blocks (row, col), as `residual` has them."""
    absolute, relative = residual(fine, coarse, factor)
    known = ~np.isnan(absolute)
    largest, worst = (
        float(np.max(part[known], initial=0.0)) for part in (np.abs(absolute), relative)
    )
    count = int(known.sum())
    return count, largest, worst, int((~np.isnan(coarse)).sum()) - count


@dataclass(frozen=True)
class _Measure:
    """The block function of `agreement`: differences of a tile, band by band."""

    pair: Pair

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> _Differences:
        fine, coarse, _ = self.pair.whole_blocks(block, where.core)
        bands = zip(fine, coarse, strict=True)
        return [_figures(y, x, self.pair.factor) for y, x in bands]


@dataclass(frozen=True)
class _Conserve:
    """The block function of `conserve_rasters`; noted: differences before and after."""

    pair: Pair
    how: Conserving
    dtype: str

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Noted:
        fine, coarse, inner = self.pair.whole_blocks(block, where.core)
        refuse_unreachable(coarse, self.how, self.pair.coarse.info.path)
        written = np.empty(fine.shape, self.dtype)
        before: _Differences = []
        after: _Differences = []
        for band, (y, x) in enumerate(zip(fine, coarse, strict=True)):
            before.append(_figures(y, x, self.pair.factor))
            written[band] = conserve(y, x, self.pair.factor, self.how.how, self.how.limits)
            after.append(_figures(written[band], x, self.pair.factor))
        kept = np.ascontiguousarray(written[:, inner[0], inner[1]])
        return Noted([kept], [before, after])


def _residuals(raster: Raster) -> tuple[Residual, ...]:
    return tuple(Residual(name) for name in raster.info.band_names)


def _take(found: tuple[Residual, ...], differences: _Differences) -> None:
    for band, figures in zip(found, differences, strict=True):
        band.add(*figures)


def _refuse_none(pair: Pair, found: tuple[Residual, ...]) -> None:
    if not any(band.blocks for band in found):
        raise none_whole(pair.fine, pair.coarse)


def _cost(fine: Raster) -> Cost:
    """Bytes a fine pixel: all bands read, as floats and as written; one band's temporaries."""
    info = fine.info
    values = EachBand(fine).dtype.itemsize
    bands = info.count * (info.dtype.itemsize + 1 + 3 * values + 8)
    return Cost(bands + 10 * 8)


def _target(
    pair: Pair, path: str, how: Conserving, output: Output, settings: RunSettings
) -> Target:
    target = Target.of(pair.fine, path, output, threads_of(settings))
    return target.saying(conserve=how.how, factor=pair.factor, coarse=pair.coarse.info.path)
