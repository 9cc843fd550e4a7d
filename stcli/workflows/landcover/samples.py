"""The windows that a model is trained and validated on, cut by a pass through the engine.

Validation is guarded: segments and windows of a side see only that side's pixels, so no label
leaks across the split through a superpixel or through context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as Rectangle

from stcli.engine.machine import MB
from stcli.engine.memory import Budget, Cost, threads_of
from stcli.engine.run import Tally
from stcli.engine.tiling import Tile
from stcli.landcover.dates import composite_scaling
from stcli.landcover.network.task import Sample, Task
from stcli.landcover.network.training import model_bytes, scan_bytes, step_bytes
from stcli.landcover.network.windows import Scene, centres, cut, most_tokens, square
from stcli.landcover.split import Block, Split, draw_pixels
from stcli.nn.device import compute
from stcli.segmentation.superpixels.slic import Block as Part
from stcli.segmentation.superpixels.slic import halo, slic
from stcli.settings import (
    ALGORITHMS,
    LANDCOVER_SLIC,
    BandScaling,
    NetworkSettings,
    RunSettings,
    SlicSettings,
    TrainingSettings,
)
from stcli.settings.checking import check
from stcli.workflows.job import Progress, plan_pass
from stcli.workflows.landcover.scenes import OpenScene
from stcli.workflows.landcover.stacks import Growing, growing_bytes
from stcli.workflows.landcover.survey import Survey
from stcli.workflows.segmentation.superpixels import label_space, slic_bytes

#: Bytes of the kernels that torch and numba load at the first training step, as measured.
_KERNELS = 160 * MB


@dataclass(frozen=True)
class Recipe:
    """Settings of everything that shapes a model; `algorithm` is one of `ALGORITHMS`."""

    slic: SlicSettings = LANDCOVER_SLIC
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    algorithm: str = "network"

    def __post_init__(self) -> None:
        check(self.algorithm in ALGORITHMS, "--algorithm", self.algorithm, " or ".join(ALGORITHMS))


#: Samples that train, and those that are held out.
Sides = tuple[list[Sample], list[Sample]]


def cut_scenes(
    scenes: Sequence[OpenScene],
    found: Survey,
    held: frozenset[Block] | None,
    recipe: Recipe,
    settings: RunSettings,
    progress: Progress,
) -> tuple[Task, Budget, Tally]:
    """Cut the windows of all scenes; `held` blocks validate, None for a random split of pixels.

    Raises
    ------
    BudgetError
        When the windows and a training step on some of them do not fit together.
    """
    sides: Sides = ([], [])
    scaling = found.scaling if scenes[0].stack is None else composite_scaling(found.scaling)
    for scene in scenes:
        split = None
        if held is not None:
            mine = frozenset((row, col) for n, row, col in held if n == scene.lattice)
            split = Split(found.side, mine)
        cutter = Cutter(scene, scaling, split, recipe)
        more, budget, tally = cutter.cut(found.centres, settings, progress)
        sides = (sides[0] + more[0], sides[1] + more[1])
    where = compute(settings.device, settings.scan, threads_of(settings))
    classes = scenes[0].truth.classes
    return Task(*sides, classes, scaling, recipe.slic.step, where), budget, tally


class Cutter:
    """Second pass: the windows of both sides of the split."""

    def __init__(
        self, scene: OpenScene, scaling: BandScaling, split: Split | None, recipe: Recipe
    ) -> None:
        self.scene, self.scaling, self.split, self.recipe = scene, scaling, split, recipe
        self.space = label_space(scene.raster.info, recipe.slic)
        days = () if scene.stack is None else scene.stack.days
        self.growing = Growing(scaling, recipe.slic, self.space, days)

    def cut(
        self, centres_labelled: int, settings: RunSettings, progress: Progress
    ) -> tuple[Sides, Budget, Tally]:
        """Cut all windows whose centre holds labels.

        The budget is that of the whole training; `centres_labelled` are those of all scenes.

        Raises
        ------
        BudgetError
            When the windows and a training step on some of them do not fit together.
        """
        recipe, scene = self.recipe, self.scene
        found: dict[tuple[bool, tuple[int, int]], Sample] = {}
        # a centre gives a window to each side of the split at most
        kept = 2 * centres_labelled * self.sample_bytes()
        once = kept + self.training_bytes(centres_labelled)

        def sink(tile: Tile, result: Any) -> None:
            found.update(result or {})

        around = recipe.network.margin + halo(recipe.slic)
        if scene.stack is None:
            read = slic_bytes(scene.raster.info, recipe.slic)
        else:
            read = growing_bytes(scene.stack, recipe.slic, scene.raster.info.shape)
        cost = Cost(read + 24, core_pixel=24, once=once)
        work = plan_pass(scene.raster, cost, settings, around, recipe.network.stride)
        tally = replace(work, source=scene.source).run(self._windows, sink, "windows", progress)
        sides: Sides = ([], [])
        for held, centre in sorted(found):
            sides[held].append(found[held, centre])
        return sides, work.budget, tally

    def sample_bytes(self) -> int:
        """Bytes of a window with its valid mask, segments and truth."""
        info, stack, network = self.scene.raster.info, self.scene.stack, self.recipe.network
        masks = 1 + self.space.dtype.itemsize + 1
        if stack is None:
            return network.window**2 * (info.count * info.dtype.itemsize + masks)
        bands, tokens = len(stack.variables), most_tokens(network, self.recipe.slic.step)
        series = tokens * len(stack.dates) * 4 * (bands + 1)
        return network.window**2 * (2 * bands * 4 + masks) + series

    def training_bytes(self, windows: int) -> int:
        """Bytes that training takes beside the windows themselves."""
        network, slic_settings = self.recipe.network, self.recipe.slic
        shape = (network, len(self.scaling.low), len(self.scene.truth.classes))
        tokens, batch = most_tokens(network, slic_settings.step), self.recipe.training.batch
        once = _KERNELS + model_bytes(*shape)
        together = min(batch, windows)
        if self.scene.stack is not None:
            dates = len(self.scene.stack.dates)
            once += scan_bytes(network, shape[1], together * tokens * dates, dates)
        return once + together * step_bytes(*shape, tokens)

    def _windows(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> dict[tuple[bool, tuple[int, int]], Sample]:
        truth = np.where(valid, self.scene.truth.read(where.read), 0).astype(np.uint8)
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
        if self.scene.stack is not None:
            return self.growing.scene(block, seen, where.lattice)
        part = Part(block, seen, where.lattice)
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
            at = [w - c for w, c in zip(window.lattice, scene.lattice, strict=True)]
            known = square(truth, (at[0], at[1]), network.window)
            inside = _centre(known, network.margin)
            if inside.any():
                # held-out windows overlap: their rims would count twice
                found[held, centre] = Sample(window, inside if held else known)
        return found


def _centre(truth: NDArray[np.uint8], margin: int) -> NDArray[np.uint8]:
    """Truth of a window's centre alone."""
    inside = np.zeros_like(truth)
    inner = slice(margin, truth.shape[0] - margin)
    inside[inner, inner] = truth[inner, inner]
    return inside
