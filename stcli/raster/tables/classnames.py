"""Names of classes in tables of labels, and how they go with those of a map."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from stcli.errors import InputError, few
from stcli.raster.writing.legend import word

logger = logging.getLogger("stcli")

#: Classes that a map can hold: values from 1 to this, 0 being none.
MOST_CLASSES = 255


def distinct(found: set[str], path: str, least: int) -> tuple[str, ...]:
    """Sort the classes that were found (names); raises `InputError` for fewer than `least`."""
    if len(found) < least:
        raise InputError(
            f"{path}: its labels in the raster are all of one class ({', '.join(found)}), two or "
            "more are wanted"
        )
    return tuple(sorted_names(found))


def spelt(names: list[str], legend: Mapping[int, str], path: str) -> list[str]:
    """Write labels as a legend does: names that are one word, or all of them values.

    Parameters
    ----------
    names : list of str
        Of labels, one each.
    legend : mapping of int to str
    path : str
        What is warned of, where the labels are values.
    """
    known = {key: name for name in legend.values() for key in (word(name), name)}
    values = {str(value): name for value, name in legend.items()}
    if set(names) <= set(values) and not {word(name) for name in names} & set(known):
        logger.warning("%s: its labels are numbers and are taken for the map's values", path)
        known = values
    return [known.get(name, known.get(word(name), name)) for name in names]


def unlisted(names: list[str], listed: Sequence[str], where: str) -> list[str]:
    """Name the classes of labels that a legend has not, with a warning.

    Parameters
    ----------
    names : list of str
        Of labels, one each, as the legend spells them.
    listed : sequence of str
    where : str
        File and column, for the words.

    Raises
    ------
    InputError
        It has none of them.
    """
    unknown = sorted_names(set(names) - set(listed))
    told = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
    if len(unknown) == len(set(names)):
        raise InputError(
            f"{where} holds {told}, any of {', '.join(listed)} is wanted; name the column of those "
            "classes, or rename them"
        )
    if unknown:
        logger.warning(
            "%s holds %s, which the map lacks: %d of %d features, counted as wrong wherever they "
            "lie; rename those that are only spelt differently",
            *(where, told, sum(name in unknown for name in names), len(names)),
        )
    return unknown


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sort names of classes: as numbers if they all are whole numbers, else as text."""
    listed = sorted(names)
    numbers = _numbers(listed)
    return (
        listed
        if numbers is None
        else [name for _, name in sorted(zip(numbers, listed, strict=True))]
    )


def values_of(names: Sequence[str]) -> tuple[int, ...]:
    """Give each class its value in a map.

    Parameters
    ----------
    names : sequence of str
        In the order of `sorted_names`.

    Returns
    -------
    tuple of int
        The numbers themselves where all names are numbers from 1 to 255, as codes of classes are;
        else those of their order, from 1.
    """
    numbers = _numbers(names) or []
    own = all(1 <= number <= MOST_CLASSES for number in numbers) and len({*numbers}) == len(names)
    return tuple(numbers) if own else tuple(range(1, len(names) + 1))


def tell_renumbered(names: Sequence[str], values: Sequence[int], path: str) -> None:
    """Warn of codes that are not the values of their classes in a map.

    Parameters
    ----------
    names : sequence of str
    values : sequence of int
        One each.
    path : str
        Where the names come from.
    """
    if (_numbers(names) or list(values)) == list(values):
        return
    pairs = [f"{name} has the value {value}" for name, value in zip(names, values, strict=True)]
    logger.warning(
        "%s: its classes are numbers that a map cannot hold as they are, where 1 to %d are free "
        "for classes and 0 is none: in maps %s, and is named by its number",
        *(path, MOST_CLASSES, few(pairs)),
    )


def _numbers(names: Iterable[str]) -> list[int] | None:
    """Read names as whole numbers; None where one is not."""
    try:
        return [int(name) for name in names]
    except ValueError:
        return None
