"""``train patches``: small rasters with a class each in, a model folder out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stcli import __version__
from stcli.engine.batches import batch_size
from stcli.errors import InputError, UsageError
from stcli.landcover.accuracy.accuracy import ConfusionMatrix, accuracy
from stcli.landcover.joined import Trained
from stcli.landcover.legend import colors
from stcli.landcover.patches.patches import ARCHITECTURE, Patches, train_patches
from stcli.landcover.patches.patchfeatures import Lens, features
from stcli.landcover.patches.patchmodel import (
    most_at_once,
    patch_bytes,
    sample_bytes,
    save_patch_model,
    training_bytes,
)
from stcli.nn.weights import BandCard, CalibrationCard, Card, ClassCard
from stcli.raster.tables.classnames import sorted_names, tell_renumbered, values_of
from stcli.raster.tables.patches import (
    PatchLabels,
    PatchSet,
    is_table,
    open_patches,
    read_patch_labels,
)
from stcli.settings import PatchSettings, RunSettings
from stcli.workflows.empty import none_valid
from stcli.workflows.job import Progress, fields, silent
from stcli.workflows.model_folder import refuse_folder

logger = logging.getLogger("stcli")

#: Patches that the lens is fitted on, at most.
SAMPLE = 256


@dataclass(frozen=True)
class PatchSource:
    """Where patches come from.

    Attributes
    ----------
    path : str
        A stack, or a table of rasters.
    side : int or None
        Pixels of a patch's side, for a stack.
    labels : str or None
        One class for each patch of a stack; a table has its own.
    names : dict of int to str or None
        Of the values of a raster of labels.
    bands : tuple of int or str
        Chosen ones; empty for all.
    """

    path: str
    side: int | None = None
    labels: str | None = None
    names: dict[int, str] | None = None
    bands: tuple[int | str, ...] = ()

    def opened(self) -> PatchSet:
        """Open the patches; raises InputError."""
        return open_patches(self.path, self.side, self.bands)

    def read_labels(self, count: int) -> PatchLabels:
        """Read a class for each patch; raises InputError and UsageError."""
        if self.labels is not None:
            return read_patch_labels(self.labels, count, self.names)
        if not is_table(self.path):
            raise UsageError(f"{self.path}: --labels names the raster or table with the classes.")
        return read_patch_labels(self.path, count)


@dataclass(frozen=True)
class TrainedModel:
    """What came out: the folder, its card and what the folds found."""

    folder: Path
    card: Card
    seconds: float


def train_patch_model(
    source: PatchSource,
    folder: Path,
    settings: PatchSettings,
    run: RunSettings,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> TrainedModel:
    """Train a model of patches.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_folder(folder, overwrite)
    patches = source.opened()
    labels = source.read_labels(len(patches.names))
    chosen = _labelled(labels, source)
    classes = _classes(labels.classes[chosen], source)
    batches = _batches(patches, chosen, len(classes), run)
    lens = Lens.fit(_sample(patches, chosen), settings.seed)
    views, known = _measured(patches, batches, lens, progress)
    chosen = chosen[known]
    place = {name: number for number, name in enumerate(classes)}
    truth = np.array([place[name] for name in labels.classes[chosen]], dtype=np.int64)
    groups, split = _groups(patches, labels, chosen, settings)
    task = Patches(views, truth, groups, len(classes))
    with threadpool_limits(1):  # sums of one order, whatever the machine
        trained = train_patches(task, settings, lambda k, n: progress("folds", k, n))
    card = _card(patches, classes, settings, trained, (truth, lens, split))
    data = {
        "inputs": [Path(source.path).name],
        "labels": Path(source.labels or source.path).name,
        "patches": dict(
            zip(classes, np.bincount(truth, minlength=len(classes)).tolist(), strict=True)
        ),
        "without_values": int((~known).sum()),
        "split": split,
    }
    card = save_patch_model(folder, trained.model, lens, card.model_copy(update={"data": data}))
    return TrainedModel(folder, card, time.perf_counter() - begun)


def _labelled(labels: PatchLabels, source: PatchSource) -> NDArray[np.int64]:
    """Choose the patches that have a class, by number, and tell of the others."""
    chosen, count = np.flatnonzero(labels.classes != ""), len(labels.classes)
    if len(chosen) < count:
        logger.warning(
            "%s: %d of %d patches have no class and are left out",
            *(source.labels or source.path, count - len(chosen), count),
        )
    return chosen


def _batches(
    patches: PatchSet, chosen: NDArray[np.int64], classes: int, run: RunSettings
) -> list[NDArray[np.int64]]:
    """Divide the chosen patches as the memory budget allows; raises BudgetError."""
    sample, size = min(SAMPLE, len(chosen)), (len(patches.bands), patches.side)
    kept = max(sample_bytes(sample, *size), training_bytes(len(chosen), *size, classes))
    return batches_of(patches, chosen, kept, run)


def batches_of(
    patches: PatchSet, numbers: NDArray[np.int64], kept: int, run: RunSettings
) -> list[NDArray[np.int64]]:
    """Divide patches of rising numbers into batches that the memory budget holds.

    Parameters
    ----------
    patches : PatchSet
    numbers : ndarray of int64, (n,)
    kept : int
        Bytes beside a batch.
    run : RunSettings

    Returns
    -------
    list of ndarray of int64
        Each batch's numbers.

    Raises
    ------
    BudgetError
        Not even one patch fits.
    """
    count, bands, side = len(numbers), len(patches.bands), patches.side
    what = f"{count} patches of {side} px and {bands} bands"
    size = batch_size(most_at_once(count, side), patch_bytes(bands, side), kept, what, run)
    return np.split(numbers, range(size, count, size))


def _classes(found: NDArray[np.str_], source: PatchSource) -> tuple[str, ...]:
    """Sort the classes: as the values of a raster that has names, as numbers, or as text."""
    classes = set(found.tolist())
    path = source.labels or source.path
    if not 2 <= len(classes) <= 255:
        raise InputError(
            f"{path}: {len(classes)} classes found ({', '.join(sorted(classes)[:5]) or 'none'}), "
            "2 to 255 wanted."
        )
    if source.names and classes <= set(source.names.values()):
        return tuple(dict.fromkeys(n for _, n in sorted(source.names.items()) if n in classes))
    names = tuple(sorted_names(classes))
    tell_renumbered(names, values_of(names), path)
    return names


def _measured(
    patches: PatchSet, batches: list[NDArray[np.int64]], lens: Lens, progress: Progress
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Measure the patches that hold a valid pixel; and say which those are."""
    parts, known = [], []
    count, done = sum(len(batch) for batch in batches), 0
    for batch in batches:
        values = patches.read(batch)
        held = ~np.isnan(values).all(axis=(1, 2, 3))
        if held.any():
            parts.append(features(values[held], lens))
        known.append(held)
        done += len(batch)
        progress("patches", done, count)
    views = {name: np.concatenate([part.pop(name) for part in parts]) for name in tuple(parts[0])}
    return views, np.concatenate(known)


def _sample(patches: PatchSet, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read at most `SAMPLE` patches, evenly drawn from the chosen ones."""
    places = np.unique(np.linspace(0, len(chosen) - 1, SAMPLE).round().astype(np.int64))
    result = patches.read(chosen[places])
    if np.isnan(result).all():
        raise none_valid(patches.path)
    return result


def _groups(
    patches: PatchSet, labels: PatchLabels, chosen: NDArray[np.int64], settings: PatchSettings
) -> tuple[NDArray[np.int64] | None, str]:
    """Give numbers to what must stay together, and say how: a group column, blocks, or nothing.

    Raises
    ------
    UsageError
        A group column and blocks.
    """
    if labels.groups is not None:
        if settings.block is not None:
            raise UsageError(
                f"{patches.path}: --block given and a column group found, which holds patches "
                "together already; leave one of the two out."
            )
        return labels.groups[chosen], "groups"
    if settings.block is not None:
        blocks = np.floor(patches.places[chosen] / settings.block).astype(np.int64)
        return np.unique(blocks, axis=0, return_inverse=True)[1].ravel(), "blocks"
    logger.warning(
        "%s: neither a column group nor --block given: neighbouring patches may stand on both "
        "sides of a fold, which flatters",
        patches.path,
    )
    return None, "random"


def _card(
    patches: PatchSet,
    classes: tuple[str, ...],
    settings: PatchSettings,
    trained: Trained,
    rest: tuple[NDArray[np.int64], Lens, str],
) -> Card:
    truth, lens, split = rest
    legend = zip(values_of(classes), classes, colors(classes), strict=True)
    network = {"side": patches.side, "temperatures": trained.model.temperatures}
    # bands are scaled by arsinh of the value over one unit: low and high say so
    return Card(
        schema="stcli-card-1",
        architecture=ARCHITECTURE,
        bands=tuple(BandCard(name=name, low=0.0, high=float(lens.unit)) for name in patches.bands),
        classes=tuple(ClassCard(value=v, name=name, color=c) for v, name, c in legend),
        resolution=(float(patches.side), float(patches.side)),
        segmentation={},
        network=network,
        training=fields(settings),
        data={},
        metrics=_metrics(trained, truth, classes, split),
        version=__version__,
        calibration=CalibrationCard(**trained.calibration.to_json()),
        parameters=sum(array.size for array in trained.model.state().values()),
    )


def _metrics(
    trained: Trained, truth: NDArray[np.int64], classes: tuple[str, ...], split: str
) -> dict[str, Any]:
    """Out-of-fold accuracy, each fold's, and how sure the model is."""
    found, fold = trained.probabilities.argmax(axis=0), trained.held.fold
    right, learnable = found == truth, trained.held.learnable
    each = [float(right[fold == k].mean()) for k in np.unique(fold)]
    matrix = ConfusionMatrix.empty(classes).add(
        (found + 1).astype(np.uint8)[None], (truth + 1).astype(np.uint8)[None]
    )
    return {
        "split": split,
        "folds": {"each": each, "mean": float(np.mean(each)), "std": float(np.std(each, ddof=1))},
        "learnable": {
            "share": float(learnable.mean()),
            "accuracy": float(right[learnable].mean()) if learnable.any() else None,
        },
        "validation": accuracy(matrix).to_json(),
    }
