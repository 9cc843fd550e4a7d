"""The first pass of a training: band scaling, labelled pixels of each block, labelled windows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, few
from stcli.landcover.split import Block
from stcli.raster.ground import ground
from stcli.raster.info import lattice_origin, pixel_size
from stcli.raster.reading.read import Raster
from stcli.settings import BandScaling, RunSettings, TrainingSettings
from stcli.workflows.empty import no_valid_pixel
from stcli.workflows.job import Progress, plan_pass
from stcli.workflows.landcover.scenes import OpenScene
from stcli.workflows.landcover.stacks import clear_cells
from stcli.workflows.scaling import SAMPLE, sample_block, sample_step, scaling_of

logger = logging.getLogger("stcli")

#: Why labels may label nothing.
_BY_CENTRES = (
    "a polygon labels the pixels whose centres lie in it, and where sources overlap the first "
    "counts"
)
#: Side of a block at most, in pixels: beyond any raster, and within an int64.
_LARGEST = 1 << 40


@dataclass
class Survey:
    """What the first pass over all scenes found.

    Attributes
    ----------
    side : int
        Of a block, in pixels.
    counts : dict
        Labelled pixels (class,) of each block that has any.
    centres : int
        Windows whose centre holds labels, of all scenes.
    scaling : BandScaling
    """

    side: int
    counts: dict[Block, NDArray[np.int64]] = field(default_factory=dict)
    centres: int = 0
    scaling: BandScaling = field(default_factory=lambda: BandScaling((), ()))

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Labelled pixels (class,)."""
        return np.sum(list(self.counts.values()), axis=0)  # type: ignore[no-any-return]


def block_side(raster: Raster, block: float | None, unit: str = "crs") -> int:
    """Side of a block in pixels: given in CRS units or metres, or an eighth of the raster.

    Raises
    ------
    InputError
        Metres, of a grid on which they cannot be measured.
    """
    if block is None:
        return max(16, max(raster.info.shape) // 8)
    side = pixel_size(raster.info.geobox)[0]
    if unit == "m":
        measured = ground(raster.info.geobox, raster.info.path)
        if measured.name != "m":
            raise InputError(
                f"{raster.info.path}: has no CRS, in which --block in metres could be measured; "
                "name one with --assume-crs."
            )
        middle = len(measured.down) // 2
        side = float(measured.down[middle] * measured.units[2])
    return max(1, round(min(block / side, _LARGEST)))


def survey(
    scenes: Sequence[OpenScene],
    stride: int,
    training: TrainingSettings,
    settings: RunSettings,
    progress: Progress,
) -> Survey:
    """Run the pass over each scene; `stride` is the side of a window's centre.

    Raises
    ------
    InputError
        Without valid pixels, or with labels of fewer than two classes on them.
    """
    largest = max((scene.raster for scene in scenes), key=lambda raster: max(raster.info.shape))
    found = Survey(block_side(largest, training.block, training.block_unit))
    samples = []
    for scene in scenes:
        pixels, centres = _one(scene, found, (stride, len(scenes)), settings, progress)
        samples += [pixels] if pixels.size else []
        found.centres += centres
    scaling = scaling_of(samples)
    if scaling is None:
        raise no_valid_pixel(scenes[0].raster)
    found.scaling = scaling
    return found


def _one(
    scene: OpenScene,
    found: Survey,
    shape: tuple[int, int],
    settings: RunSettings,
    progress: Progress,
) -> tuple[NDArray[Any], int]:
    """Survey a scene; `shape` is the stride, and the number of scenes that share the sample."""
    raster, truth, bands = scene.raster, scene.truth, len(scene.names)
    info, classes, stack = raster.info, len(truth.classes), scene.stack
    dates = 1 if stack is None else len(stack.dates)
    step = sample_step((info.shape[0] * shape[1] * dates, info.shape[1]))
    origin = lattice_origin(info.geobox)
    samples: dict[int, NDArray[Any]] = {}
    centres: set[tuple[int, int]] = set()

    def function(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        labels = np.where(valid[where.trim], truth.read(where.core), 0)
        at = (origin[0] + where.core.row_off, origin[1] + where.core.col_off)
        tables = [_count_blocks(labels, at, side, classes) for side in (found.side, shape[0])]
        sample = sample_block(block, valid, where, step)
        return sample if stack is None else clear_cells(sample, bands), *tables

    def sink(tile: Tile, result: Any) -> None:
        if result is not None:
            samples[tile.index] = result[0]
            for (row, col), count in result[1].items():
                key = (scene.lattice, row, col)
                found.counts[key] = found.counts.get(key, 0) + count
            centres.update(result[2])

    cost = Cost(read_pixel=2 * scene.read_bytes + 24, once=SAMPLE * bands * 24)
    work = replace(plan_pass(raster, cost, settings), source=scene.source)
    work.run(function, sink, "survey", progress)
    parts = [samples[index] for index in sorted(samples)]
    return np.concatenate(parts, axis=1) if parts else np.empty((bands, 0)), len(centres)


def check_labels(path: str, found: Survey, classes: tuple[str, ...]) -> None:
    """Refuse labels of fewer than two classes on valid pixels, and tell of classes without any.

    Raises
    ------
    InputError
    """
    pixels = found.pixels if found.counts else np.zeros(len(classes), dtype=np.int64)
    present = [name for name, n in zip(classes, pixels, strict=True) if n]
    if len(present) < 2:
        raise InputError(
            f"{path}: labels of {len(present)} classes on valid pixels "
            f"({', '.join(present) or 'none'}), at least two are wanted; {_BY_CENTRES}."
        )
    if len(present) < len(classes):
        absent = few([name for name in classes if name not in present])
        logger.warning("%s: no valid pixel is labelled %s; %s", path, absent, _BY_CENTRES)


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
