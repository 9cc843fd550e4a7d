"""Bands that are the same variables at several times: a frame for each time.

The names of bands tell: ``t2m@2021-03-02``, ``B04@2021-03-02[level=500]``, as bands of a NetCDF are
called and those of what is made of one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stcli.errors import InputError

_TIME = re.compile(r"@([^@\[\]]+)")


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
