"""``train landcover``: a raster and labels in, a model folder out.

Two passes through the engine: a survey (band scaling, labelled pixels of each block) and the
cutting of windows. Validation is guarded: segments and windows see only their own side's pixels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli import __version__
from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, OutputError
from stcli.landcover.accuracy import accuracy
from stcli.landcover.legend import colors
from stcli.landcover.network import ARCHITECTURE
from stcli.landcover.split import Split, draw_blocks
from stcli.landcover.training import Trained, train
from stcli.nn.weights import CARD, BandCard, Card, ClassCard, save_weights
from stcli.raster.info import lattice_origin, pixel_size
from stcli.raster.read import Raster
from stcli.settings import (
    BandScaling,
    RunSettings,
    TrainingSettings,
)
from stcli.workflows.job import Inputs, Progress, fields, plan_pass, report, silent
from stcli.workflows.samples import Cutter, Recipe
from stcli.workflows.scaling import SAMPLE, sample_block, sample_step, scaling_of
from stcli.workflows.truth import LabelSource, Truth, open_truth


@dataclass(frozen=True)
class Model:
    """What came out: the folder, its card, the epoch that validated best, and how it ran."""

    folder: Path
    card: Card
    epoch: int
    seconds: float
    run: dict[str, Any]


@dataclass(frozen=True)
class _Survey:
    """What the first pass found: scaling, labelled pixels of each block, labelled windows."""

    scaling: BandScaling
    counts: dict[tuple[int, int], NDArray[np.int64]]
    centres: set[tuple[int, int]]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Labelled pixels (class,)."""
        return np.sum(list(self.counts.values()), axis=0)  # type: ignore[no-any-return]


Figures = Callable[[int, int, dict[str, float]], None]


def train_landcover(
    inputs: Inputs,
    labels: LabelSource,
    folder: Path,
    recipe: Recipe,
    settings: RunSettings,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    figures: Figures = lambda epoch, epochs, values: None,
) -> Model:
    """Train a land-cover model.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_folder(folder, overwrite)
    with inputs.open() as raster:
        truth = open_truth(labels, raster, settings, progress)
        side = block_side(raster, recipe.training.block)
        sides = (side, recipe.network.stride)
        survey = _survey(raster, truth, sides, settings, progress)
        _check_labels(labels.path, survey, truth)
        split = _split(survey, side, recipe.training, labels.path)
        cutter = Cutter(raster, truth, survey.scaling, split, recipe)
        task, budget, tally = cutter.cut(len(survey.centres), settings, progress)
        outcome = train(task, recipe.network, recipe.training, figures)
        where = task.where.to_json()
        card = _card(raster, truth, survey, recipe, outcome)
        ran = report(budget, tally, 0) | where
    data = _data(inputs, labels, survey, truth, split, recipe)
    card = card.model_copy(update={"data": data, "training": card.training | where})
    card = save_weights(folder, outcome.state, card)
    seconds = time.perf_counter() - begun
    return Model(folder, card, outcome.epoch, seconds, ran | {"seconds": round(seconds, 3)})


def refuse_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a model folder that cannot be written, before any work.

    Raises
    ------
    OutputError
    """
    if (folder / CARD).exists() and not overwrite:
        raise OutputError(f"{folder}: a model exists; --overwrite replaces it.")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, a folder is wanted; give another name.")
    if not folder.parent.is_dir():
        raise OutputError(f"{folder}: there is no directory {folder.parent}; create it first.")
    place = folder if folder.exists() else folder.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: the directory {place} is not writable.")


def block_side(raster: Raster, block: float | None) -> int:
    """Side of a validation block in pixels: given in CRS units, or an eighth of the raster."""
    if block is None:
        return max(16, max(raster.info.shape) // 8)
    return max(1, round(block / pixel_size(raster.info.geobox)[0]))


def _survey(
    raster: Raster,
    truth: Truth,
    sides: tuple[int, int],
    settings: RunSettings,
    progress: Progress,
) -> _Survey:
    """First pass; `sides` are those of a validation block and of a window's centre."""
    step, classes = sample_step(raster.info.shape), len(truth.classes)
    origin = lattice_origin(raster.info.geobox)
    samples: dict[int, NDArray[Any]] = {}
    counts: dict[tuple[int, int], NDArray[np.int64]] = {}
    centres: set[tuple[int, int]] = set()

    def function(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        found = np.where(valid[where.trim], truth.read(where.core), 0)
        at = (origin[0] + where.core.row_off, origin[1] + where.core.col_off)
        tables = [_count_blocks(found, at, side, classes) for side in sides]
        return sample_block(block, valid, where, step), *tables

    def sink(tile: Tile, result: Any) -> None:
        if result is not None:
            samples[tile.index] = result[0]
            for block, count in result[1].items():
                counts[block] = counts.get(block, 0) + count
            centres.update(result[2])

    pixel = raster.info.count * raster.info.dtype.itemsize
    cost = Cost(read_pixel=2 * pixel + 24, once=SAMPLE * raster.info.count * 24)
    plan_pass(raster, cost, settings).run(function, sink, "survey", progress)
    return _Survey(scaling_of(samples, raster.info.path), counts, centres)


def _count_blocks(
    truth: NDArray[Any], lattice: tuple[int, int], side: int, classes: int
) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Labelled pixels (class,) of each block that a rectangle touches."""
    rows, cols = np.nonzero(truth)
    if not len(rows):
        return {}
    at = np.stack([(rows + lattice[0]) // side, (cols + lattice[1]) // side], axis=1)
    blocks, inverse = np.unique(at, axis=0, return_inverse=True)
    place = inverse.ravel() * classes + truth[rows, cols].astype(np.int64) - 1
    table = np.bincount(place, minlength=len(blocks) * classes).reshape(-1, classes)
    return {(int(row), int(col)): count for (row, col), count in zip(blocks, table, strict=True)}


def _check_labels(path: str, survey: _Survey, truth: Truth) -> None:
    found = survey.pixels if survey.counts else np.zeros(len(truth.classes), dtype=np.int64)
    present = [name for name, n in zip(truth.classes, found, strict=True) if n]
    if len(present) < 2:
        raise InputError(
            f"{path}: labels of {len(present)} classes on valid pixels "
            f"({', '.join(present) or 'none'}), at least two are wanted."
        )


def _split(survey: _Survey, side: int, settings: TrainingSettings, path: str) -> Split | None:
    """Draw the held-out blocks; None for a random split of pixels."""
    if settings.split == "random":
        return None
    held = draw_blocks(survey.counts, settings.validation, settings.seed)
    if not held:
        raise InputError(
            f"{path}: all labels lie in one block of {side} px, at least two are wanted; "
            "choose a smaller --block."
        )
    return Split(side, held)


def _card(raster: Raster, truth: Truth, survey: _Survey, recipe: Recipe, outcome: Trained) -> Card:
    info, scaling = raster.info, survey.scaling
    bands = zip(info.band_names, scaling.low, scaling.high, strict=True)
    legend = zip(truth.values, truth.classes, colors(truth.classes), strict=True)
    return Card(
        schema="stcli-card-1",
        architecture=ARCHITECTURE,
        bands=tuple(BandCard(name=name, low=low, high=high) for name, low, high in bands),
        classes=tuple(ClassCard(value=v, name=name, color=color) for v, name, color in legend),
        resolution=pixel_size(info.geobox),
        segmentation=fields(recipe.slic),
        network=fields(recipe.network),
        training=fields(recipe.training),
        data={},
        metrics={
            "epoch": outcome.epoch,
            "split": recipe.training.split,
            "validation": accuracy(outcome.matrix).to_json(),
        },
        version=__version__,
        parameters=sum(tensor.numel() for tensor in outcome.state.values()),
    )


def _data(
    inputs: Inputs,
    labels: LabelSource,
    survey: _Survey,
    truth: Truth,
    split: Split | None,
    recipe: Recipe,
) -> dict[str, Any]:
    """Say what the model was trained on."""
    pixels = dict(zip(truth.classes, survey.pixels.tolist(), strict=True))
    blocks = None if split is None else {"side_px": split.side, "held": sorted(split.blocks)}
    return {
        "inputs": [Path(path).name for path in inputs.paths],
        "labels": Path(labels.path).name,
        "class_column": labels.class_column,
        "labelled_pixels": pixels,
        "split": recipe.training.split,
        "blocks": blocks,
    }
