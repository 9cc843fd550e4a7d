"""``train series``: a table of labelled series in, a model folder out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli import __version__
from stcli.errors import InputError, UsageError
from stcli.landcover.accuracy.accuracy import ConfusionMatrix, accuracy
from stcli.landcover.accuracy.calibration import reliability
from stcli.landcover.architectures import SERIES
from stcli.landcover.joined import Trained
from stcli.landcover.legend import colors
from stcli.landcover.series.season import (
    LEAST_SEEN,
    Season,
    nearest_begin,
    on_steps,
    season_of,
    seen,
)
from stcli.landcover.series.series import Recipe, Samples, train_series
from stcli.landcover.series.series_method import composite
from stcli.nn.device import Compute, compute
from stcli.nn.weights import BandCard, CalibrationCard, Card, ClassCard, save_weights
from stcli.raster.tables.classnames import sorted_names, tell_renumbered, values_of
from stcli.raster.tables.sampletable import SampleTable, read_samples
from stcli.settings import SERIES_BLOCK, BandScaling, RunSettings, SlicSettings
from stcli.workflows.job import fields
from stcli.workflows.model_folder import refuse_folder
from stcli.workflows.scaling import told_apart

__all__ = ["Recipe", "SeriesModel", "train_series_model"]

logger = logging.getLogger("stcli")
#: Percentiles that bands and the composite are scaled by.
_PERCENTILES = (2.0, 98.0)
#: Coordinates beyond these are no longitudes and latitudes.
_DEGREES = (360.0, 90.0)
#: Of so many places and more it is told where blocks hold fewer than `_SHARED` on average.
_MANY, _SHARED = 20, 2

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class SeriesModel:
    """What came out: the folder, its card, how long it took."""

    folder: Path
    card: Card
    seconds: float


@dataclass(frozen=True, eq=False)
class Seasoned:
    """Samples on the steps of their season.

    Attributes
    ----------
    samples : Samples
    season : Season
    classes, bands : tuple of str
    unused : int
        Rows of the table whose date belongs to no step.
    left_out : int
        Samples of the table that are seen at too few steps.
    """

    samples: Samples
    season: Season
    classes: tuple[str, ...]
    bands: tuple[str, ...]
    unused: int
    left_out: int


def train_series_model(
    path: str,
    folder: Path,
    recipe: Recipe,
    slic: SlicSettings,
    settings: RunSettings,
    *,
    overwrite: bool = False,
    report: Report = lambda fold, folds: None,
) -> SeriesModel:
    """Train a model of series, validated on blocked folds.

    Raises
    ------
    UsageError, InputError, OutputError
    """
    begun = time.perf_counter()
    refuse_folder(folder, overwrite)
    table = read_samples(path)
    side = side_of(table, recipe.series.block, path)
    recipe = replace(recipe, series=replace(recipe.series, block=side))
    seasoned = seasoned_of(table, side, path)
    _refuse_boundless(seasoned, path)
    where = compute(settings.device, settings.scan, settings.jobs or 1)
    trained = train_series(seasoned.samples, recipe, where, report)
    card = _card(path, seasoned, trained, recipe, slic, where)
    state = trained.model.state()
    count = sum(tensor.size for tensor in state.values())
    card = save_weights(folder, state, card.model_copy(update={"parameters": count}))
    return SeriesModel(folder, card, time.perf_counter() - begun)


def side_of(table: SampleTable, block: float | None, path: str) -> float:
    """Tell the side of a block: as given, or `SERIES_BLOCK` where coordinates are degrees.

    Parameters
    ----------
    block : float or None
        In units of the coordinates.

    Raises
    ------
    UsageError
        None is given and coordinates are no degrees.
    """
    if block is not None:
        return block
    x, y = np.abs(table.places).max(axis=0)
    if x > _DEGREES[0] or y > _DEGREES[1]:
        raise UsageError(
            f"{path}: coordinates of up to {x:.1f} and {y:.1f} found, which are no degrees; give "
            "the side of a block in their units, --block"
        )
    return SERIES_BLOCK


def seasoned_of(table: SampleTable, block: float, path: str) -> Seasoned:
    """Put the samples of a table on the steps of their season, those seen too rarely left out.

    Parameters
    ----------
    block : float
        Side of a block, in units of the coordinates.

    Raises
    ------
    InputError
        No sample is seen often enough; fewer than two classes, or one sample of each; or all
        samples in one block.
    """
    season = season_of(table.days, table.owner)
    series, unused = _on_season(table, season)
    use = _seen_enough(series, table.labels, path)
    classes = np.array(sorted_names(set(table.labels[use].tolist())))
    truth = np.argmax(table.labels[use][:, None] == classes, axis=1)
    places = table.places[use]
    cells = np.floor(places / block).astype(np.int64)
    groups = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    if len(classes) < 2 or groups.max() == 0:
        raise InputError(
            f"{path}: {len(classes)} classes in {groups.max() + 1} blocks found, at least two of "
            "each are wanted; choose a smaller --block"
        )
    if np.bincount(truth).max() < 2:
        raise InputError(
            f"{path}: one sample of each of {len(classes)} classes found, which leaves nothing for "
            "folds; label more places of each"
        )
    _tell_lonely(places, groups, block, path)
    samples = Samples(series[use], truth, groups, np.array(season.offsets), len(classes))
    left_out, names = int((~use).sum()), tuple(map(str, classes))
    tell_renumbered(names, values_of(names), path)
    return Seasoned(samples, season, names, table.bands, unused, left_out)


def _refuse_boundless(seasoned: Seasoned, path: str) -> None:
    """Refuse bands that no scaling can be made for."""
    low, high = _scaling(seasoned.samples.series)
    good = np.isfinite(low) & np.isfinite(high)
    wrong = [name for k, name in enumerate(seasoned.bands) if not good[k]]
    if wrong:
        raise InputError(
            f"{path}: band {', '.join(wrong)} holds values too large for float32 to scale; leave "
            "the fields of missing values empty"
        )


def _seen_enough(
    series: NDArray[np.float32], labels: NDArray[np.str_], path: str
) -> NDArray[np.bool_]:
    """Tell which series `classify` would not leave out, and how many it would."""
    use = np.asarray(seen(series).mean(axis=1) >= LEAST_SEEN)
    if not use.any():
        raise InputError(
            f"{path}: none of {len(use)} samples has numbers in all bands at a third of the "
            f"season's {series.shape[1]} steps, some are wanted; fill gaps, or leave out bands "
            "that are mostly empty"
        )
    if not use.all():
        gone = sorted(set(labels) - set(labels[use]))
        whole = f", among them all of {', '.join(gone)}" if gone else ""
        logger.warning(
            "%s: %d of %d samples are left out, seen at less than a third of the season's %d "
            "steps%s; classify leaves such series out, too",
            *(path, (~use).sum(), len(use), series.shape[1], whole),
        )
    return use


def _tell_lonely(
    places: NDArray[np.float64], groups: NDArray[np.int64], block: float, path: str
) -> None:
    """Warn where blocks hold about a place each: neighbours stand in different folds."""
    distinct, blocks = len(np.unique(places, axis=0)), int(groups.max()) + 1
    if _MANY <= distinct < _SHARED * blocks:
        logger.warning(
            "%s: %d places in %d blocks of side %g found, fewer than two a block: neighbours stand "
            "on both sides of a fold, which flatters; a larger --block holds them together",
            *(path, distinct, blocks, block),
        )


def _on_season(table: SampleTable, season: Season) -> tuple[NDArray[np.float32], int]:
    edges = np.flatnonzero(np.diff(table.owner, prepend=-1, append=table.owner[-1] + 1))
    steps, unused = len(season.offsets), 0
    series = np.empty((len(edges) - 1, steps, len(table.bands)), dtype=np.float32)
    for n, (first, last) in enumerate(pairwise(edges)):
        days = table.days[first:last]
        places = season.places(days, nearest_begin(season, int(days[0])))
        series[n] = on_steps(table.values[first:last], places, steps)
        unused += int((places < 0).sum())
    return series, unused


def _card(
    path: str,
    seasoned: Seasoned,
    trained: Trained,
    recipe: Recipe,
    slic: SlicSettings,
    where: Compute,
) -> Card:
    low, high = _scaling(seasoned.samples.series)
    bands = zip(seasoned.bands, low, high, strict=True)
    names = seasoned.classes
    legend = zip(values_of(names), names, colors(names), strict=True)
    return Card(
        schema="stcli-card-1",
        architecture=SERIES,
        bands=tuple(BandCard(name=n, low=float(a), high=float(b)) for n, a, b in bands),
        classes=tuple(ClassCard(value=v, name=n, color=c) for v, n, c in legend),
        resolution=(0.0, 0.0),
        segmentation=fields(slic),
        network=_facts(seasoned, trained, recipe),
        training={**fields(recipe.series), "network": fields(recipe.training), **where.to_json()},
        data=_data(path, seasoned),
        metrics=_metrics(seasoned, trained),
        version=__version__,
        parameters=0,
        calibration=CalibrationCard(**trained.calibration.to_json()),
    )


def _facts(seasoned: Seasoned, trained: Trained, recipe: Recipe) -> dict[str, Any]:
    """State what the method needs beside its arrays."""
    series = seasoned.samples.series
    flat = series.transpose(1, 2, 0).reshape(-1, len(series), 1)
    low, high = _scaling(composite(flat, series.shape[2])[:, :, 0].T[:, None])
    return {
        "methods": list(trained.model.members),
        "temperatures": trained.model.temperatures,
        "seen": trained.model.seen.tolist(),
        "season": fields(seasoned.season),
        "composite": {"low": low.tolist(), "high": high.tolist()},
        "temporal": fields(recipe.network),
    }


def _scaling(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high of each of the last axis; apart by 1 where it never varies."""
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    low, high = np.nanpercentile(flat, _PERCENTILES, axis=0)
    high = np.where(high > low, high, low + 1)
    scaling = told_apart(BandScaling(tuple(low.tolist()), tuple(high.tolist())))
    return np.array(scaling.low), np.array(scaling.high)


def _data(path: str, seasoned: Seasoned) -> dict[str, Any]:
    samples = seasoned.samples
    count = np.bincount(samples.truth, minlength=samples.count)
    known = seen(samples.series)
    return {
        "samples": Path(path).name,
        "labelled_series": dict(zip(seasoned.classes, count.tolist(), strict=True)),
        "blocks": int(samples.groups.max()) + 1,
        "steps_seen": float(known.mean()),
        "rows_of_no_step": seasoned.unused,
        "series_left_out": seasoned.left_out,
    }


def _metrics(seasoned: Seasoned, trained: Trained) -> dict[str, Any]:
    """Accuracy of the held-out samples, of all and of those whose class was in the training."""
    samples, held = seasoned.samples, trained.held
    found = trained.probabilities.argmax(axis=0)
    matrix = _matrix(found, samples.truth, seasoned.classes)
    use = held.learnable
    each = [float((found == samples.truth)[held.fold == k].mean()) for k in np.unique(held.fold)]
    absent = {
        f"fold {k + 1}": sorted({seasoned.classes[t] for t in samples.truth[here & ~use]})
        for k in np.unique(held.fold)
        if (here := held.fold == k)[~use].any()
    }
    return {
        "validation": accuracy(matrix).to_json(),
        "folds": {
            "overall": each,
            "mean": float(np.mean(each)),
            "std": float(np.std(each, ddof=1)),
        },
        "learnable": {
            "share": float(use.mean()),
            "overall": float((found == samples.truth)[use].mean()),
            "absent_classes": absent,
        },
        "ece_of_all": reliability(trained.probabilities, samples.truth).error,
    }


def _matrix(
    found: NDArray[np.integer[Any]], truth: NDArray[np.int64], classes: tuple[str, ...]
) -> ConfusionMatrix:
    return ConfusionMatrix.empty(classes).add(found + 1, truth + 1)
