"""Refuse a setting that cannot be, in the words of its option."""

from __future__ import annotations

from stcli.errors import UsageError


def check(holds: bool, option: str, found: object, wanted: str) -> None:
    """Raise UsageError where something does not hold.

    Parameters
    ----------
    holds : bool
    option : str
        The option, or the field where there is none.
    found : object
        The value.
    wanted : str
        What would be right.
    """
    if not holds:
        raise UsageError(f"{option}: found {found}, wanted {wanted}.")
