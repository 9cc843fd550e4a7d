"""Bands that are the same variables at several times: a frame for each time.

The names of bands tell: ``t2m@2021-03-02``, ``B04@2021-03-02[level=500]``, as bands of a NetCDF are
called and those of what is made of one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stcli.errors import InputError
from stcli.raster.reading.read import Raster
from stcli.raster.reading.source import stem

_TIME = re.compile(r"@([^@\[\]]+)")
#: Where what a band's name says of time or level begins.
_PLACE = re.compile(r"(?=[@\[])")


@dataclass(frozen=True)
class Frames:
    """Which band is which variable at which time.

    Attributes
    ----------
    variables : tuple of str
    times : tuple of str
        In the order of the bands; one, empty, for bands without a time.
    places : tuple of tuple of int
        ``places[t][v]``: position of a band. One without a time is in every frame.
    """

    variables: tuple[str, ...]
    times: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


def frames(names: Sequence[str], path: str) -> Frames:
    """Sort bands into frames.

    Parameters
    ----------
    names : sequence of str
        Of the bands.
    path : str
        For messages.

    Raises
    ------
    InputError
        A variable lacks a time that others have, or is there twice.
    """
    found = [(_TIME.sub("", name), _time(name)) for name in names]
    variables = tuple(dict.fromkeys(variable for variable, _ in found))
    times = tuple(dict.fromkeys(time for _, time in found if time))
    if not times:
        return Frames(tuple(names), ("",), (tuple(range(len(names))),))
    where = {key: place for place, key in enumerate(found)}
    if len(where) < len(names):
        twice = next(n for n, key in zip(names, found, strict=True) if found.count(key) > 1)
        raise InputError(f"{path}: band {twice} is there twice, each wanted once; choose by -b.")
    return Frames(variables, times, tuple(_frame(where, variables, time, path) for time in times))


def ending(name: str, end: str) -> str:
    """Put a suffix after the variable in a band's name: ``t2m_std@2021-03-02``.

    Parameters
    ----------
    name : str
        What it says of time and level stays behind.
    end : str
    """
    variable, *rest = _PLACE.split(name, maxsplit=1)
    return "".join((variable, end, *rest))


def unnamed(raster: Raster) -> bool:
    """Tell whether no file names a band."""
    return all(
        source.info.bands[index - 1].name in (f"band {index}", stem(source.info.path))
        for source, indexes, _ in raster.files
        for index in indexes
    )


def nameless(raster: Raster) -> bool:
    """Tell whether there is one band, called after its file: another file has another name."""
    return raster.info.count == 1 and unnamed(raster)


def _time(name: str) -> str:
    match = _TIME.search(name)
    return match.group(1) if match else ""


def _frame(
    where: dict[tuple[str, str], int], variables: tuple[str, ...], time: str, path: str
) -> tuple[int, ...]:
    """Find each variable at a time, or without any."""
    places = [where.get((v, time), where.get((v, ""))) for v in variables]
    if None in places:
        missing = variables[places.index(None)]
        raise InputError(
            f"{path}: {missing} has no {time}, all variables are wanted at the same times; choose "
            "by -b."
        )
    return tuple(place for place in places if place is not None)


def beside(own: Frames, other: Frames, path: str) -> tuple[tuple[int, ...], ...]:
    """Choose what of another raster stands beside each frame: the same time, or its only one.

    Parameters
    ----------
    own, other : Frames
    path : str
        Of the other, for messages.

    Returns
    -------
    tuple of tuple of int
        Of each of `own`'s frames the places of the other's bands.

    Raises
    ------
    InputError
        It has several times, and they are not the same.
    """
    if len(other.times) == 1:
        return other.places * len(own.times)
    if other.times != own.times:
        raise InputError(
            f"{path}: {len(other.times)} times found, {_range(other)}; the raster's "
            f"{len(own.times)}, {_range(own)}, or a single one are wanted."
        )
    return other.places


def _range(one: Frames) -> str:
    return f"{one.times[0]} to {one.times[-1]}" if one.times[0] else "not dated"


def matched_bands(
    own: Sequence[str], other: Sequence[str], own_path: str, other_path: str
) -> tuple[int, ...]:
    """Find the band of another raster that belongs to each band of one.

    By name and time where both have the same ones, in whatever order; else one after the other, as
    bands without names must be.

    Parameters
    ----------
    own, other : sequence of str
        Names of as many bands; ``t2m[level=850.0]`` and ``t2m_level_850_0`` are one name.
    own_path, other_path : str
        For messages.

    Returns
    -------
    tuple of int
        Of each of `own` the place in `other`.

    Raises
    ------
    InputError
        They have different times, or some of the same names at different places.
    """
    mine, theirs = ([_key(name) for name in names] for names in (own, other))
    if len(set(mine)) == len(mine) and set(mine) == set(theirs):
        return tuple(theirs.index(key) for key in mine)
    _refuse_other_times(mine, theirs, own_path, other_path)
    for place, (one, two) in enumerate(zip(mine, theirs, strict=True)):
        dated = one[1] and two[1] and one[1] != two[1]
        moved = one != two and (one in theirs or two in mine)
        if dated or moved:
            raise InputError(
                f"{other_path}: band {other[place]} found where {own_path} has {own[place]}, the "
                "same names and times of both are wanted; choose or rename bands."
            )
    return tuple(range(len(mine)))


def _refuse_other_times(
    mine: Sequence[tuple[str, str]], theirs: Sequence[tuple[str, str]], own: str, other: str
) -> None:
    times, known = ([time for _, time in keys] for keys in (mine, theirs))
    missing = [time for time in times if time not in known]
    if missing and all(times) and all(known):
        raise InputError(
            f"{other}: no {missing[0]} found, the times of {own} are wanted; choose those of both."
        )


def _key(name: str) -> tuple[str, str]:
    """Give the name of a variable as a NetCDF would have it, and the time."""
    return re.sub(r"\W+", "_", _TIME.sub("", name)).strip("_"), _time(name)
