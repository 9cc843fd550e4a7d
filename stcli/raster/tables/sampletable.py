"""Labelled series at points, from a CSV or Parquet table.

Long form: a row for each sample and date, with columns ``longitude, latitude, date, label`` and one
for each band; ``id`` tells samples apart, and without it place, label and start do. Wide form: a
row for each sample, and a column ``BAND_DATE`` (``NDVI_2013-09-14``) for each band and date. The
names of R's *sits* are known too: ``Index`` for the date; ``cube``, ``start_date`` and ``end_date``
are no bands, nor are columns without any number. An empty field is a gap. Dates are ISO 8601, with
or without a time, or eight digits.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError

logger = logging.getLogger("stcli")
#: What columns are called, lower case.
_KNOWN = {
    "longitude": ("longitude", "lon", "long", "x"),
    "latitude": ("latitude", "lat", "y"),
    "date": ("date", "index", "time"),
    "label": ("label", "class"),
    "id": ("id", "sample_id"),
}
#: Names of an id that other programs give to the number of a row, too.
_ROW = ("row_id", "fid", "#")
_APART = {"cube", "start_date", "end_date", "", *_ROW}
_TIME = r"\d{2}(:?\d{2}(:?\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?"
#: Forms of a date, of which a table has one: ISO 8601 with hyphens and without.
_DATES = (re.compile(rf"\d{{4}}-\d\d-\d\d([T ]{_TIME})?"), re.compile(rf"\d{{8}}(T{_TIME})?"))
#: Numbers as they are written where a comma stands before decimals.
_COMMA = r"\s*[+-]?\d+(,\d+)?(e[+-]?\d+)?\s*"
_WIDE = re.compile(r"^(.+?)[_@ .](\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Labelled series, samples end to end, each one's dates rising.

    Attributes
    ----------
    bands : tuple of str
    values : ndarray of float32 (row, band)
        NaN for a gap.
    days : ndarray of int64 (row,)
        Since 1970-01-01.
    owner : ndarray of int64 (row,)
        Sample of each row, from 0, rising.
    labels : ndarray of str (sample,)
    places : ndarray of float64 (sample, 2)
        Longitude and latitude, or x and y.
    """

    bands: tuple[str, ...]
    values: NDArray[np.float32]
    days: NDArray[np.int64]
    owner: NDArray[np.int64]
    labels: NDArray[np.str_]
    places: NDArray[np.float64]


def read_samples(path: str) -> SampleTable:
    """Read labelled series.

    Raises
    ------
    InputError
        The file is missing or damaged; lacks a column, or has two for one; an id numbers the rows,
        or has several labels or places; a date is none.
    """
    table = _read(path)
    names = {name: _find(table, name, path) for name in _KNOWN}
    rows = [column for column in map(str, table.columns) if _plain(column) in _ROW]
    names["id"] = names["id"] or (rows[0] if rows else None)
    for name in ("longitude", "latitude", "label"):
        if names[name] is None:
            listed = ", ".join(map(str, table.columns))
            raise InputError(f"{path}: no column {name} found among {listed}, one is wanted")
    table = table.assign(**{str(names["label"]): table[names["label"]].map(_bare)})
    if names["date"] is None:
        table = _long(table, names, path)
        names["date"] = "date"
    else:
        names["id"] = _identity(table, names, path)
    return _sorted(table, names, path)


def _read(path: str) -> Any:
    import pandas as pd

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the name")
    try:
        if Path(path).suffix.lower() == ".parquet":
            table = pd.read_parquet(path).reset_index(drop=True)
        else:
            table = pd.read_csv(path, sep=None, engine="python", dtype_backend="numpy_nullable")
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(
            f"{path}: cannot be read as a table ({error}); CSV or Parquet is wanted"
        ) from error
    if not len(table):
        raise InputError(f"{path}: no row found, labelled series are wanted")
    return table


def _bare(label: Any) -> Any:
    """Take spaces around a name off it; None where nothing is left."""
    return (label.strip() or None) if isinstance(label, str) else label


def _find(table: Any, name: str, path: str) -> str | None:
    found = [column for column in map(str, table.columns) if _plain(column) in _KNOWN[name]]
    if len(found) > 1:
        raise InputError(
            f"{path}: columns {' and '.join(found)} found, each of which may be the {name}, one is "
            "wanted; rename the others, or leave them out"
        )
    return found[0] if found else None


def _plain(column: str) -> str:
    return column.strip().lower()


def _identity(table: Any, names: dict[str, str | None], path: str) -> str | None:
    """Name the column that tells samples apart; one that numbers the rows does not."""
    column, place = names["id"], [names["longitude"], names["latitude"]]
    if column is None or table[column].nunique(dropna=False) < len(table):
        return column
    places = len(table[place].drop_duplicates())
    if len(table[[*place, names["date"]]].drop_duplicates()) < 2 * places:
        return column
    if _plain(column) not in _ROW:
        raise InputError(
            f"{path}: another {column} found in each of {len(table)} rows, which are of {places} "
            "places, one for all dates of a sample is wanted; leave the column out where no two "
            "samples share a place"
        )
    logger.warning(
        "%s: column %s differs in each row and cannot tell samples apart; their places do",
        *(path, column),
    )
    return None


def _long(table: Any, names: dict[str, str | None], path: str) -> Any:
    """Bring the wide form into the long one."""
    import pandas as pd

    found = [(str(c), m) for c in table.columns if (m := _WIDE.match(str(c)))]
    if not found:
        raise InputError(
            f"{path}: neither a column date nor columns such as NDVI_2013-09-14 found, one of "
            "the two is wanted"
        )
    own = [name for key, name in names.items() if name is not None and key != "id"]
    names["id"] = "id"
    parts = []
    for day in sorted({match[2] for _, match in found}):
        columns = {column: match[1] for column, match in found if match[2] == day}
        part = table[[*own, *columns]].rename(columns=columns)
        parts.append(part.assign(date=day, id=np.arange(len(table))))
    long = pd.concat(parts)
    bands = sorted({match[1] for _, match in found})
    return long[long[bands].notna().any(axis=1)]


def _sorted(table: Any, names: dict[str, str | None], path: str) -> SampleTable:
    bands = _bands(table, set(names.values()), path)
    days = _days(table[names["date"]], path)
    owner = _owners(table, names)
    _refuse_changing(table, names, owner, path)
    order = np.lexsort([days, owner])
    first = np.unique(owner[order], return_index=True)[1]
    table, days, owner = table.iloc[order], days[order], owner[order]
    twice = (np.diff(days) == 0) & (np.diff(owner) == 0)
    if twice.any():
        raise InputError(
            f"{path}: {int(twice.sum())} samples have a date twice, each once is wanted; a column "
            "id tells samples of one place apart"
        )
    one = table.iloc[first]
    labels = one[names["label"]]
    if labels.isna().any():
        raise InputError(
            f"{path}: {int(labels.isna().sum())} samples without a label found; leave them out, or "
            "name the class otherwise where it is NA, None or null, which mean none"
        )
    where = [names["longitude"], names["latitude"]]
    _refuse_commas(one[where], path)
    places = np.stack([_numbers(one[column], path) for column in where], axis=1)
    if not np.isfinite(places).all():
        raise InputError(f"{path}: samples without longitude or latitude found")
    values = np.stack([_numbers(table[band], path) for band in bands], axis=1)
    listed = tuple(str(band).strip() for band in bands)
    _tell_still(values, first, listed, path)
    return SampleTable(
        listed,
        values.astype(np.float32),
        days,
        owner,
        labels.astype(str).to_numpy(dtype=np.str_),
        places,
    )


def _bands(table: Any, taken: set[str | None], path: str) -> list[Any]:
    """List the columns of bands; those without a number are told and left out."""
    others = [c for c in table.columns if c not in taken and not _apart(_plain(str(c)))]
    _refuse_commas(table[others], path)
    bands = [c for c in others if _has_number(table[c])]
    if not bands:
        raise InputError(
            f"{path}: no column of a band found, one at least with numbers such as 0.25 is wanted"
        )
    if len(bands) < len(others):
        empty = ", ".join(str(c) for c in others if c not in bands)
        logger.warning(
            "%s: no number found in column %s, so it is not taken for a band", path, empty
        )
    return bands


def _refuse_commas(table: Any, path: str) -> None:
    """Refuse columns of numbers with decimal commas, which would be taken for words."""
    for column in table.select_dtypes(exclude=["number", "datetime"]):
        texts = table[column].dropna().astype(str)
        with_comma = texts[texts.str.contains(",", regex=False)]
        if len(with_comma) and texts.str.fullmatch(_COMMA, case=False).all():
            text = with_comma.iloc[0].strip()
            raise InputError(
                f"{path}: '{text}' found in column {column}, a point before the decimals is "
                f"wanted ({text.replace(',', '.')}); write the table with points"
            )


def _tell_still(
    values: NDArray[np.float64], first: NDArray[np.int64], bands: tuple[str, ...], path: str
) -> None:
    """Warn of bands, values (row, band), that are the same on all dates of each sample."""
    low, high = (extreme.reduceat(values, first) for extreme in (np.fmin, np.fmax))
    moving = np.count_nonzero(low < high, axis=0)
    still = [band for band, n in zip(bands, moving.tolist(), strict=True) if not n]
    if still and len(first) < len(values):
        logger.warning(
            "%s: column %s is the same on all dates of each sample, and is taken for a band, which "
            "classify then needs on each date; leave it out if it is none",
            *(path, ", ".join(still)),
        )


def _apart(column: str) -> bool:
    return column in _APART or column.startswith("unnamed")


def _has_number(column: Any) -> bool:
    import pandas as pd

    if column.dtype.kind in "mM":  # dates and times would be counted
        return False
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return bool(np.isfinite(numbers).any())


def _owners(table: Any, names: dict[str, str | None]) -> NDArray[np.int64]:
    """Count the samples in the order of the table."""
    keys = [names[k] for k in ("longitude", "latitude", "label")]
    keys += [c for c in table.columns if str(c).lower() == "start_date"]
    if names["id"] is not None:
        keys = [names["id"]]
    return np.asarray(table.groupby(keys, sort=False, dropna=False).ngroup(), dtype=np.int64)


def _refuse_changing(
    table: Any, names: dict[str, str | None], owner: NDArray[np.int64], path: str
) -> None:
    """Refuse a sample of several labels or places."""
    for what, keys in (("labels", ("label",)), ("places", ("longitude", "latitude"))):
        columns = [names[key] for key in keys]
        kinds = table[columns].assign(owner=owner).dropna().drop_duplicates()
        again = kinds["owner"].duplicated()
        if again.any():
            one = kinds.loc[again, "owner"].iloc[0]
            found = kinds.loc[kinds["owner"] == one, columns].astype(str).agg(" ".join, axis=1)
            value = table[names["id"]].iloc[int(np.argmax(owner == one))]
            raise InputError(
                f"{path}: {names['id']} {value} found with {len(found)} {what} "
                f"({', '.join(found[:3])}), one is wanted; give each sample its own"
            )


def _days(column: Any, path: str) -> NDArray[np.int64]:
    """Days since 1970-01-01 of dates (row,)."""
    texts = _texts(column)
    if (texts == "").any():
        raise InputError(f"{path}: rows without a date found, each wants one")
    days, good = _iso(texts)
    if not good.all():
        first = int(np.argmin(good))
        raise InputError(
            f"{path}: {column.name} '{texts.iloc[first]}' found in row {column.index[first] + 1}, "
            "dates such as 2019-08-31 are wanted, or such as 20190831 in all rows"
        )
    return days


def _texts(column: Any) -> Any:
    """Write dates as texts, as they would stand in a CSV; empty for none."""
    if column.dtype.kind in "iuf":  # 20190831 was read as a number
        texts = column.map(lambda number: f"{number:.15g}", na_action="ignore")
    else:
        texts = column.map(str, na_action="ignore")
    return texts.astype(object).where(column.notna(), "").map(str.strip)


def _iso(texts: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read dates of the first one's form; tell which are of that form and in the calendar."""
    import pandas as pd

    form = next((form for form in _DATES if form.fullmatch(texts.iloc[0])), _DATES[0])
    fit = texts.where(texts.map(lambda text: form.fullmatch(text) is not None))
    stamps = pd.to_datetime(fit, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
    days = stamps.to_numpy(dtype="datetime64[D]").astype(np.int64)
    return days, stamps.notna().to_numpy()


def _numbers(column: Any, path: str) -> NDArray[np.float64]:
    import pandas as pd

    try:
        numbers = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: column {column.name} holds no numbers ({error})") from error
    return np.where(np.isfinite(numbers), numbers, np.nan)
