"""Tables of series: CSV, or TSV by the suffix.

A header line, then a first column of times and columns of numbers. Times are numbers, in seconds
unless the header says ``time [unit]``; or ISO dates, in days: 2019-08-31, or 20190831 in all rows
under a header without a unit. An empty field or ``nan`` is a gap, and so is an empty line between
others of a table of one column. Where there are no times, the step that the user gives makes them;
then every column is a series.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError


@dataclass(frozen=True)
class Table:
    """What a table holds.

    Attributes
    ----------
    names : tuple of str
    values : ndarray, (time, series), float64
        NaN where there is a gap.
    times : ndarray, (time,), float64
    unit : str
        Of the times.
    dated : bool
        The times are dates, in days since 1970-01-01.
    labels : tuple of str
        Times as the file writes them, after their header; empty where the step makes them.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    times: NDArray[np.float64]
    unit: str
    dated: bool = False
    labels: tuple[str, ...] = ()


#: A line's number in the file, and its fields.
_Line = tuple[int, list[str]]


def read_table(path: str, step: float | None = None) -> Table:
    """Read a table.

    Parameters
    ----------
    path : str
    step : float, optional
        Seconds between rows, for a table without times.

    Raises
    ------
    InputError
    """
    (_, head), *lines = _lines(path)
    other = next((k for k, row in lines if len(row) != len(head)), None)
    if other:
        raise InputError(
            f"{path}: line {other} has another number of fields, a time and at least one series "
            "in each line is wanted"
        )
    if step is not None:
        values = _values(path, lines, len(head))
        times = step * np.arange(len(lines), dtype=np.float64)
        return Table(_names(head), values, times, "s")
    if len(head) < 2:
        raise InputError(
            f"{path}: one column only, a time and at least one series in each line is wanted; "
            "where there are no times, give --step"
        )
    labels = [row[0] for _, row in lines]
    times, unit, dated = _times(path, head[0], labels)
    values = _values(path, [(k, row[1:]) for k, row in lines], len(head) - 1)
    return Table(_names(head[1:]), values, times, unit, dated, (head[0], *labels))


def write_table(
    draft: Path, labels: Sequence[str], names: Sequence[str], values: NDArray[np.float64]
) -> None:
    """Write a table.

    Parameters
    ----------
    draft : Path
    labels : sequence of str
        Header of the times, then each time as it is to be written.
    names : sequence of str
    values : ndarray, (time, series), float64
        NaN becomes an empty field.
    """
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=_delimiter(draft))
        writer.writerow([labels[0], *names])
        for label, row in zip(labels[1:], values.tolist(), strict=True):
            writer.writerow([label, *("" if math.isnan(v) else repr(v) for v in row)])


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _lines(path: str) -> list[_Line]:
    """Read the lines of a table, the header first; there is one, if an empty one."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, delimiter=_delimiter(Path(path)))
            lines = [(rows.line_num, row) for row in rows]
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a table ({error}); a header line and rows "
            "of a time and numbers are wanted"
        ) from error
    filled = [line for line in lines if line[1]] or [(1, [])]
    first, last = filled[0], filled[-1]
    if len(first[1]) != 1:
        return filled
    # the only field of a line may be empty
    return [(k, row or [""]) for k, row in lines if first[0] <= k <= last[0]]


def _names(fields: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in fields)


def _values(path: str, lines: Sequence[_Line], count: int) -> NDArray[np.float64]:
    values = [[_number(path, k, text) for text in row] for k, row in lines]
    return np.array(values, float).reshape(len(lines), count)


def _number(path: str, line: int, text: str) -> float:
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError as error:
        raise InputError(f"{path}: line {line} holds '{text}', a number is wanted") from error
    return value if math.isfinite(value) else math.nan


def _times(path: str, head: str, texts: Sequence[str]) -> tuple[NDArray[np.float64], str, bool]:
    """Give times, their unit, and whether they are dates."""
    _, bracket, unit = head.partition("[")
    digits = not bracket and all(len(t) == 8 and t.isdecimal() for t in map(str.strip, texts))
    for read in (_dated, _counted) if digits else (_counted, _dated):
        try:
            times = np.array(read(texts), float)
        except ValueError as error:
            told = error
            continue
        dated = read is _dated
        return times, "d" if dated else unit.split("]")[0].strip() or "s", dated
    raise InputError(f"{path}: times are neither numbers nor ISO dates ({told})") from told


def _counted(texts: Sequence[str]) -> list[float]:
    return [float(text) for text in texts]


def _dated(texts: Sequence[str]) -> list[float]:
    """Days since 1970-01-01 of ISO dates; raises ValueError where one is none."""
    stamps = [datetime.fromisoformat(text.strip()) for text in texts]
    return [(s if s.tzinfo else s.replace(tzinfo=UTC)).timestamp() / 86400 for s in stamps]
