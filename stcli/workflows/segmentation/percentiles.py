"""Exact percentiles of objects, in as many passes as the memory budget asks for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.machine import default_memory, resident
from stcli.engine.memory import Budget, Cost
from stcli.engine.tiling import Tile
from stcli.errors import BudgetError
from stcli.raster.reading.read import Raster
from stcli.segmentation.numbering import number
from stcli.segmentation.objects.percentiles import PixelStore
from stcli.settings import RunSettings
from stcli.workflows.job import Progress, plan_pass


@dataclass(frozen=True)
class _Pixels:
    """The block function: valid pixels of objects first to last - 1, band by band."""

    labels: NDArray[np.int64]
    scene: Raster

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        numbers, distinct = number(block[0])
        index = np.searchsorted(self.labels, distinct)
        index[index == self.labels.size] = 0
        known = np.append(np.where(self.labels[index] == distinct, index, -1), -1).astype(np.int32)
        objects = known[numbers]  # number -1 takes the last
        if not (objects >= 0).any():
            return np.empty(0, np.int32), np.empty((self.scene.info.count, 0))
        values, seen = self.scene.read(where.core)
        keep = seen & (objects >= 0)
        return objects[keep], values[:, keep]


def percentiles(
    raster: Raster,
    scene: Raster,
    counted: tuple[NDArray[np.int64], NDArray[np.int64]],
    wanted: tuple[float, ...],
    settings: RunSettings,
    progress: Progress,
) -> tuple[NDArray[np.float64], list[Budget]]:
    """Measure percentiles of all bands of all objects.

    Parameters
    ----------
    counted : (ndarray of int64 (object,), ndarray of int64 (object,))
        Labels, rising, and their valid pixels.

    Returns
    -------
    found : ndarray of float64 (object, band, wanted)
    budgets : list of Budget
        Of each pass.

    Raises
    ------
    BudgetError
        One object alone does not fit.
    """
    labels, counts = counted
    info = scene.info
    budgets: list[Budget] = []
    found = np.empty((labels.size, info.count, len(wanted)))
    for first, last in _shares(counts, info.count * info.dtype.itemsize, settings):
        pixel = info.count * info.dtype.itemsize
        cost = Cost(
            raster.info.dtype.itemsize + 1 + 4 + 8,
            3 * pixel + 6,
            once=pixel * int(counts[first:last].sum()) + found.nbytes,
        )
        work = plan_pass(raster, cost, settings)
        budgets.append(work.budget)
        stores = [PixelStore(counts[first:last], info.dtype) for _ in range(info.count)]

        def sink(tile: Tile, part: Any, stores: list[PixelStore] = stores) -> None:
            if part is not None and part[0].size:
                for store, values in zip(stores, part[1], strict=True):
                    store.add(part[0], values)

        work.run(_Pixels(labels[first:last], scene), sink, "percentiles", progress)
        for band, store in enumerate(stores):
            found[first:last, band] = store.percentiles(wanted)
    return found, budgets


def _shares(counts: NDArray[np.int64], pixel: int, settings: RunSettings) -> list[tuple[int, int]]:
    """Cut the objects into runs whose pixels take at most a third of what is free."""
    allowed = ((settings.memory or default_memory()) - resident()) // 3
    if pixel * int(counts.max(initial=0)) > max(allowed, 0):
        raise BudgetError(
            f"memory: percentiles of an object of {counts.max()} pixels need "
            f"{pixel * int(counts.max()) / 1e6:.0f} MB, {max(allowed, 0) / 1e6:.0f} MB are left "
            "for them; --memory raises the budget."
        )
    ends = np.cumsum(counts) * pixel
    cuts = [0]
    while cuts[-1] < counts.size:
        before = int(ends[cuts[-1] - 1]) if cuts[-1] else 0
        cuts.append(int(np.searchsorted(ends, before + allowed, side="right")))
    return list(itertools.pairwise(cuts))
