"""A manifest: a CSV table that names files, a row for each."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from stcli.errors import InputError


def read_manifest(
    path: str, wanted: Sequence[str], optional: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Parameters
    ----------
    path : str
    wanted, optional : sequence of str
        Columns that must be there and filled in each row, and those that may be.

    Returns
    -------
    list of dict
        Column to cell, stripped; optional ones are "" where absent or empty.

    Raises
    ------
    InputError
        When it cannot be read, a column is missing, unknown or there twice, a row has more cells
        than the header, a cell is empty, or there is no row.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = list(table.fieldnames or ())
            rows = [(table.line_num, row) for row in table]  # empty lines are passed over
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is no text in UTF-8 ({error.reason}); save it as such."
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}).") from error
    names = [name.strip() for name in columns]
    if len(names) == 1 and (other := next((c for c in ";\t|" if c in names[0]), None)):
        raise InputError(f"{path}: columns are separated by {other!r}, a comma is wanted.")
    if not set(wanted) <= set(names) <= {*wanted, *optional} or len({*names}) < len(names):
        raise InputError(
            f"{path}: columns {', '.join(names) or 'none'} found, wanted {', '.join(wanted)}"
            f"{' and perhaps ' + ', '.join(optional) if optional else ''}."
        )
    for number, row in rows:
        if None in row:  # where the csv module puts what is beyond the header
            raise InputError(
                f"{path}: line {number} has more cells than the header's {len(names)}; quote a "
                "cell that holds a comma."
            )
    found = [
        (number, {name.strip(): (cell or "").strip() for name, cell in row.items() if name})
        for number, row in rows
    ]
    for number, row in found:
        empty = [name for name in wanted if not row[name]]
        if empty:
            raise InputError(f"{path}: line {number} has no {empty[0]}; fill it in.")
    if not found:
        raise InputError(f"{path}: no row found, at least one is wanted.")
    return [{name: row.get(name, "") for name in (*wanted, *optional)} for _, row in found]
