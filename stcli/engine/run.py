"""Running a block function over tiles: a serial reference and dask's threads beside it.

What crosses the wall between an algorithm and the engine is a *block function*
``f(block, valid, where) -> result``: `block` (band, row, col) and `valid` (row, col) over
``where.read``, and a result that the sink of the workflow understands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.engine.tiling import Tile, TilePlan

#: Tiles handed to dask at a time, for each worker: the graph stays small whatever the raster.
_BATCH = 32


class Source(Protocol):
    """What the engine reads from."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return (band, row, col) values and (row, col) validity of a window."""


class BlockFunction(Protocol):
    """An algorithm on one tile."""

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        """Answer for ``where.core``."""


Sink = Callable[[Tile, Any], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One pass over a raster.

    Attributes
    ----------
    plan : TilePlan
    source : Source
    function : BlockFunction
        Called for each tile that has a valid pixel.
    sink : callable
        ``sink(tile, result)``; `result` is None for a tile without a valid pixel. Calls never
        overlap; their order is not fixed, so a sink must not depend on it.
    progress : callable
        ``progress(done, total)`` in tiles.
    """

    plan: TilePlan
    source: Source
    function: BlockFunction
    sink: Sink
    progress: Progress = lambda done, total: None


@dataclass(frozen=True)
class Tally:
    """What ran: tiles in all, and those skipped because no pixel of them is valid."""

    tiles: int
    empty: int


def run(job: Job, jobs: int = 1) -> Tally:
    """Run a job with `jobs` tiles in flight.

    Returns
    -------
    Tally
    """
    counter = _Counter(job)
    if jobs == 1:
        serial(job.plan, counter.work)
    else:
        threads(job.plan, counter.work, jobs)
    return Tally(len(job.plan), counter.empty)


def serial(tiles: Iterable[Tile], work: Callable[[Tile], None]) -> None:
    """Work on tiles one after the other: the reference."""
    for tile in tiles:
        work(tile)


def threads(tiles: Iterable[Tile], work: Callable[[Tile], None], jobs: int) -> None:
    """Work on tiles in dask's threads, a bounded graph at a time.

    An error surfaces after the tiles in flight have ended: none works on closed files.
    """
    from dask.threaded import get

    queue = iter(tiles)
    with ThreadPoolExecutor(jobs) as pool:
        while batch := list(islice(queue, jobs * _BATCH)):
            graph = {("tile", tile.index): (work, tile) for tile in batch}
            get(graph, list(graph), pool=pool)


class _Counter:
    """The steps of one tile, and how many are done."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done = 0
        self.empty = 0
        self._lock = threading.Lock()

    def work(self, tile: Tile) -> None:
        block, valid = self.job.source.read(tile.read)
        empty = not valid[tile.trim].any()
        result = None if empty else self.job.function(block, valid, tile)
        with self._lock:
            self.job.sink(tile, result)
            self.done += 1
            self.empty += empty
            self.job.progress(self.done, len(self.job.plan))
