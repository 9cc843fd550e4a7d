"""``assess``: a class raster and a reference in; accuracies, and areas when points sampled it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.landcover.accuracy.accuracy import (
    Accuracy,
    ConfusionMatrix,
    StratifiedAccuracy,
    accuracy,
    stratified_accuracy,
)
from stcli.landcover.accuracy.strata import strata_accuracy
from stcli.raster.reading.read import Raster
from stcli.raster.tables.vectors import read_labels
from stcli.settings import RunSettings
from stcli.workflows.job import Progress, plan_pass, silent
from stcli.workflows.landcover.sampled import PLAN, count, look_up
from stcli.workflows.landcover.truth import (
    LabelSource,
    class_values,
    column_of,
    open_class_raster,
    open_classes,
    refuse_vector_words,
)
from stcli.workflows.legends import Legend, class_names, join_legends, legend


@dataclass(frozen=True)
class Assessment:
    """What came out.

    Attributes
    ----------
    matrix : ConfusionMatrix
    accuracy : Accuracy
        Of the pixels compared.
    stratified : StratifiedAccuracy or None
        Of the whole map, when the reference is a sample of points.
    unit : str
        Of the areas.
    """

    matrix: ConfusionMatrix
    accuracy: Accuracy
    stratified: StratifiedAccuracy | None
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return {
            "classes": list(self.matrix.classes),
            "confusion": self.matrix.counts.tolist(),
            **{"accuracy": self.accuracy.to_json()},
            "stratified": self.stratified.to_json() if self.stratified else None,
            "area_unit": self.unit if self.stratified else None,
        }


def assess(
    path: str,
    reference: LabelSource,
    settings: RunSettings,
    *,
    progress: Progress = silent,
) -> Assessment:
    """Compare a class raster with a reference.

    Parameters
    ----------
    path : str
        Class raster of values 1 to 255.
    reference : LabelSource
        A class raster on the same grid, or points with a class column.

    Raises
    ------
    InputError
    UsageError
        Points without a column; a raster with one.
    """
    with open_classes(path) as raster:
        if reference.is_raster:
            refuse_vector_words(reference)
            return _with_raster(raster, reference, settings, progress)
        return _with_points(raster, reference, settings, progress)


@dataclass(frozen=True)
class CompareStep:
    """The block function: a tile's confusion matrix.

    Attributes
    ----------
    truth : Raster
    mapped, known : ndarray of uint16 (256,)
        Class number from 1 of each value of the map, and of the reference.
    empty : ConfusionMatrix
    """

    truth: Raster
    mapped: NDArray[np.uint16]
    known: NDArray[np.uint16]
    empty: ConfusionMatrix

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> ConfusionMatrix:
        """Compare a block with the reference."""
        other, there = self.truth.read(where.core)
        both = valid & there
        return self.empty.add(
            _numbers(block[0], both, self.mapped), _numbers(other[0], both, self.known)
        )


def _with_raster(
    raster: Raster, reference: LabelSource, settings: RunSettings, progress: Progress
) -> Assessment:
    """Compare pixel by pixel, both rasters streamed by tile."""
    path = raster.info.path
    with open_class_raster(reference.path, raster.info) as truth:
        seen = [class_values(of, settings, progress) for of in (raster, truth)]
        _refuse_empty(len({*seen[0], *seen[1]}), path, reference.path)
        titles, (mine, other) = join_legends((raster, truth), (seen[0], seen[1]))
        empty = matrix = ConfusionMatrix.empty(titles)

        def sink(tile: Tile, result: ConfusionMatrix | None) -> None:
            nonlocal matrix
            if result is not None:
                matrix = matrix + result

        cost = Cost(read_pixel=8 * (raster.info.dtype.itemsize + truth.info.dtype.itemsize) + 40)
        step = CompareStep(truth, _numbering(mine, titles), _numbering(other, titles), empty)
        plan_pass(raster, cost, settings).run(step, sink, "assess", progress)
    _refuse_empty(int(matrix.counts.sum()), path, reference.path)
    return Assessment(matrix, accuracy(matrix), None, "")


def _with_points(
    raster: Raster, reference: LabelSource, settings: RunSettings, progress: Progress
) -> Assessment:
    """Compare at points and estimate areas by the strata of the sample, or of the map."""
    path, geobox = raster.info.path, raster.info.geobox
    column = column_of(reference)
    mapped = class_values(raster, settings, progress)
    names = class_names(raster)
    title = legend(sorted({*mapped, *names}), names, path)
    _refuse_empty(len(mapped), path, reference.path)
    points = read_labels(
        reference.path,
        geobox,
        class_column=column,
        legend=title,
        layer=reference.layer,
        keep=PLAN,
    )
    matrix, strata = count(look_up(raster, points, list(title)), points)
    _refuse_empty(int(matrix.counts.sum()), path, reference.path)
    area, unit = pixel_area(raster)
    missed = len(points.classes) - len(title)  # classes that the map has not cover none of it
    sizes = np.array([mapped.get(value, 0) for value in title] + [0] * missed)
    try:
        stratified = (
            stratified_accuracy(matrix, sizes, area)
            if strata is None
            else strata_accuracy(strata, sizes, area)
        )
    except InputError as error:  # it knows the counts, not the file
        raise InputError(f"{reference.path}: {error}.") from error
    return Assessment(matrix, accuracy(matrix), stratified, unit)


def pixel_area(raster: Raster) -> tuple[float, str]:
    """Area of a pixel and its unit: hectares on a metric grid, pixels otherwise."""
    geobox = raster.info.geobox
    units = geobox.crs.units if geobox.crs is not None else ("", "")
    if geobox.crs is not None and geobox.crs.projected and units[0] in ("metre", "m"):
        return abs(geobox.transform.determinant) / 10_000, "ha"
    return 1.0, "pixels"


def _numbering(names: Legend, titles: tuple[str, ...]) -> NDArray[np.uint16]:
    """Give each value of a raster, (256,), the place of its name from 1; 0 for others."""
    number = np.zeros(256, np.uint16)
    for value, name in names.items():
        number[value] = titles.index(name) + 1
    return number


def _numbers(
    block: NDArray[Any], valid: NDArray[np.bool_], number: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Class numbers from 1 of raster values; 0 where not valid."""
    return number[np.where(valid, block, 0).astype(np.uint8)]


def _refuse_empty(found: int, path: str, reference: str) -> None:
    if not found:
        raise InputError(f"{path}: no pixel is classified both here and in {reference}.")
