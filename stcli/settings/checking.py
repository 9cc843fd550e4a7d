"""Refuse a setting that cannot be, in the words of its option."""

from __future__ import annotations

from typing import Any

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


def given(**fields: Any) -> dict[str, Any]:
    """Keep what was given: fields that are None are left to the settings' own defaults.

    Parameters
    ----------
    **fields : object
        Values of a settings dataclass, None for those that the user did not name.

    Returns
    -------
    dict of str to object
    """
    return {name: value for name, value in fields.items() if value is not None}
