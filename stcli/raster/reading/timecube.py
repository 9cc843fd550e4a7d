"""Several dates of one raster as a cube: which band is which date of which variable.

Dates come from a NetCDF's time axis, in its own numbers and calendar; elsewhere from the name of
a band, the time that its file gives it or, failing that, the file's name (``2019-03-01`` or
``20190301``), or from the user.
Validity is that of each date: unlike `Raster.read`, a cell is not lost to another date's cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import InputError, UsageError
from stcli.raster.bandnames import DATE, in_common, told_apart
from stcli.raster.reading.frames import unnamed
from stcli.raster.reading.netcdf import NetcdfSource
from stcli.raster.reading.read import Raster
from stcli.raster.reading.source import stem
from stcli.raster.timeaxis import TimeAxis

_EPOCH = date(1970, 1, 1)


#: Beyond this a square is no number any more.
LARGEST = 1e150


def refuse_huge(values: NDArray[Any], path: str) -> None:
    """Refuse values whose squares overflow; NaN is fine.

    Parameters
    ----------
    values : ndarray, (date, …) or any other shape
        NaN is fine.
    path : str
        Named in the refusal.

    Raises
    ------
    InputError
    """
    found = float(np.nanmax(np.abs(values), initial=0))
    if found > LARGEST:
        raise InputError(
            f"{path}: values up to {found:.3g} found, their squares overflow; declare the nodata "
            "value, or scale the values"
        )


@dataclass(frozen=True)
class Cube:
    """A raster whose bands are dates of variables; reads as the engine wants it.

    Attributes
    ----------
    raster : Raster
    variables : tuple of str
    times : TimeAxis
        Rising.
    places : tuple of tuple of int
        ``places[t][v]``: position of a band among those of the raster.
    dates : tuple of str
        ISO dates, rising, that the user gave, or that stand in the names of several files which
        had to be put before those of bands; empty where the bands' names tell them.
    """

    raster: Raster
    variables: tuple[str, ...]
    times: TimeAxis
    places: tuple[tuple[int, ...], ...]
    dates: tuple[str, ...] = ()

    @property
    def band_names(self) -> tuple[str, ...]:
        """Name each date of each variable as a band; by `dates` where the bands' do not tell."""
        if self.dates:
            return tuple(f"{name}@{day}" for day in self.dates for name in self.variables)
        return tuple(self.raster.info.bands[place].name for row in self.places for place in row)

    @property
    def dtype(self) -> str:
        """Type of the blocks: float32, or float64 where the stored values need it."""
        types = [band.block_dtype for band in self.raster.info.bands]
        double = any(t.itemsize > (4 if t.kind == "f" else 2) for t in types)
        return "float64" if double else "float32"

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window: block (time · variable, row, col) and valid (row, col).

        A cell without data is NaN (float32, or float64 where the values need it); `valid` tells
        where any date of any variable has data.
        """
        values, valid = self.raster.read_each(window)
        order = [place for row in self.places for place in row]
        block = values[order].astype(self.dtype)
        block[~valid[order]] = np.nan
        refuse_huge(block, self.raster.info.path)
        return block, np.isfinite(block).any(axis=0)


def cube_of(raster: Raster, dates: Sequence[str] = ()) -> Cube:
    """Sort a raster's bands into dates and variables.

    Parameters
    ----------
    raster : Raster
    dates : sequence of str, optional
        ISO dates, one for each band, in place of those found; bands without names are one variable
        where no date is there twice.

    Raises
    ------
    InputError
        A band has no date, or a variable lacks one of the dates.
    UsageError
        As many dates as bands are wanted.
    """
    bands = _bands(raster)
    if dates:
        if len(dates) != len(bands):
            raise UsageError(
                f"--dates: {len(dates)} found, {len(bands)} wanted, one for each band."
            )
        numbers = [_number(text) for text in dates]
        alike = unnamed(raster) and 1 < len(set(numbers)) == len(numbers)
        names = ["value" if alike else name for name, _ in bands]
        bands = list(zip(names, numbers, strict=True))
    bands = _called(raster, bands)
    stored = None if dates else _stored(raster)
    if stored is not None:
        found, axis = stored
    else:
        numbers = sorted({number for _, number in bands if number is not None})
        found = [(name, None if n is None else numbers.index(n)) for name, n in bands]
        axis = TimeAxis(tuple(map(float, numbers)), "days since 1970-01-01")
    named = dates or (stored is None and _prefixed(raster))
    days = tuple(str(np.datetime64(int(day), "D")) for day in axis.values) if named else ()
    return Cube(raster, *_sorted(found, axis, raster.info.path), days)


def count_dates(raster: Raster) -> int:
    """Count the dates that a time axis, the names of bands or those of files tell."""
    if len(raster.files) == 1 and raster.info.times:
        return len(raster.info.times)
    return len({number for _, number in _bands(raster) if number is not None})


def _sorted(
    found: list[tuple[str, int | None]], times: TimeAxis, path: str
) -> tuple[tuple[str, ...], TimeAxis, tuple[tuple[int, ...], ...]]:
    dateless = [name for name, k in found if k is None]
    if dateless:
        name = dateless[0].removeprefix("band ")
        raise InputError(
            f"{path}: band {name} has no date; give --dates, one for each band, or leave it out "
            "by --bidx"
        )
    variables = tuple(dict.fromkeys(name for name, _ in found))
    where = {key: place for place, key in enumerate(found)}
    steps = range(len(times.values))
    for v in variables:
        count = sum(name == v for name, _ in found)
        if count != len(times.values) or any((v, t) not in where for t in steps):
            raise InputError(
                f"{path}: {v} has {count} bands for {len(times.values)} dates, one for each date "
                "is wanted"
            )
    return variables, times, tuple(tuple(where[v, t] for v in variables) for t in steps)


def _bands(raster: Raster) -> list[tuple[str, int | None]]:
    """Name the variable and the day of every band by names of bands, their times and files."""
    bands: list[tuple[str, int | None]] = [("", None)] * raster.info.count
    for source, indexes, places in raster.files:
        for index, place in zip(indexes, places, strict=True):
            name = source.info.bands[index - 1].name
            told = DATE.match(source.info.times[index - 1])
            match = DATE.search(name) or told or DATE.search(stem(source.info.path))
            left = DATE.sub("", name).strip(" @_-.:")
            number = _day("-".join(match.groups())) if match else None
            bands[place] = (left or "value", number)
    return bands


def _called(
    raster: Raster, bands: Sequence[tuple[str, int | None]]
) -> list[tuple[str, int | None]]:
    """Call bands that no file names after what tells their files apart from others of their day."""
    called, days = list(bands), dict[int, list[int]]()
    for source, _, (place, *_) in raster.files:
        day = bands[place][1]
        if day is not None and [b.name for b in source.info.bands] == [stem(source.info.path)]:
            days.setdefault(day, []).append(place)
    names = {day: told_apart([bands[k][0] for k in places]) for day, places in days.items()}
    if days and all(len(places) == 1 for places in days.values()):
        names = dict.fromkeys(days, (in_common([bands[k][0] for (k,) in days.values()]),))
    for day, places in days.items():
        for k, name in zip(places, names[day], strict=True):
            called[k] = (name, day)
    return called


def _prefixed(raster: Raster) -> bool:
    """Tell whether a band's name is not its file's own: others had it too, or it was shortened."""
    return any(
        raster.info.bands[place].name != source.info.bands[index - 1].name
        for source, indexes, places in raster.files
        for index, place in zip(indexes, places, strict=True)
    )


def _number(text: str) -> int:
    number = _day(text)
    if number is None:
        raise UsageError(f"--dates: '{text}' found, a date such as 2019-03-01 wanted.")
    return number


def _day(text: str) -> int | None:
    """Day since 1970-01-01; None for what is no date, as eight digits of a name may be."""
    try:
        return (date.fromisoformat(text.strip()) - _EPOCH).days
    except ValueError:
        return None


def _stored(raster: Raster) -> tuple[list[tuple[str, int | None]], TimeAxis] | None:
    """Read variables and steps of a single NetCDF's bands, and its time axis as it is stored.

    None where it is no such file, or has no axis that all of its dates lie on.
    """
    (source, indexes, places), *others = raster.files
    if others or not isinstance(source, NetcdfSource):
        return None
    by_place = dict(zip(places, indexes, strict=True))
    layers = [source.layer(by_place[place]) for place in sorted(by_place)]
    axes = {layer.time for layer in layers if layer.time}
    if len(axes) != 1:
        return None
    steps = sorted({layer.step for layer in layers if layer.time})
    axis = source.time_axis(axes.pop()).at(steps)
    if (np.diff(axis.values) <= 0).any():
        raise InputError(f"{raster.info.path}: times do not rise; sort them first")
    found = [
        ("_".join([layer.variable, *layer.labels]), steps.index(layer.step) if layer.time else None)
        for layer in layers
    ]
    return found, axis
