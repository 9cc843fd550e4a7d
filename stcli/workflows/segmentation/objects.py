"""``objects``: a label raster and a scene in; a table of objects, with their polygons, out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Budget, Cost
from stcli.engine.tiling import Tile
from stcli.errors import UsageError
from stcli.raster.ground import ground
from stcli.raster.reading.read import Raster
from stcli.raster.tables.features import (
    WRITER,
    Columns,
    FeatureSpec,
    Outlines,
    feature_format,
    write_features,
)
from stcli.raster.writing.draft import drafts, refuse_file
from stcli.segmentation.numbering import number
from stcli.segmentation.objects.indices import band_letters, check_indices
from stcli.segmentation.objects.polygons import CornerStore, polygon_bytes
from stcli.segmentation.objects.shapes import CORNERS, corners
from stcli.settings import ObjectSettings, RunSettings
from stcli.workflows.job import Inputs, Output, Progress, plan_pass, refuse_clash, report, silent
from stcli.workflows.scaling import band_scaling
from stcli.workflows.segmentation.labels import list_labels, open_label_raster, open_scene
from stcli.workflows.segmentation.measure import Measured, Measures, core_of, measure, place_of
from stcli.workflows.segmentation.percentiles import percentiles
from stcli.workflows.segmentation.rehearsal import compile_measuring
from stcli.workflows.segmentation.table import border_columns, object_columns, table_bytes

#: Features that are assembled and written at a time.
_BATCH = 20_000
#: Bytes a corner of a batch while its features are written: vertices, WKB, Arrow.
_CORNER = 100


@dataclass(frozen=True)
class Segments:
    """A label raster, one band of it, and the scene that it cuts.

    Attributes
    ----------
    path : str
    scene : Inputs or None
        Bands on the same grid.
    band : int or None
        1-based band of labels; None for the only one, or the first level.
    shown : str or None
        The name that the label raster will have, where `path` is a draft of it.
    """

    path: str
    scene: Inputs | None = None
    band: int | None = None
    shown: str | None = None


@dataclass(frozen=True)
class Tables:
    """Where the tables go: objects, and the borders that they share (None for not wanted)."""

    objects: str
    borders: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that are wanted."""
        return tuple(path for path in (self.objects, self.borders) if path is not None)


@dataclass(frozen=True)
class Objects:
    """What came out: how many objects, their columns, and how it ran."""

    output: str
    objects: int
    columns: tuple[str, ...]
    run: dict[str, Any]


def objects(
    segments: Segments,
    tables: Tables,
    wanted: ObjectSettings,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Objects:
    """Measure the objects of a label raster and write them.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    output = output.taking_up(*tables.paths)
    scenes = segments.scene.paths if segments.scene else ()
    refuse_clash((segments.path, *scenes), tables.paths)
    for path in tables.paths:
        refuse_file(path, output.overwrite)
    with drafts(tables.paths, output.overwrite) as hidden:
        return write_objects(segments, (tables, hidden), wanted, settings, output, progress)


def write_objects(
    segments: Segments,
    tables: tuple[Tables, tuple[Path, ...]],
    wanted: ObjectSettings,
    settings: RunSettings,
    output: Output,
    progress: Progress,
) -> Objects:
    """Measure the objects and write them to files of which drafts are made already."""
    begun = time.perf_counter()
    names, hidden = tables
    check_tables(names, wanted)
    with (
        open_label_raster(segments.path, segments.band) as raster,
        open_scene(segments.scene, raster) as scene,
    ):
        _check_scene(scene, wanted)
        labels = list_labels(raster, settings, progress)
        compile_measuring(raster, scene, progress)
        area = ground(raster.info.geobox, raster.info.path)
        texture = band_scaling(scene, settings, progress) if wanted.texture and scene else None
        measures = Measures(area.weights, scene, texture)
        more = table_bytes(labels.size, measures.bands, wanted) + WRITER
        measured, budget, tally = measure(raster, labels, measures, settings, progress, more)
        budgets = [budget]
        columns = object_columns(measured, raster, area, scene, wanted)
        if wanted.percentiles and scene is not None:
            found, more_budgets = _percentiles(measured, raster, scene, wanted, settings, progress)
            columns |= found
            budgets += more_budgets
        tags = output.tags((scene or raster).info, segments=segments.shown or segments.path)
        spec = FeatureSpec(raster.info.geobox, wanted.geometry, tags=tags)
        store = None
        if wanted.geometry:
            store, budget = _corners(raster, measured, settings, progress)
            budgets.append(budget)
        write_features(hidden[0], spec, _batches(columns, store))
        if names.borders is not None:
            shared = border_columns(measured, area)
            plain = FeatureSpec(raster.info.geobox, False, tags=tags)
            write_features(hidden[1], plain, iter([(shared, None)]))
    greatest = max(budgets, key=lambda budget: budget.predicted)
    ran = report(greatest, tally, time.perf_counter() - begun)
    return Objects(names.objects, labels.size, tuple(columns), ran)


def check_tables(tables: Tables, wanted: ObjectSettings) -> None:
    """Refuse formats that cannot be written.

    Raises
    ------
    UsageError
    """
    feature_format(tables.objects, wanted.geometry)
    if tables.borders is not None:
        feature_format(tables.borders, False)


def _check_scene(scene: Raster | None, wanted: ObjectSettings) -> None:
    """Refuse what is wanted of bands that are not there."""
    if scene is not None:
        check_indices(wanted.indices, band_letters(scene.info.band_names, dict(wanted.index_bands)))
    elif wanted.percentiles or wanted.indices or wanted.texture:
        raise UsageError(
            "--percentiles, --index and --texture measure bands, and no scene was named; "
            "name one after the label raster."
        )


def _percentiles(
    measured: Measured,
    raster: Raster,
    scene: Raster,
    wanted: ObjectSettings,
    settings: RunSettings,
    progress: Progress,
) -> tuple[Columns, list[Budget]]:
    counted = measured.labels, measured.bands.count
    found, budgets = percentiles(raster, scene, counted, wanted.percentiles, settings, progress)
    columns = {
        f"{name}_p{value:g}": found[:, band, k]
        for band, name in enumerate(scene.info.band_names)
        for k, value in enumerate(wanted.percentiles)
    }
    return columns, budgets


@dataclass(frozen=True)
class _Corners:
    """The block function: corners of the outlines, and the objects they belong to."""

    labels: NDArray[np.int64]

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        numbers, distinct = number(block[0])
        index = np.searchsorted(self.labels, distinct)
        return index, *corners(numbers, core_of(where), place_of(where))


def _corners(
    raster: Raster, measured: Measured, settings: RunSettings, progress: Progress
) -> tuple[CornerStore, Budget]:
    """Gather the corners of all outlines in one pass."""
    counts = measured.sums[:, CORNERS]
    rows, cols = raster.info.shape
    a_pixel = min(4.0, 2 * counts.sum() / (rows * cols))
    batch = np.add.reduceat(counts, np.arange(0, counts.size, _BATCH)).max()
    once = polygon_bytes(int(counts.sum()), counts.size) + _CORNER * int(batch) + WRITER
    cost = Cost(raster.info.dtype.itemsize + 1 + 4 + 8, int(12 * a_pixel) + 1, once=once)
    work = plan_pass(raster, cost, settings, halo=1)
    store = CornerStore(counts)

    def sink(tile: Tile, part: Any) -> None:
        if part is not None:
            store.add(*part)

    work.run(_Corners(measured.labels), sink, "polygons", progress)
    return store, work.budget


def _batches(
    columns: Columns, store: CornerStore | None
) -> Iterator[tuple[Columns, Outlines | None]]:
    count = len(next(iter(columns.values())))
    for first in range(0, count, _BATCH):
        last = min(first + _BATCH, count)
        part = {name: values[first:last] for name, values in columns.items()}
        yield part, None if store is None else store.polygons(first, last)
