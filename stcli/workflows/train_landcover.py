"""``train landcover``: a raster and labels in, a model folder out.

Two passes through the engine: a survey (band scaling, labelled pixels of each block) and the
cutting of windows. Validation is guarded: segments and windows see only their own side's pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as Rectangle

from stcli import __version__
from stcli.engine.memory import MB, Cost, default_memory, resident
from stcli.engine.tiling import Tile
from stcli.errors import BudgetError, InputError, OutputError
from stcli.landcover.accuracy import accuracy
from stcli.landcover.legend import colors
from stcli.landcover.network import ARCHITECTURE
from stcli.landcover.prediction import window_bytes
from stcli.landcover.split import Split, draw_blocks, draw_pixels
from stcli.landcover.training import Sample, Task, Trained, train
from stcli.landcover.windows import Scene, Window, centres, cut, square
from stcli.nn.weights import CARD, BandCard, Card, ClassCard, save_weights
from stcli.raster.info import lattice_origin, pixel_size
from stcli.raster.read import Raster
from stcli.segmentation.slic import Block, halo, slic
from stcli.settings import (
    BandScaling,
    NetworkSettings,
    RunSettings,
    SlicSettings,
    TrainingSettings,
)
from stcli.workflows.job import Inputs, Progress, fields, plan_pass, silent
from stcli.workflows.scaling import SAMPLE, sample_block, sample_step, scaling_of
from stcli.workflows.segment import label_space, slic_bytes
from stcli.workflows.truth import LabelSource, Truth, open_truth

#: What a window's activations take while training, over what they take while classifying.
_BACKWARD = 6


@dataclass(frozen=True)
class Recipe:
    """Settings of everything that shapes a model."""

    slic: SlicSettings = field(default_factory=lambda: SlicSettings(iterations=5))
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)


@dataclass(frozen=True)
class Model:
    """What came out: the folder, its card, the epoch that validated best."""

    folder: Path
    card: Card
    epoch: int
    seconds: float


@dataclass(frozen=True)
class _Survey:
    """What the first pass found."""

    scaling: BandScaling
    counts: dict[tuple[int, int], NDArray[np.int64]]

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
    InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    if (folder / CARD).exists() and not overwrite:
        raise OutputError(f"{folder}: a model exists; --overwrite replaces it.")
    with inputs.open() as raster:
        truth = open_truth(labels, raster, settings, progress)
        side = block_side(raster, recipe.training.block)
        survey = _survey(raster, truth, side, settings, progress)
        _check_labels(labels.path, survey, truth)
        split = _split(survey, side, recipe.training, labels.path)
        cutter = _Cutter(raster, truth, survey.scaling, split, recipe)
        task = cutter.cut(settings, progress)
        outcome = train(task, recipe.network, recipe.training, figures)
        card = _card(raster, truth, survey, recipe, outcome)
    card = card.model_copy(update={"data": _data(inputs, labels, survey, truth, split, recipe)})
    save_weights(folder, outcome.state, card)
    return Model(folder, card, outcome.epoch, time.perf_counter() - begun)


def block_side(raster: Raster, block: float | None) -> int:
    """Side of a validation block in pixels: given in CRS units, or an eighth of the raster."""
    if block is None:
        return max(16, max(raster.info.shape) // 8)
    return max(1, round(block / pixel_size(raster.info.geobox)[0]))


def _survey(
    raster: Raster, truth: Truth, side: int, settings: RunSettings, progress: Progress
) -> _Survey:
    """First pass: a sample for the scaling, labelled pixels of each block."""
    step, classes = sample_step(raster.info.shape), len(truth.classes)
    origin = lattice_origin(raster.info.geobox)
    samples: dict[int, NDArray[Any]] = {}
    counts: dict[tuple[int, int], NDArray[np.int64]] = {}

    def function(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        found = np.where(valid[where.trim], truth.read(where.core), 0)
        return sample_block(block, valid, where, step), _count_blocks(
            found, (origin[0] + where.core.row_off, origin[1] + where.core.col_off), side, classes
        )

    def sink(tile: Tile, result: Any) -> None:
        if result is not None:
            samples[tile.index] = result[0]
            for block, count in result[1].items():
                counts[block] = counts.get(block, 0) + count

    pixel = raster.info.count * raster.info.dtype.itemsize
    cost = Cost(read_pixel=2 * pixel + 24, once=SAMPLE * raster.info.count * 24)
    plan_pass(raster, cost, settings).run(function, sink, "survey", progress)
    return _Survey(scaling_of(samples, raster.info.path), counts)


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


class _Cutter:
    """Second pass: the windows of both sides of the split."""

    def __init__(
        self,
        raster: Raster,
        truth: Truth,
        scaling: BandScaling,
        split: Split | None,
        recipe: Recipe,
    ) -> None:
        self.raster, self.truth, self.scaling = raster, truth, scaling
        self.split, self.recipe = split, recipe
        self.space = label_space(raster.info, recipe.slic)

    def cut(self, settings: RunSettings, progress: Progress) -> Task:
        """Cut all windows that hold labels."""
        recipe, info = self.recipe, self.raster.info
        found: dict[tuple[bool, tuple[int, int]], Sample] = {}
        allowed = settings.memory or default_memory()
        pixels = recipe.network.window**2
        sample = pixels * (info.count * info.dtype.itemsize + 1 + self.space.dtype.itemsize + 1)
        loop = (
            _BACKWARD
            * recipe.training.batch
            * window_bytes(recipe.network, info.count, len(self.truth.classes))
        )

        def sink(tile: Tile, result: Any) -> None:
            found.update(result or {})
            needed = resident() + loop
            if needed > allowed:
                raise BudgetError(
                    f"memory: {len(found)} windows of {sample / MB:.1f} MB and training on "
                    f"{recipe.training.batch} of them need {needed / MB:.0f} MB, "
                    f"{allowed / MB:.0f} MB are allowed; label fewer places or raise --memory."
                )

        around = recipe.network.margin + halo(recipe.slic)
        work = plan_pass(
            self.raster,
            Cost(slic_bytes(info) + 24, core_pixel=4 * sample // pixels),
            settings,
            around,
            recipe.network.stride,
        )
        work.run(self._windows, sink, "windows", progress)
        sides: tuple[list[Sample], list[Sample]] = ([], [])
        for held, centre in sorted(found):
            sides[held].append(found[held, centre])
        return Task(sides[0], sides[1], self.truth.classes, self.scaling, recipe.slic.step)

    def _windows(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> dict[tuple[bool, tuple[int, int]], Sample]:
        truth = np.where(valid, self.truth.read(where.read), 0).astype(np.uint8)
        found: dict[tuple[bool, tuple[int, int]], Sample] = {}
        if not truth.any():
            return found
        for held in (False, True):
            seen, known = self._side(held, valid, truth, where)
            if known.any():
                scene = self._scene(block, seen, where)
                found.update(self._samples(held, scene, known, where))
        return found

    def _side(
        self, held: bool, valid: NDArray[np.bool_], truth: NDArray[np.uint8], where: Tile
    ) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Pixels that a side may see, and its truth."""
        if self.split is None:
            settings = self.recipe.training
            chance = draw_pixels(where.lattice, valid.shape, settings.seed)
            return valid, np.where((chance < settings.validation) == held, truth, 0)
        seen = valid & (self.split.part(where.lattice, valid.shape) == held)
        return seen, np.where(seen, truth, 0)

    def _scene(self, block: NDArray[Any], seen: NDArray[np.bool_], where: Tile) -> Scene:
        part = Block(block, seen, where.lattice)
        segments = slic(part, self.scaling, self.recipe.slic, self.space)
        return Scene(np.where(seen, block, 0), seen, segments, where.lattice)

    def _samples(
        self, held: bool, scene: Scene, truth: NDArray[np.uint8], where: Tile
    ) -> dict[tuple[bool, tuple[int, int]], Sample]:
        network, found = self.recipe.network, {}
        core: Rectangle = where.core
        corner = [s.start + at for s, at in zip(where.trim, where.lattice, strict=True)]
        for centre in centres((corner[0], corner[1]), (core.height, core.width), network):
            window = cut(scene, centre, network)
            known = self._truth(truth, window, scene.lattice, held)
            if known.any():
                found[held, centre] = Sample(window, known)
        return found

    def _truth(
        self, truth: NDArray[np.uint8], window: Window, lattice: tuple[int, int], held: bool
    ) -> NDArray[np.uint8]:
        """Truth of a window; of held-out windows the centre alone, so that it counts once."""
        network = self.recipe.network
        at = (window.lattice[0] - lattice[0], window.lattice[1] - lattice[1])
        known = square(truth, at, network.window)
        if held and network.margin:
            inner = slice(network.margin, -network.margin)
            centre = np.zeros_like(known)
            centre[inner, inner] = known[inner, inner]
            return centre
        return known


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
