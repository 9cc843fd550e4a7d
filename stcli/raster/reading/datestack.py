"""A stack of dates as a model of some of its variables wants it, clouds left out by date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import InputError, ModelError
from stcli.raster.reading.timecube import Cube
from stcli.raster.timeaxis import TimeAxis


@dataclass(frozen=True)
class DateStack:
    """Chosen variables and dates of a cube; reads as the engine wants it.

    Attributes
    ----------
    cube : Cube
    variables : tuple of int
        Positions of the wanted variables among the cube's.
    days : ndarray of int64 (date,)
        Of the chosen dates, since 1970-01-01, rising.
    dates : tuple of int
        Positions of the chosen dates among the cube's.
    mask : int or None
        Position of the variable that tells clear pixels.
    clear : tuple of float
        Its values that are clear.
    """

    cube: Cube
    variables: tuple[int, ...]
    days: tuple[int, ...]
    dates: tuple[int, ...]
    mask: int | None = None
    clear: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the chosen variables."""
        return tuple(self.cube.variables[v] for v in self.variables)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window: block (date · variable, row, col) float32, and valid (row, col).

        A date is NaN in all variables where one of them has no data, or where it is not clear;
        `valid` tells where any date has data.
        """
        block, _ = self.cube.read(window)
        cells = block.reshape(-1, len(self.cube.variables), *block.shape[1:])
        values = cells[np.ix_(self.dates, self.variables)].astype(np.float32)
        use = np.asarray(np.isfinite(values).all(axis=1))
        if self.mask is not None:
            use &= np.isin(cells[list(self.dates), self.mask], self.clear)
        np.copyto(values, np.nan, where=~use[:, None])
        return values.reshape(-1, *block.shape[1:]), np.asarray(use.any(axis=0))

    @property
    def read_bytes(self) -> int:
        """Bytes that a pixel takes while it is read."""
        stored = self.cube.raster.info.dtype.itemsize + 1
        cells = self.cube.raster.info.count * (stored + 2 * np.dtype(self.cube.dtype).itemsize)
        return cells + len(self.dates) * (2 * 4 * len(self.variables) + 4)


def stack_of(
    cube: Cube, wanted: Sequence[str], mask: str | None = None, clear: Sequence[float] = ()
) -> DateStack:
    """Choose variables of a cube by name, all dates.

    Raises
    ------
    ModelError
        A wanted variable is not there.
    InputError
        The mask is not there, or the times cannot be read as dates.
    """
    path, listed = cube.raster.info.path, ", ".join(cube.variables)
    missing = [name for name in wanted if name not in cube.variables]
    if missing:
        raise ModelError(
            f"{path}: variables {listed}; the model wants {', '.join(wanted)}, of which "
            f"{', '.join(missing)} is not there; name the bands so."
        )
    if mask is not None and mask not in cube.variables:
        raise InputError(f"{path}: no variable {mask} among {listed}; --mask-band names one")
    return DateStack(
        cube,
        tuple(cube.variables.index(name) for name in wanted),
        days_of(cube.times, path),
        tuple(range(len(cube.times.values))),
        None if mask is None else cube.variables.index(mask),
        tuple(clear),
    )


def days_of(times: TimeAxis, path: str) -> tuple[int, ...]:
    """Read the dates of a time axis: days since 1970-01-01 of the common calendar.

    A calendar of other months than ours is taken by its names of days: its 30th of February is
    our last day of February.

    Raises
    ------
    InputError
    """
    import cftime

    try:
        stamps = cftime.num2date(times.values, times.units, times.calendar)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: times in '{times.units}' are no dates ({error})") from error
    return tuple(_day(stamp.year, stamp.month, stamp.day) for stamp in np.atleast_1d(stamps))


def _day(year: int, month: int, day: int) -> int:
    month_of = np.datetime64(f"{year:04d}-{month:02d}")
    first, after = (
        int(when.astype("datetime64[D]").astype(np.int64))
        for when in (month_of, month_of + np.timedelta64(1, "M"))
    )
    return min(first + day, after) - 1
