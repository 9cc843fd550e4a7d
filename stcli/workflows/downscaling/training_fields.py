"""What a downscaler learns from: fields of rasters, whole, or in windows of those that are large.

A training draws some ten million pixels, however large its raster is. So of a raster of more than
`MOST` values windows are read, spread evenly over it and its times: which ones depends on the
raster alone, not on the memory that a machine has.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.samples import Sample, copies, paired, shifts, transferred
from stcli.engine.machine import MB, default_memory, resident
from stcli.errors import BudgetError, InputError
from stcli.raster.info import RasterInfo
from stcli.raster.reading.frames import Frames, beside, frames, matched_bands
from stcli.raster.reading.read import Raster
from stcli.raster.reading.stack import nest
from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings
from stcli.workflows.downscaling.nested import Pair, none_whole
from stcli.workflows.downscaling.upscalers import Guide
from stcli.workflows.each_band import EachBand
from stcli.workflows.empty import no_valid_pixel

logger = logging.getLogger("stcli")

#: Values (pixels x bands x times) that a model learns from at most: a Sentinel-2 scene's quarter.
MOST = 1 << 24
#: Side of a large raster's windows, in fine pixels.
SIDE = 512
#: From so many fields on each is coarsened from one place where the block grid may begin.
MANY = 4
#: Fields that are judged by, at most, spread evenly.
JUDGED = 8
#: Bytes that a training needs whatever it learns from.
_TRAINING = 1_000_000_000
#: Steps of a sequence of points that fill a square evenly (R2, Roberts 2018, "The unreasonable
#: effectiveness of quasirandom sequences"): 1 / g and 1 / g**2 with g**3 = g + 1.
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True)
class Rasters:
    """Opened rasters to learn from.

    Attributes
    ----------
    fine : Raster
    guide, coarse : Raster or None
        See `stcli.workflows.downscaling.train_downscaler.Given`.
    """

    fine: Raster
    guide: Raster | None = None
    coarse: Raster | None = None

    @property
    def asked(self) -> Raster:
        """The raster whose bands are made finer."""
        return self.coarse or self.fine


@dataclass(frozen=True)
class Plan:
    """Which parts of a raster are learned from.

    Attributes
    ----------
    windows : tuple of Window
        Of one size, in the order in which they are looked at.
    most : int
        So many of them are taken, the first that are valid for the larger part.
    times : int
        So many of the raster's times are taken of each.
    """

    windows: tuple[Window, ...]
    most: int
    times: int

    @classmethod
    def of(cls, info: RasterInfo, times: int, factor: int = 1) -> Plan:
        """Choose windows of a raster whose pixels have `factor` x `factor` fine ones."""
        rows, cols = info.shape
        values = info.count * factor**2
        height, width = (min(SIDE // factor, n) for n in (rows, cols))
        if rows * cols * values <= MOST:
            return cls((Window(0, 0, cols, rows),), 1, times)
        down, right = rows // height, cols // width
        fields = max(1, MOST * times // (height * width * values))
        most = min(down * right, max(fields // times, math.isqrt(fields)))
        places = _spread_out(down, right)
        windows = (Window(col * width, row * height, width, height) for row, col in places)
        return cls(tuple(windows), most, min(times, fields // most))

    def chosen(self, number: int, times: int) -> list[int]:
        """Choose times for the window of a number: evenly spread, others for each window."""
        places = (np.arange(self.times) + number / self.most) * times / self.times
        return [int(place) for place in places]


def _spread_out(rows: int, cols: int) -> list[tuple[int, int]]:
    """Put the cells of a grid in an order whose beginnings are spread evenly over it."""
    points = 0.5 + np.arange(1, 4 * rows * cols + 1)[:, None] * _STEPS
    row, col = (points % 1 * (rows, cols)).astype(int).T
    every = np.arange(rows * cols)  # the few cells that no point is in come last
    order = dict.fromkeys(np.concatenate([row * cols + col, every]).tolist())
    return [divmod(place, cols) for place in order]


@dataclass(frozen=True)
class Field:
    """What is learned from at one time, in one window; NaN for no value.

    Attributes
    ----------
    truth : ndarray of float64, (band, row, col)
    guide : ndarray of float64, (guide, row, col), or None
    coarse : ndarray of float64, (band, row / factor, col / factor), or None
        Of a source of its own; None where the truth is coarsened.
    """

    truth: NDArray[np.float64]
    guide: NDArray[np.float64] | None
    coarse: NDArray[np.float64] | None = None


#: Reads a window at some times.
Look = Callable[[Window, Sequence[int]], list[Field]]


def samples_of(
    rasters: Rasters,
    network: UpscalerSettings,
    training: DownscalerTraining,
    settings: RunSettings,
) -> tuple[list[Sample], int]:
    """Read fields of rasters and make samples of them; tell how many come first to be judged by.

    Raises
    ------
    InputError
        Grids do not nest, bands do not match, or there are too few pixels or none with a value.
    BudgetError
        What is learned from does not fit in memory.
    """
    asked, times = rasters.asked, len(frames_of(rasters.asked).times)
    factor = 1 if rasters.coarse is None else network.factors[0]
    plan = Plan.of(asked.info, times, factor)
    _refuse_large(rasters, plan, (network, training), settings)
    if rasters.coarse is None:
        _refuse_small(asked.info, 2 * max(network.factors))  # block grids are shifted by a block
        fields = _taken(plan, _to_coarsen(rasters), asked.info, times)
        if not fields:
            raise no_valid_pixel(asked)
        return _coarsened(fields, network, training)
    fields = _taken(plan, _pairs(rasters, rasters.coarse, factor), asked.info, times)
    return _paired(fields, rasters, factor)


def frames_of(raster: Raster) -> Frames:
    """Tell which bands of a raster are times of one variable."""
    return frames(raster.info.band_names, raster.info.path)


def _to_coarsen(rasters: Rasters) -> Look:
    """Read a raster whose truth will be coarsened, and its guide on the same grid."""
    fine, guide = rasters.fine, rasters.guide
    known = frames_of(fine)
    shown = None if guide is None else beside(known, frames_of(guide), guide.info.path)

    def look(window: Window, times: Sequence[int]) -> list[Field]:
        truth = _read(fine, window)
        finer = None if guide is None else _guide(fine, guide, window)
        return [Field(truth[list(known.places[t])], _of(finer, shown, t)) for t in times]

    return look


def _pairs(rasters: Rasters, coarse: Raster, factor: int) -> Look:
    """Read a fine raster, and a guide, on the blocks of a coarse one."""
    fine, guide = rasters.fine, rasters.guide
    Pair.of(fine, coarse)
    known = frames_of(coarse)
    places = beside(known, frames_of(fine), fine.info.path)
    shown = None if guide is None else beside(known, frames_of(guide), guide.info.path)
    names = known.variables, frames_of(fine).variables
    order = list(matched_bands(*names, coarse.info.path, fine.info.path))
    blocks = Guide.of(fine, coarse, factor)
    guides = None if guide is None else Guide.of(guide, coarse, factor)

    def look(window: Window, times: Sequence[int]) -> list[Field]:
        truth, seen = blocks.read(window), _read(coarse, window)
        finer = None if guides is None else guides.read(window)
        return [
            Field(truth[list(places[t])][order], _of(finer, shown, t), seen[list(known.places[t])])
            for t in times
        ]

    return look


def _of(
    guide: NDArray[Any] | None, shown: Sequence[Sequence[int]] | None, time: int
) -> NDArray[Any] | None:
    """Cut a guide's bands into what stands beside a time."""
    return None if guide is None or shown is None else guide[list(shown[time])]


def _taken(plan: Plan, look: Look, info: RasterInfo, times: int) -> list[Field]:
    """Read windows until as many as planned are valid for the larger part.

    Where none is, that with most values is taken.
    """
    taken: list[list[Field]] = []
    best, spare = 0.0, list[Field]()
    for window in plan.windows:
        seen = look(window, plan.chosen(len(taken), times))
        share = float(np.mean([np.isfinite(one.truth).mean() for one in seen]))
        if share >= 0.5:
            taken.append(seen)
        elif share > best:
            best, spare = share, seen
        if len(taken) == plan.most:
            break
    fields = [one for seen in taken or [spare] for one in seen]
    if len(plan.windows) > 1 or plan.times < times:
        _tell(plan, info, len(taken), times)
    return [one for one in fields if not np.isnan(one.truth).all(axis=(1, 2)).any()]


def _tell(plan: Plan, info: RasterInfo, taken: int, times: int) -> None:
    rows, cols = plan.windows[0].height, plan.windows[0].width
    some = f" at {plan.times} of {times} times each" if plan.times < times else ""
    logger.warning(
        "%s: large; learned from %d windows of %d x %d pixels, spread evenly%s",
        info.path,
        max(1, taken),
        rows,
        cols,
        some,
    )


def _coarsened(
    fields: Sequence[Field], network: UpscalerSettings, training: DownscalerTraining
) -> tuple[list[Sample], int]:
    """Coarsen each field and its guide; those that are judged by come first."""
    judged, many = set(_spread(len(fields))), len(fields) >= MANY
    firsts: list[Sample] = []
    others: list[Sample] = []
    for number, field in enumerate(fields):
        for factor in network.factors:
            bands = len(field.truth)
            known = training.transfer or training.psf
            blurs = transferred(training.psf, factor, bands) if known else [(0.0,) * bands]
            turn = number if many else None
            first, *more = copies(field.truth, field.guide, factor, blurs, turn)
            (firsts if number in judged else others).append(first)
            others += more
    return firsts + others, len(firsts)


def _paired(fields: Sequence[Field], rasters: Rasters, factor: int) -> tuple[list[Sample], int]:
    """Make samples of pairs; those that are judged by come first."""
    made = [
        paired(one.coarse, one.truth, one.guide, factor) for one in fields if one.coarse is not None
    ]
    made = [one for one in made if not np.isnan(one.target).all()]
    if not made:
        raise none_whole(rasters.fine, rasters.asked)
    first = _spread(len(made))
    rest = [one for n, one in enumerate(made) if n not in first]
    return [made[n] for n in first] + rest, len(first)


def _spread(count: int) -> list[int]:
    """Choose numbers below a count, `JUDGED` at most, spread evenly."""
    return sorted({int(n) for n in np.linspace(0, count - 1, min(count, JUDGED)).round()})


def _read(raster: Raster, window: Window) -> NDArray[np.float64]:
    values, _ = EachBand(raster).read(window)
    return values.astype(np.float64)


def _guide(raster: Raster, guide: Raster, window: Window) -> NDArray[np.float64]:
    """Read a guide on a window of the raster's grid: as it is, or by block means."""
    nesting = nest(guide.info, raster.info)
    if nesting is None:
        return _read(guide, window)
    factor = nesting.factor[0]
    return block_mean(Guide.of(guide, raster, factor).read(window), factor)


def _refuse_small(info: RasterInfo, least: int) -> None:
    rows, cols = info.shape
    if min(rows, cols) < least:
        raise InputError(
            f"{info.path}: {rows} rows and {cols} columns found, at least {least} of each "
            "are wanted to coarsen it; a larger raster or a smaller factor is wanted."
        )


def _refuse_large(
    rasters: Rasters,
    plan: Plan,
    recipe: tuple[UpscalerSettings, DownscalerTraining],
    settings: RunSettings,
) -> None:
    """Refuse what does not fit in memory, with its features; raises `BudgetError`."""
    asked, guide = rasters.asked, rasters.guide
    (network, training), times = recipe, len(frames_of(asked).times)
    finer = network.factors[0] ** 2 if rasters.coarse else 1
    window, windows = plan.windows[0], min(plan.most, len(plan.windows))
    pixels = int(window.height * window.width) * finer  # of the fine raster
    bands, guides = asked.info.count, guide.info.count if guide else 0
    shown = guides * (times if guide and len(frames_of(guide).times) == 1 else 1)
    blurs = 3 if training.psf else 2 if training.transfer else 1
    whole = rasters.coarse is None and windows * plan.times < MANY
    copied = blurs + (len(shifts(network.factors[0])) - 1 if whole else 0)
    kept = (bands + shown) * (8 + 12 * copied * len(network.factors))
    share = 0.0 if guide is None else math.prod(guide.info.shape) / math.prod(asked.info.shape)
    made = 48 * (bands + guides) + 8 * guides * share / finer  # while a window is read
    needed = resident() + _TRAINING + int(made * pixels)
    needed += int(kept * pixels * windows * plan.times / times)
    allowed = settings.memory or default_memory()
    if needed > allowed:
        raise BudgetError(
            f"memory: learning from {asked.info.path} needs {needed / MB:.0f} MB, "
            f"{allowed / MB:.0f} MB are allowed; --memory raises the budget."
        )
