"""``destripe``: a raster in; the same raster without the stripes of its detectors out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.noise.space.stripes import Stripes, find_stripes, striping
from stcli.raster.info import RasterInfo
from stcli.raster.writing.output import OutputSpec
from stcli.settings import DestripeSettings, RunSettings
from stcli.workflows.each_band import OwnMasks
from stcli.workflows.empty import none_valid
from stcli.workflows.floats import band_units, float_spec, float_type
from stcli.workflows.job import (
    Inputs,
    Output,
    Pass,
    Progress,
    fields,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.noise.noise_pass import tell_empty
from stcli.workflows.passes import Planned, plan_first, planned, writing
from stcli.workflows.produce import Step, resumable, unheard

#: Lines that the first pass samples of each band at most: more tell hardly more.
LINES = 500
#: Values of its sample of all bands at most.
SAMPLE = 1 << 24


@dataclass(frozen=True)
class Destriped:
    """What came out: a row a band (striping before and after, in its unit), and how it ran."""

    output: str
    bands: list[dict[str, Any]]
    run: dict[str, Any]


@dataclass(frozen=True)
class LinesBlock:
    """The first pass's block function: sampled lines of the core, and which bands are empty."""

    step: int
    axis: int

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Give lines (band, line, column), NaN where invalid, and bands with a value (band,).

        Lines are rows; columns turned to rows where stripes run along rows.
        """
        values = np.where(valid, block.astype(np.float64), np.nan)[(slice(None), *where.trim)]
        inside = np.broadcast_to(valid, block.shape)[(slice(None), *where.trim)]
        some = np.array([mask.any() for mask in inside])
        if self.axis == 1:
            return values[:, -where.core.row_off % self.step :: self.step], some
        lines = values[:, :, -where.core.col_off % self.step :: self.step]
        return np.swapaxes(lines, 1, 2), some


@dataclass(frozen=True)
class DestripeBlock:
    """The second pass's block function."""

    stripes: tuple[Stripes, ...]
    axis: int
    dtype: np.dtype[Any]

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        """Give the core (band, row, col), NaN where invalid, in a list."""
        first = where.core.col_off if self.axis == 1 else where.core.row_off
        core = block[(slice(None), *where.trim)].astype(np.float64)
        bands = [
            s.remove(part, first, self.axis) for s, part in zip(self.stripes, core, strict=True)
        ]
        inside = valid[(..., *where.trim)]
        return [np.where(inside, np.stack(bands), np.nan).astype(self.dtype)]


def destripe(
    inputs: Inputs,
    path: str,
    how: DestripeSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Destriped:
    """Take the stripes of single detectors out of a raster.

    Parameters
    ----------
    path : str
        Raster to write: the bands of the input, floats, NaN for nodata.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as opened:
        raster, info, axis = OwnMasks(opened), opened.info, _axis(how)
        with resumable((_spec(info, path, how, output),), info.geobox, output) as product:
            work = product.plan(raster, _cost(info, axis), settings)
            lines = _sample(raster, axis, settings, progress)
            found = tuple(find_stripes(part, how.span, how.gain) for part in lines)
            product.identify(**output.identity(inputs, verb="destripe", destripe=fields(how)))
            block = DestripeBlock(found, axis, float_type(info))
            tally = product.run(work, Step(block, stage="destripe"), unheard, progress)
    ran = report(work.budget, tally, time.perf_counter() - begun)
    return Destriped(path, _rows(info, lines, found, how.span), ran)


def plan_destripe(
    inputs: Inputs,
    path: str,
    how: DestripeSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `destripe` would do: passes, memory by term, output. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash(inputs.paths, (path,))
    with inputs.open() as opened:
        raster, info, axis = OwnMasks(opened), opened.info, _axis(how)
        spec = _spec(info, path, how, output)
        passes = {
            "stripes": _plan_sample(raster, axis, settings),
            "destripe": plan_pass(raster, writing(_cost(info, axis), (spec,)), settings),
        }
        return planned(passes, (spec,), info.shape, output.shard)


def _axis(how: DestripeSettings) -> int:
    return 1 if how.along == "columns" else 0


def _spec(info: RasterInfo, path: str, how: DestripeSettings, output: Output) -> OutputSpec:
    units = band_units(info)
    return float_spec(info, path, info.band_names, output, units=units, destripe=fields(how))


def _cost(info: RasterInfo, axis: int) -> Cost:
    pixel = info.count * (info.dtype.itemsize + 1)
    return Cost(2 * pixel, info.count * 48, once=_held(info, axis))


def _rows(
    info: RasterInfo, lines: NDArray[np.float64], found: tuple[Stripes, ...], span: int
) -> list[dict[str, Any]]:
    return [
        {
            "band": name,
            "before": striping(lines[b], span),
            "after": striping(found[b].remove(lines[b], 0, 1), span),
            "largest_offset": float(np.abs(found[b].offset).max()),
            "largest_gain": float(np.abs(found[b].gain - 1).max()),
        }
        for b, name in enumerate(info.band_names)
    ]


def _sample(
    raster: Planned, axis: int, settings: RunSettings, progress: Progress
) -> NDArray[np.float64]:
    """Read sampled lines of the whole raster, the same for every tiling: (band, line, column).

    Raises
    ------
    InputError
        No pixel is valid.
    """
    info, step = raster.info, _step(raster.info, axis)
    lines, some = np.full(_lines(info, axis), np.nan), np.zeros(info.count, bool)

    def sink(tile: Tile, found: tuple[NDArray[np.float64], NDArray[np.bool_]] | None) -> None:
        if found is None:
            return
        core, result = tile.core, found[0]
        some[found[1]] = True
        line, column = (core.row_off, core.col_off) if axis == 1 else (core.col_off, core.row_off)
        first = -(-line // step)
        rows = slice(first, first + result.shape[1])
        lines[:, rows, column : column + result.shape[2]] = result

    work = _plan_sample(raster, axis, settings)
    work.run(LinesBlock(step, axis), sink, "stripes", progress)
    if not some.any():
        raise none_valid(info.path)
    tell_empty(info, ~some)
    return lines


def _step(info: RasterInfo, axis: int) -> int:
    """Lines from one that is sampled to the next."""
    least = -(-info.shape[1 - axis] // LINES)
    return max(1, least, -(-info.shape[0] * info.shape[1] * info.count // SAMPLE))


def _held(info: RasterInfo, axis: int) -> int:
    """Bytes of the sample, and of what is made of a band at a time: four of its size."""
    bands, lines, columns = _lines(info, axis)
    return 8 * (bands + 4) * lines * columns


def _lines(info: RasterInfo, axis: int) -> tuple[int, int, int]:
    """Shape of the sampled lines: (band, line, column)."""
    return info.count, -(-info.shape[1 - axis] // _step(info, axis)), info.shape[axis]


def _plan_sample(raster: Planned, axis: int, settings: RunSettings) -> Pass:
    info = raster.info
    pixel = info.count * (info.dtype.itemsize + 17)
    return plan_first(raster, Cost(2 * pixel, once=_held(info, axis)), settings)
