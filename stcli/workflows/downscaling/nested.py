"""A fine and a coarse raster of one place, read together: which pixels belong to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.engine.memory import Cost
from stcli.errors import InputError
from stcli.raster.info import RasterInfo
from stcli.raster.reading.frames import matched_bands
from stcli.raster.reading.read import Raster
from stcli.raster.reading.stack import Nesting, nest
from stcli.raster.units import differ
from stcli.settings import RunSettings
from stcli.workflows.downscaling.members import groups
from stcli.workflows.each_band import EachBand
from stcli.workflows.job import Pass, plan_pass


@dataclass(frozen=True)
class Pair:
    """A fine raster and a coarse one that it nests in.

    Attributes
    ----------
    fine, coarse : Raster
    nesting : Nesting
    order : tuple of int
        Of each band of the fine raster the place of the coarse one that belongs to it; -1 for an
        ensemble's standard deviation, to which none does.
    """

    fine: Raster
    coarse: Raster
    nesting: Nesting
    order: tuple[int, ...]

    @classmethod
    def of(cls, fine: Raster, coarse: Raster, members: int = 0) -> Pair:
        """Match two rasters, the fine one with so many members of each band.

        Raises
        ------
        InputError
            Their grids do not nest, or they do not have as many bands, the same times, or the same
            units.
        """
        nesting, a, b = nested(fine, coarse), fine.info, coarse.info
        own = groups(a.band_names, members, a.path)
        if len(own) != b.count:
            raise InputError(f"{b.path}: {b.count} bands found, {len(own)} wanted as in {a.path}.")
        order = [-1] * a.count
        for places, place in zip(own, belonging(a, b, own), strict=True):
            for each in (places[0], *places[2:]):
                order[each] = place
        return cls(fine, coarse, nesting, tuple(order))

    @property
    def factor(self) -> int:
        """Fine pixels along a side of a coarse one."""
        return self.nesting.factor[0]

    @property
    def cuts(self) -> tuple[int, int, tuple[int, int]]:
        """Halo, alignment and origin of tiles of the fine raster, cut between coarse pixels."""
        down, right = self.nesting.offset
        return 0, self.factor, (-down, -right)

    def plan(self, cost: Cost, settings: RunSettings) -> Pass:
        """Choose tiles of the fine raster, cut between coarse pixels.

        Raises
        ------
        BudgetError
        """
        return plan_pass(EachBand(self.fine), cost, settings, *self.cuts)

    def whole_blocks(
        self, block: NDArray[Any], core: Window
    ) -> tuple[NDArray[Any], NDArray[Any], tuple[slice, slice]]:
        """Complete a tile's fine values to whole blocks and read their coarse values.

        Parameters
        ----------
        block : ndarray, (band, row, col)
            Fine values of `core`.
        core : Window
            Of a tile of `plan`.

        Returns
        -------
        fine : ndarray, (band, row, col)
            `block` with NaN around it where the raster cuts a coarse pixel.
        coarse : ndarray, (band, row // factor, col // factor)
            NaN where there is no value, and where the fine raster does not hold the whole block.
        inner : (slice, slice)
            Rows and columns of `block` in `fine`.
        """
        rows, cols = (
            self._span(core.row_off, core.height, 0),
            self._span(core.col_off, core.width, 1),
        )
        around = [(0, 0), (rows.before, rows.after), (cols.before, cols.after)]
        fine = np.pad(block, around, constant_values=np.nan)
        each = EachBand(self.coarse)
        coarse = np.full((len(block), rows.count, cols.count), np.nan, each.dtype)
        if rows.stop > rows.start and cols.stop > cols.start:
            window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
            values, _ = each.read(window)
            for band, place in zip(coarse, self.order, strict=True):
                if place >= 0:
                    band[rows.held, cols.held] = values[place]
        inner = (
            slice(rows.before, rows.before + block.shape[1]),
            slice(cols.before, cols.before + block.shape[2]),
        )
        return fine, coarse, inner

    def _span(self, first: int, length: int, axis: int) -> _Span:
        k, offset = self.factor, self.nesting.offset[axis]
        low = (first - offset) // k
        high = -(-(first + length - offset) // k)
        before, after = first - offset - low * k, high * k + offset - first - length
        start, stop = low + (before > 0), high - (after > 0)  # those wholly inside
        start, stop = max(start, 0), min(stop, self.nesting.shape[axis])
        return _Span(start, stop, high - low, before, after, slice(start - low, stop - low))


@dataclass(frozen=True)
class _Span:
    """One axis: the coarse pixels to read, all that are touched, and what is missing of them."""

    start: int
    stop: int
    count: int
    before: int
    after: int
    held: slice


def belonging(one: RasterInfo, other: RasterInfo, own: list[list[int]]) -> tuple[int, ...]:
    """Find the band of another raster that belongs to each band of one, in the same unit.

    Parameters
    ----------
    one, other : RasterInfo
    own : list of list of int
        Of each of `other`'s bands the places of those of `one` that are of it, as `groups` finds
        them.

    Returns
    -------
    tuple of int

    Raises
    ------
    InputError
        They have other times or units, or the same names at different places.
    """
    names = [one.band_names[places[0]] for places in own]
    matched = matched_bands(names, other.band_names, one.path, other.path)
    for places, place in zip(own, matched, strict=True):
        mine, theirs = one.bands[places[0]], other.bands[place]
        if differ(mine.units, theirs.units):
            raise InputError(
                f"{other.path}: band {theirs.name} is in {theirs.units}, {mine.units} wanted as in "
                f"{one.path}; convert one of them."
            )
    return matched


def none_whole(fine: Raster, coarse: Raster) -> InputError:
    """Make the refusal of a coarse raster none of whose values has a whole block of fine ones."""
    return InputError(
        f"{coarse.info.path}: no pixel with a value lies wholly on values of {fine.info.path}, "
        "one at least is wanted."
    )


def nested(fine: Raster, coarse: Raster) -> Nesting:
    """Find how a coarse raster lies on a fine one.

    Raises
    ------
    InputError
        The grids do not nest, are one grid, or differ in their factor between rows and columns.
    """
    nesting = nest(fine.info, coarse.info)
    if nesting is None:
        raise InputError(
            f"{coarse.info.path}: has the very grid of {fine.info.path}, a coarser one is wanted."
        )
    if nesting.factor[0] != nesting.factor[1]:
        rows, cols = nesting.factor
        raise InputError(
            f"{coarse.info.path}: a pixel spans {rows} rows and {cols} columns of "
            f"{fine.info.path}, as many of both are wanted."
        )
    return nesting
