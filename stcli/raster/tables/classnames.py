"""Names of classes in tables of labels, and how they go with those of a map."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from stcli.errors import InputError
from stcli.raster.writing.legend import word

logger = logging.getLogger("stcli")


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
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)
