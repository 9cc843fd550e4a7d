"""Every error that stcli raises on purpose, each with the exit code it promises.

The message of each is one sentence: the path, what was found, what was wanted, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

#: Names that a message lists, at most.
_NAMED = 4


def few(names: Sequence[str]) -> str:
    """List names for a message: the first four, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def apart(found: Sequence[str], wanted: Sequence[str]) -> tuple[str, str]:
    """List names found and names wanted as `few`; of many from about where they differ."""
    differ = (k for k, (a, b) in enumerate(zip_longest(found, wanted)) if a != b)
    first = min(next(differ, 0), max(0, min(len(found), len(wanted)) - 1))
    first = first if max(len(found), len(wanted)) > _NAMED else 0
    ahead = "…, " if first else ""
    return ahead + few(found[first:]), ahead + few(wanted[first:])


class StcliError(Exception):
    """An error with a sentence for the user and a promised exit code."""

    exit_code = 1


class UsageError(StcliError):
    """Options that contradict each other or make no sense (exit 2)."""

    exit_code = 2


class InputError(StcliError):
    """An input that cannot be read or cannot be used (exit 3)."""

    exit_code = 3


class OutputError(StcliError):
    """An output that exists already or cannot be written (exit 4)."""

    exit_code = 4


class BudgetError(StcliError):
    """Work that does not fit the memory budget or the device (exit 5)."""

    exit_code = 5


class ModelError(StcliError):
    """A model that does not fit the data, or is damaged (exit 6)."""

    exit_code = 6


class CheckError(StcliError):
    """A check that ran and found the file not valid (exit 7)."""

    exit_code = 7


class TilesError(StcliError):
    """A job of which some tiles failed (exit 8)."""

    exit_code = 8


class FilesError(StcliError):
    """A batch of which some files failed; the others are done (exit 8)."""

    exit_code = 8
