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
from array import array
from collections.abc import Iterable, Iterator, Sequence
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
    rows = _rows(path)
    head = next(rows, (1, []))[1]
    sheet = _Sheet(path, len(head), timed=step is None)
    for line, row in rows:
        sheet.add(line, row)
    sheet.refuse_uneven()
    if step is not None:
        values = sheet.values()
        times = step * np.arange(len(values), dtype=np.float64)
        return Table(_names(head), values, times, "s")
    if len(head) < 2:
        raise InputError(
            f"{path}: one column only, a time and at least one series in each line is wanted; "
            "where there are no times, give --step"
        )
    times, unit, dated = _times(path, head[0], sheet.labels)
    return Table(_names(head[1:]), sheet.values(), times, unit, dated, (head[0], *sheet.labels))


class _Sheet:
    """The lines below a table's header as numbers: as text they take ten times the memory.

    Parameters
    ----------
    path : str
    width : int
        Fields of a line.
    timed : bool
        The first is a time.
    """

    def __init__(self, path: str, width: int, timed: bool) -> None:
        self.labels: list[str] = []
        self._path, self._width, self._first = path, width, int(timed)
        self._found, self._count = array("d"), 0
        self._uneven = 0
        self._bad: InputError | None = None

    def add(self, line: int, row: list[str]) -> None:
        """Take a line; what is wrong with the first that is wrong is told later."""
        if len(row) != self._width or self._uneven:
            self._uneven = self._uneven or line
            return
        self.labels += row[: self._first]
        self._count += 1
        try:
            self._found.extend([_number(self._path, line, text) for text in row[self._first :]])
        except InputError as error:
            self._bad = self._bad or error

    def refuse_uneven(self) -> None:
        """Refuse lines of another number of fields; raises `InputError`."""
        if self._uneven:
            raise InputError(
                f"{self._path}: line {self._uneven} has another number of fields, a time and at "
                "least one series in each line is wanted"
            )

    def values(self) -> NDArray[np.float64]:
        """Give the numbers (line, series); raises `InputError` where one is none."""
        if self._bad is not None:
            raise self._bad
        found = np.array(self._found, np.float64)
        return found.reshape(self._count, self._width - self._first)


def write_table(
    draft: Path, labels: Iterable[str], names: Sequence[str], values: NDArray[np.float64]
) -> None:
    """Write a table.

    Parameters
    ----------
    draft : Path
    labels : iterable of str
        Header of the times, then each time as it is to be written.
    names : sequence of str
    values : ndarray, (time, series), float64
        NaN becomes an empty field.
    """
    first = iter(labels)
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=_delimiter(draft))
        writer.writerow([next(first), *names])
        for label, row in zip(first, values, strict=True):
            writer.writerow([label, *("" if math.isnan(v) else repr(v) for v in row.tolist())])


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Give the lines of a table, the header first, each with its number in the file.

    Empty lines are passed over; but the only field of a line may be empty, before another line.
    """
    head, empty = 0, list[int]()
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, delimiter=_delimiter(Path(path)))
            for row in rows:
                if row:
                    yield from ((line, [""]) for line in empty)
                    yield rows.line_num, row
                    head, empty = head or len(row), []
                elif head == 1:
                    empty.append(rows.line_num)
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a table ({error}); a header line and rows "
            "of a time and numbers are wanted"
        ) from error


def _names(fields: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in fields)


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
            times = np.fromiter(read(texts), float, len(texts))
        except ValueError as error:
            told = error
            continue
        dated = read is _dated
        return times, "d" if dated else unit.split("]")[0].strip() or "s", dated
    raise InputError(f"{path}: times are neither numbers nor ISO dates ({told})") from told


def _counted(texts: Sequence[str]) -> Iterator[float]:
    return map(float, texts)


def _dated(texts: Sequence[str]) -> Iterator[float]:
    """Days since 1970-01-01 of ISO dates; raises ValueError where one is none."""
    for text in texts:
        stamp = datetime.fromisoformat(text.strip())
        yield (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp() / 86400
