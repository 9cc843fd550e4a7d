"""What the values of two class rasters have in common: names where both have some, or values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from stcli.errors import InputError
from stcli.raster.legend import read_class_names

logger = logging.getLogger("stcli")

#: Name of each value.
Legend = dict[int, str]


def legend(values: Iterable[int], names: Mapping[int, str], path: str) -> Legend:
    """Name the values of a class raster: by their number those that have no name.

    Raises
    ------
    InputError
        Two values have one name.
    """
    found: Legend = {}
    for value in values:
        name = names.get(value, str(value)).strip()
        if name in found.values():
            other = next(v for v, n in found.items() if n == name)
            raise InputError(
                f"{path}: values {other} and {value} are both named {name}, a name of its own is "
                "wanted for each; merge or rename them."
            )
        found[value] = name
    return found


def join_legends(
    paths: tuple[str, str], seen: tuple[Iterable[int], Iterable[int]]
) -> tuple[tuple[str, ...], tuple[Legend, Legend]]:
    """Give the classes of two rasters of which these values were seen, and each one's legend.

    Parameters
    ----------
    paths : (str, str)
        The map and the reference.
    seen : (iterable of int, iterable of int)

    Returns
    -------
    tuple of str
        Names of the classes, in the order of their values in the map, else in the reference.
    (Legend, Legend)

    Raises
    ------
    InputError
        Two values of a raster have one name, or no name is in both.
    """
    tables = (read_class_names(paths[0]), read_class_names(paths[1]))
    if all(tables):
        mine, other = map(legend, map(sorted, seen), tables, paths)
        _refuse_strangers(mine, other, paths)
    else:
        mine = other = _by_value(paths, tables, sorted({*seen[0], *seen[1]}))
    place = {name: value for value, name in (*other.items(), *mine.items())}
    own = {*mine.values()}
    return tuple(sorted(place, key=lambda name: (place[name], name not in own))), (mine, other)


def _by_value(
    paths: tuple[str, str], tables: tuple[Legend, Legend], values: Iterable[int]
) -> Legend:
    """Name values alike in both, by the names of one of them or none."""
    named = 0 if tables[0] else 1
    if tables[named]:
        logger.warning(
            "%s: has no names of classes and %s has; the two are compared by value",
            *(paths[1 - named], paths[named]),
        )
    return legend(values, tables[named], paths[named])


def _refuse_strangers(mine: Legend, other: Legend, paths: tuple[str, str]) -> None:
    if mine and other and not {*mine.values()} & {*other.values()}:
        raise InputError(
            f"{paths[1]}: classes {', '.join(other.values())} found, none of those of {paths[0]} "
            f"({', '.join(mine.values())}); give one class one name."
        )
