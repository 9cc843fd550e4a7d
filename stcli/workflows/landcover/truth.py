"""Truth on a raster's grid, window by window: drawn labels burnt, or a class raster read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, UsageError, few
from stcli.raster.info import RasterInfo, refuse_other_grid
from stcli.raster.reading.read import Raster, open_raster
from stcli.raster.reading.stdin import on_stdin
from stcli.raster.tables.classnames import MOST_CLASSES, values_of
from stcli.raster.tables.vectors import Labels, burn, read_labels
from stcli.settings import RunSettings
from stcli.workflows.job import Progress, plan_pass
from stcli.workflows.legends import class_names

logger = logging.getLogger("stcli")

#: Values that are told of those that are no classes.
_TOLD = 5
_RASTERS = {
    *(".tif", ".tiff", ".vrt", ".nc", ".nc4", ".zarr"),
    *(".img", ".jp2", ".png", ".asc", ".bil"),
}


@dataclass(frozen=True)
class LabelSource:
    """Where truth comes from.

    Attributes
    ----------
    path : str
        Vectors with a class column, or a class raster on the same grid (0 = not labelled).
    class_column, layer : str or None
        For vectors.
    names : dict of int to str
        For rasters: names of the values; other values stay unlabelled when any is given.
    """

    path: str
    class_column: str | None = None
    layer: str | None = None
    names: dict[int, str] | None = None

    @property
    def is_raster(self) -> bool:
        """Tell a raster from vectors, by its suffix; what comes through stdin is a raster."""
        return on_stdin(self.path) or PurePath(self.path).suffix.lower() in _RASTERS


class Truth(Protocol):
    """Class numbers from 1 on a raster's grid; 0 where not labelled."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def values(self) -> tuple[int, ...]:
        """Value of each class in a map."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window: (row, col)."""


class VectorTruth:
    """Labels burnt onto the grid."""

    def __init__(self, labels: Labels, geobox: GeoBox) -> None:
        self.labels, self.geobox = labels, geobox
        self.classes = labels.classes
        self.values = values_of(labels.classes)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Burn a window: (row, col)."""
        rows, cols = window.toslices()
        return burn(self.labels, self.geobox[rows, cols])


class RasterTruth:
    """A class raster, its values numbered from 1 in rising order."""

    def __init__(self, raster: Raster, names: dict[int, str]) -> None:
        self.raster = raster
        self.values = tuple(sorted(names))
        self.classes = tuple(names[value] for value in self.values)
        self._number = np.zeros(256, dtype=np.uint8)
        self._number[list(self.values)] = np.arange(1, len(self.values) + 1)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window: (row, col)."""
        block, valid = self.raster.read(window)
        inside = valid & (block[0] >= 0) & (block[0] <= 255)
        return self._number[np.where(inside, block[0], 0).astype(np.uint8)]


def refuse_vector_words(source: LabelSource) -> None:
    """Refuse the column and the layer of a class raster, which has neither.

    Raises
    ------
    UsageError
    """
    words = {"--class-column": source.class_column, "--layer": source.layer}
    found = next((f"{word} {text}" for word, text in words.items() if text is not None), None)
    if found is not None:
        raise UsageError(
            f"{source.path}: {found} found, which is for vectors, and this is a class raster; "
            "leave it out."
        )


def column_of(source: LabelSource) -> str:
    """Give the column with the class of vectors.

    Raises
    ------
    UsageError
        None was named.
    """
    if source.class_column is None:
        raise UsageError(
            f"{source.path}: --class-column names the column with the class, and none is given; "
            "a class raster, which has none, is known by its suffix, such as .tif, .nc or .zarr."
        )
    return source.class_column


@contextmanager
def open_truth(
    source: LabelSource, raster: Raster, settings: RunSettings, progress: Progress, least: int = 2
) -> Iterator[Truth]:
    """Open truth for a raster; `least` classes must be in it.

    Yields
    ------
    Truth
        Of a class raster, which is closed at the end, or of labels in memory.

    Raises
    ------
    InputError
        Vectors: see `read_labels`. Rasters: another grid, no integers, or too few classes.
    UsageError
        Vectors without a class column.
    """
    if source.is_raster:
        with open_class_raster(source.path, raster.info) as classes:
            yield _numbered(source, classes, settings, progress, least)
        return
    labels = read_labels(
        source.path,
        raster.info.geobox,
        class_column=column_of(source),
        layer=source.layer,
        least=least,
    )
    yield VectorTruth(labels, raster.info.geobox)


def open_classes(path: str) -> Raster:
    """Open a class raster, its first band where it has several, with a word.

    Raises
    ------
    InputError
        When it holds no integers.
    """
    with open_raster(path) as every:
        names = every.info.band_names
    if names[1:]:
        logger.warning(
            "%s: %d bands found (%s), the first is taken for the classes; gdal_translate -b takes "
            "out another",
            *(path, len(names), few(names)),
        )
    raster = open_raster(path, bands=(1,))
    if raster.info.dtype.kind not in "iu":
        raster.close()
        raise InputError(f"{path}: {raster.info.dtype} values found, integer classes wanted.")
    return raster


def open_class_raster(path: str, like: RasterInfo) -> Raster:
    """Open a class raster that lies on the grid of another.

    Raises
    ------
    InputError
        When it holds no integers, or lies on another grid.
    """
    with ExitStack() as opened:
        raster = opened.enter_context(open_classes(path))
        refuse_other_grid(raster.info, like)
        opened.pop_all()
    return raster


@dataclass(frozen=True)
class Counts:
    """Pixels of a class raster by value.

    Attributes
    ----------
    classes : ndarray of int64 (256,)
    beyond : tuple of int
        Some of the values that no class can have, in rising order.
    zeros : int
        Valid pixels of value 0.
    """

    classes: NDArray[np.int64]
    beyond: tuple[int, ...] = ()
    zeros: int = 0

    def __add__(self, other: Counts) -> Counts:
        beyond = sorted({*self.beyond, *other.beyond})[:_TOLD]
        return Counts(self.classes + other.classes, tuple(beyond), self.zeros + other.zeros)


def count_values(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Counts:
    """Count a core's pixels, block (1, row, col) and valid (row, col), by value."""
    found = block[0][where.trim][valid[where.trim]]
    beyond = beyond_classes(found)
    fit = found[(found >= 1) & (found <= MOST_CLASSES)]
    zeros = int(np.count_nonzero(found == 0))
    return Counts(np.bincount(fit.astype(np.int64), minlength=256), beyond, zeros)


def beyond_classes(found: NDArray[Any]) -> tuple[int, ...]:
    """List some of the values (n,) that are neither 0 nor a class, 1 to 255, in rising order."""
    beyond = found[(found < 0) | (found > MOST_CLASSES)]
    return tuple(np.unique(beyond)[:_TOLD].tolist()) if beyond.size else ()


def refuse_beyond(values: tuple[int, ...], path: str) -> None:
    """Refuse a class raster with values that no class can have.

    Raises
    ------
    InputError
    """
    if values:
        raise InputError(
            f"{path}: values {', '.join(map(str, values))} found, classes from 1 to "
            f"{MOST_CLASSES} wanted, and 0 or nodata where there is none; give the classes such "
            "numbers, with gdal_calc for one, or declare nodata with gdal_edit.py -a_nodata."
        )


def count_classes(raster: Raster, settings: RunSettings, progress: Progress) -> Counts:
    """Count the pixels of each value of a class raster in one pass; 0 that may be one is told."""
    counts = [Counts(np.zeros(256, dtype=np.int64))]

    def sink(tile: Tile, result: Counts | None) -> None:
        if result is not None:
            counts[0] += result

    cost = Cost(read_pixel=2 * raster.info.dtype.itemsize + 10)
    plan_pass(raster, cost, settings).run(count_values, sink, "classes", progress)
    if counts[0].zeros and raster.info.valid_from != "all":
        logger.warning(
            "%s: %d pixels of value 0 found beside those without data, and 0 is no class; if they "
            "are one, give them a number from 1 to %d",
            *(raster.info.path, counts[0].zeros, MOST_CLASSES),
        )
    return counts[0]


def class_values(raster: Raster, settings: RunSettings, progress: Progress) -> dict[int, int]:
    """Count the pixels of each value from 1 to 255 of a class raster in one pass.

    Raises
    ------
    InputError
        It has other values than these and 0.
    """
    counts = count_classes(raster, settings, progress)
    refuse_beyond(counts.beyond, raster.info.path)
    return {value: int(n) for value, n in enumerate(counts.classes) if n}


def _tell_zeros(counts: Counts, info: RasterInfo) -> None:
    """Tell that 0 is not learnt: masks that others draw often have classes from 0."""
    if counts.zeros and info.valid_from == "all":  # else told as they are counted
        logger.warning(
            "%s: %d pixels of value 0 are taken for not labelled; if 0 is a class, give classes "
            "numbers from 1, with gdal_calc.py --calc A+1 for one, else declare 0 as nodata",
            *(info.path, counts.zeros),
        )


def _numbered(
    source: LabelSource, raster: Raster, settings: RunSettings, progress: Progress, least: int
) -> RasterTruth:
    """Give numbers to the classes of a raster that are found in it and asked for."""
    counts = count_classes(raster, settings, progress)
    if not source.names:  # whoever names classes has said that other values are none
        refuse_beyond(counts.beyond, source.path)
    found = [value for value, n in enumerate(counts.classes.tolist()) if n]
    declared = source.names or class_names(raster)
    wanted = set(source.names) if source.names else set(found)
    names = {value: declared.get(value, str(value)) for value in found if value in wanted}
    if len(names) < least:
        raise InputError(
            f"{source.path}: classes found: {', '.join(names.values()) or 'none'}; at least "
            f"{least} wanted, 0 and nodata count as not labelled."
        )
    if not source.names:
        _tell_zeros(counts, raster.info)
    return RasterTruth(raster, names)
