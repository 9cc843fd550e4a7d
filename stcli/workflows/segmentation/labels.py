"""Label rasters as inputs: opened, checked, and their labels listed in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.machine import MB, default_memory
from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import BudgetError, InputError
from stcli.raster.info import refuse_other_grid
from stcli.raster.reading.read import Raster, open_raster
from stcli.segmentation.numbering import KERNELS, merged, number
from stcli.settings import RunSettings
from stcli.workflows.job import Inputs, Progress, plan_pass
from stcli.workflows.kernels import compile_apart
from stcli.workflows.segmentation.given import MERGE

#: Bytes a label that listing them takes: known, waiting and being sorted in.
_LISTED = 32


def open_label_raster(path: str, band: int | None = None) -> Raster:
    """Open a band of a label raster.

    Parameters
    ----------
    band : int or None
        1-based; None for the only one, or the first of the levels that `stcli segment` merged.

    Raises
    ------
    InputError
        Its values are no integers; it has several bands and none is named.
    """
    if band is None:
        _refuse_guess(path)
    raster = open_raster((path,), bands=(band or 1,))
    if raster.info.dtype.kind not in "iu":
        found = raster.info.dtype
        raster.close()
        raise InputError(f"{path}: {found} values found, integer labels wanted; write labels.")
    return raster


def _refuse_guess(path: str) -> None:
    """Refuse to guess which of several bands holds labels: the file may be the scene."""
    with open_raster((path,)) as raster:
        count = raster.info.count
        if count > 1 and MERGE not in raster.info.tags:
            raise InputError(
                f"{path}: {count} bands found, one of labels is wanted; "
                "name it with --segments-band, or give the label raster first."
            )


@contextmanager
def open_scene(inputs: Inputs | None, labels: Raster) -> Iterator[Raster | None]:
    """Open the scene of a label raster, where there is one.

    Raises
    ------
    InputError
        It is on another grid.
    """
    with nullcontext() if inputs is None else inputs.open() as scene:
        if scene is not None:
            refuse_other_grid(scene.info, labels.info)
        yield scene


def list_labels(raster: Raster, settings: RunSettings, progress: Progress) -> NDArray[np.int64]:
    """List the labels of a raster, rising: (label,).

    Raises
    ------
    InputError
        A label is negative, or there is none.
    BudgetError
        There are too many to keep.
    """
    path, known = raster.info.path, _Known((settings.memory or default_memory()) // 2)

    def sink(tile: Tile, distinct: NDArray[np.int64] | None) -> None:
        if distinct is not None:
            if distinct.size and distinct.min() < 0:
                raise InputError(
                    f"{path}: label {distinct.min()} found, labels from 1 wanted (0 for none); "
                    "renumber them."
                )
            known.add(distinct)

    own = raster.info.dtype.name
    code = f"from stcli.segmentation.numbering import rehearse; rehearse({own!r})"
    compile_apart(KERNELS, (code,), progress, (own,) * len(KERNELS))
    cost = Cost(read_pixel=raster.info.dtype.itemsize + 1 + 4 + 8)
    plan_pass(raster, cost, settings).run(_distinct, sink, "labels", progress)
    if not known.labels.size:
        raise InputError(f"{path}: no label found, at least one is wanted.")
    return known.labels


def _distinct(block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> NDArray[np.int64]:
    return np.sort(number(block[0])[1])


class _Known:
    """Labels seen so far, sorted now and then."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._sorted = np.empty(0, np.int64)
        self._waiting: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, distinct: NDArray[np.int64]) -> None:
        self._waiting.append(distinct)
        self._count += distinct.size
        if self._count > (1 << 16) + self._sorted.size:
            self._settle()
            if _LISTED * self._sorted.size > self._allowed:
                raise BudgetError(
                    f"memory: {self._sorted.size} labels and more need over "
                    f"{_LISTED * self._sorted.size / MB:.0f} MB, {self._allowed / MB:.0f} MB are "
                    "allowed for a list of them; make larger segments, or raise --memory."
                )

    def _settle(self) -> None:
        self._sorted = merged([self._sorted, *self._waiting])
        self._waiting, self._count = [], 0

    @property
    def labels(self) -> NDArray[np.int64]:
        self._settle()
        return self._sorted
