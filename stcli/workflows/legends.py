"""What the values of class rasters have in common: names where both have some, or values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from stcli.errors import InputError
from stcli.raster.reading.read import Raster
from stcli.raster.writing.layout import variable_attrs
from stcli.raster.writing.legend import read_class_names, read_flags, word

logger = logging.getLogger("stcli")

#: Name of each value.
Legend = dict[int, str]
#: Values of classes are below.
_VALUES = 1 << 16


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
    rasters: tuple[Raster, Raster], seen: tuple[Iterable[int], Iterable[int]]
) -> tuple[tuple[str, ...], tuple[Legend, Legend]]:
    """Give the classes of two rasters of which these values were seen, and each one's legend.

    Names that are the same word are the same name, in the spelling of the map.

    Parameters
    ----------
    rasters : (Raster, Raster)
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
    paths = (rasters[0].info.path, rasters[1].info.path)
    tables = (class_names(rasters[0]), class_names(rasters[1]))
    if all(tables) or _numbered(paths, tables):
        mine, other = map(legend, map(sorted, seen), tables, paths)
        spelt = {word(name): name for name in mine.values()}
        other = {value: spelt.get(word(name), name) for value, name in other.items()}
        _refuse_strangers(mine, other, paths)
    else:
        mine = other = _by_value(paths, tables, sorted({*seen[0], *seen[1]}))
    place = {name: value for value, name in (*other.items(), *mine.items())}
    own = {*mine.values()}
    return tuple(sorted(place, key=lambda name: (place[name], name not in own))), (mine, other)


def _numbered(paths: tuple[str, str], tables: tuple[Legend, Legend]) -> bool:
    """Tell whether the one raster with names calls its classes by numbers: the other's values."""
    named = 0 if tables[0] else 1
    names = tables[named]
    if all(name == str(value) for value, name in names.items()):
        return False
    if not all(name.isdecimal() for name in names.values()):
        return False
    logger.warning(
        "%s: has no names of classes and those of %s are numbers; its values are taken for them",
        *(paths[1 - named], paths[named]),
    )
    return True


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


def one_legend(rasters: Sequence[Raster]) -> Legend:
    """Join the names of classes of rasters that become one; empty where none has any.

    Only a single band of whole numbers is one of classes. Those without names are warned of where
    others have some.

    Raises
    ------
    InputError
        One has another name for a value, or another value for a name, than one before it.
    """
    known: dict[int, tuple[str, str]] = {}
    values: dict[str, int] = {}
    nameless = []
    for raster in rasters:
        path, names = raster.info.path, class_names(raster)
        for value, name in names.items():
            other = value if value in known else values.get(word(name))
            if other is not None and (other, word(name)) != (value, word(known[other][0])):
                raise _at_odds((path, value, name), (known[other][1], other, known[other][0]))
        known = {value: (name, path) for value, name in names.items()} | known
        values = {word(name): value for value, name in names.items()} | values
        nameless += [] if names else [path]
    if known and nameless:
        logger.warning(
            "%s%s: no names of classes found, and %s has some; the values are taken for the same",
            *(nameless[0], f" and {len(nameless) - 1} more" if nameless[1:] else ""),
            next(iter(known.values()))[1],
        )
    return {value: known[value][0] for value in sorted(known)}


def class_names(raster: Raster) -> Legend:
    """Read the names of a raster's classes from band tags, or the CF attributes that we write."""
    info = raster.info
    if info.count > 1 or info.dtype.kind not in "iu":
        return {}
    if info.driver == "netCDF":
        names = read_flags(variable_attrs(raster, 0))
    elif info.driver == "Zarr":
        names = read_flags(info.tags)
    else:
        names = read_class_names(info.path)
    return {value: name for value, name in names.items() if 0 <= value < _VALUES}


def _at_odds(one: tuple[str, int, str], other: tuple[str, int, str]) -> InputError:
    """Make the refusal of two files (path, value, name) that disagree."""
    return InputError(
        f"{one[0]}: value {one[1]} is named {one[2]}, and in {other[0]} value {other[1]} is named "
        f"{other[2]}, one name for a value and one value for a name is wanted; recode or rename "
        "the classes of one of them"
    )
