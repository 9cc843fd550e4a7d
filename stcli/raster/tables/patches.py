"""Patches: small rasters that have one class as a whole.

Either a *stack*, one raster in which patches of one side stand below and beside each other, counted
row by row; or a *table* (CSV or Parquet) with a row for each patch: ``input``, a raster, beside the
table or with its folder, and for training ``class`` and maybe ``group``. Patches of one stack or
table are of one side and have the same bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.errors import InputError, UsageError, apart
from stcli.raster.reading.read import Raster, open_raster

_PARQUET = {".parquet", ".pq"}
TABLES = {".csv", ".txt", *_PARQUET}
#: Names of the columns of a table, lower case.
INPUT, CLASS, GROUP = "input", "class", "group"


class PatchSet(Protocol):
    """Patches that are read by their numbers, from 0."""

    @property
    def path(self) -> str:
        """Name of the whole, for messages."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""

    @property
    def side(self) -> int:
        """Rows, and columns, of a patch."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each patch is called; its length is the number of patches."""

    @property
    def places(self) -> NDArray[np.float64]:
        """Centres (n, 2), x and y in the rasters' CRS; in pixels where there is none."""

    @property
    def grid(self) -> GeoBox | None:
        """Where a raster of one pixel a patch lies; None for patches that make up no raster."""

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the patches of rising numbers: (n, band, row, col); NaN where not valid."""


class PatchStack:
    """One raster of patches.

    Raises
    ------
    InputError
        Its sides are no multiples of the patches'.
    """

    def __init__(self, raster: Raster, side: int) -> None:
        self.raster, self.side, self.path = raster, side, raster.info.path
        rows, cols = raster.info.shape
        if rows % side or cols % side:
            raise InputError(
                f"{self.path}: {rows} rows and {cols} columns found, multiples of the patches' "
                f"side of {side} wanted; check --patch."
            )
        self.shape = (rows // side, cols // side)
        self.bands = raster.info.band_names
        whole = raster.info.geobox
        transform = whole.transform @ Affine.scale(side)
        self.grid = GeoBox(self.shape, transform, whole.crs)
        numbers = np.divmod(np.arange(self.shape[0] * self.shape[1]), self.shape[1])
        self.names = tuple(f"{row + 1},{col + 1}" for row, col in zip(*numbers, strict=True))
        down, along = numbers[0] + 0.5, numbers[1] + 0.5
        x = transform.a * along + transform.b * down + transform.c
        y = transform.d * along + transform.e * down + transform.f
        self.places = np.stack([x, y], axis=1)

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read patches, those beside each other at once; see `PatchSet.read`."""
        s, across = self.side, self.shape[1]
        result = np.empty((len(numbers), len(self.bands), s, s), np.float32)
        ends = np.flatnonzero((np.diff(numbers) != 1) | (numbers[1:] % across == 0)) + 1
        for places in np.split(np.arange(len(numbers)), ends):
            row, col = divmod(int(numbers[places[0]]), across)
            block, valid = self.raster.read(Window(col * s, row * s, len(places) * s, s))
            values = np.where(valid, block.astype(np.float32), np.nan)
            wide = values.reshape(len(values), s, len(places), s)
            result[places] = wide.transpose(2, 0, 1, 3)
        return result


class PatchFiles:
    """A raster for each patch, as a table lists them.

    Parameters
    ----------
    path : str
        Of the table.
    names : sequence of str
        As they stand in the table.
    bands : sequence of int or str
        Chosen ones; empty for all.

    Raises
    ------
    InputError
    """

    grid = None

    def __init__(self, path: str, names: Sequence[str], bands: Sequence[int | str] = ()) -> None:
        self.path, self.names, self._chosen = path, tuple(names), tuple(bands)
        self._folder = Path(path).parent
        places = []
        for number, name in enumerate(self.names):
            with self._open(name) as raster:
                info = raster.info
                if number == 0:
                    self.bands, self.side = info.band_names, info.shape[0]
                if info.shape != (self.side, self.side) or info.band_names != self.bands:
                    these, those = apart(info.band_names, self.bands)
                    raise InputError(
                        f"{path}: {name} has {info.shape[0]} rows, {info.shape[1]} columns and "
                        f"the bands {these}; {self.side} rows and columns "
                        f"and {those} wanted, as the first raster has."
                    )
                x, y = info.geobox.transform @ (self.side / 2, self.side / 2)
                places.append((x, y))
        self.places = np.array(places, dtype=np.float64).reshape(-1, 2)

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read patches; see `PatchSet.read`."""
        result = np.empty((len(numbers), len(self.bands), self.side, self.side), np.float32)
        for place, number in enumerate(numbers):
            with self._open(self.names[number]) as raster:
                block, valid = raster.read(Window(0, 0, self.side, self.side))
            result[place] = np.where(valid, block, np.nan)
        return result

    def _open(self, name: str) -> Raster:
        return open_raster(str(self._folder / name), bands=self._chosen)


@dataclass(frozen=True, eq=False)
class PatchLabels:
    """Classes of patches.

    Attributes
    ----------
    classes : ndarray of str (n,)
        Empty where not labelled.
    groups : ndarray of int64 (n,) or None
        Patches of one number belong together.
    """

    classes: NDArray[np.str_]
    groups: NDArray[np.int64] | None


def is_table(path: str) -> bool:
    """Tell a table from a raster, by its suffix."""
    return Path(path).suffix.lower() in TABLES


def open_patches(path: str, side: int | None, bands: Sequence[int | str] = ()) -> PatchSet:
    """Open a stack, or a table of rasters.

    Raises
    ------
    InputError
        It cannot be read, patches differ, or a stack comes without the side of its patches.
    UsageError
        The side is no number of pixels.
    """
    if side is not None and side < 1:
        raise UsageError(f"--patch: found {side}, wanted >= 1.")
    if is_table(path):
        names = column(read_table(path), INPUT, path)
        _refuse_blank(path, INPUT, names)
        files = PatchFiles(path, names.tolist(), bands)
        if side not in (None, files.side):
            raise UsageError(
                f"{path}: --patch {side} given, its rasters are of {files.side} px; leave it out."
            )
        return files
    if side is None:
        raise InputError(f"{path}: a raster found; --patch says how many pixels a patch is wide.")
    return PatchStack(open_raster(path, bands=bands), side)


def read_patch_labels(path: str, count: int, names: dict[int, str] | None = None) -> PatchLabels:
    """Read one class for each patch, in their order.

    Parameters
    ----------
    path : str
        A table with a column ``class`` and maybe ``group``; or a raster of as many pixels as there
        are patches, row by row, each a class, 0 too, unless nodata.
    count : int
        Patches.
    names : dict of int to str, optional
        Names of a raster's values; other values stay unlabelled.

    Raises
    ------
    InputError
    """
    labels = _table_labels(path, count) if is_table(path) else _raster_labels(path, names)
    if len(labels.classes) != count:
        raise InputError(
            f"{path}: {len(labels.classes)} labels found, {count} wanted, one for each patch."
        )
    return labels


def read_table(path: str, blanks: bool = False) -> Any:
    """Read a CSV or Parquet table whose column names are lower case; all else stays text.

    Parameters
    ----------
    path : str
    blanks : bool
        In a CSV of one column a line without a letter is a row: there it is an empty cell.

    Raises
    ------
    InputError
    """
    import pandas as pd

    try:
        if Path(path).suffix.lower() in _PARQUET:
            table = pd.read_parquet(path)
        else:
            skip = not blanks or len(pd.read_csv(path, nrows=0).columns) > 1
            table = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=skip)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as a table ({error}); CSV or Parquet wanted."
        ) from error
    if not len(table):
        raise InputError(f"{path}: no row found, one for each patch is wanted.")
    return table.rename(columns=lambda name: str(name).strip().lower())


def column(table: Any, name: str, path: str) -> NDArray[np.str_]:
    """Take a column as text, empty where there is nothing.

    Returns
    -------
    ndarray of str, (row,)

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in table.columns:
        found = ", ".join(map(str, table.columns))
        raise InputError(f"{path}: the columns {found} found, '{name}' wanted.")
    kept = table[name].astype(object).where(table[name].notna(), "")
    return np.array([str(value).strip() for value in kept], dtype=np.str_)


def _refuse_blank(path: str, name: str, cells: NDArray[np.str_]) -> None:
    """Refuse a column of a table that has an empty cell; raises InputError."""
    empty = np.flatnonzero(cells == "")
    if len(empty):
        place = _place(path, int(empty[0]))
        raise InputError(f"{path}: {place} has no {name}; each row wants one.")


def _place(path: str, row: int) -> str:
    """Name a row of a table, from 0, by its line where that is text; see `read_table`."""
    if Path(path).suffix.lower() in _PARQUET:
        return f"row {row + 1}"
    lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    written = [number for number, line in enumerate(lines, start=1) if line.strip()]
    return f"line {written[row + 1]}"


def _table_labels(path: str, count: int) -> PatchLabels:
    """Read the classes of a table; empty lines after those of all patches are the file's end."""
    table = read_table(path, blanks=True)
    classes = column(table, CLASS, path)
    if not (classes[count:] != "").any():
        table, classes = table[:count], classes[:count]
    groups = None
    if GROUP in table.columns:
        names = column(table, GROUP, path)
        _refuse_blank(path, GROUP, np.where(classes == "", "-", names))
        groups = np.unique(names, return_inverse=True)[1]
    return PatchLabels(classes, groups)


def _raster_labels(path: str, names: dict[int, str] | None) -> PatchLabels:
    with open_raster(path, bands=(1,)) as raster:
        info = raster.info
        if info.dtype.kind not in "iu":
            raise InputError(f"{path}: {info.dtype} values found, integer classes wanted.")
        block, valid = raster.read(Window(0, 0, info.shape[1], info.shape[0]))
    values = block[0].ravel()
    known = {int(v): str(int(v)) for v in np.unique(values)} if names is None else names
    words = [
        known.get(int(value), "") if good else ""
        for value, good in zip(values, valid.ravel(), strict=True)
    ]
    return PatchLabels(np.array(words, dtype=np.str_), None)
