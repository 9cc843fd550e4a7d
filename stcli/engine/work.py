"""What crosses the walls of the engine: the steps of a tile, a pass made of them, who works.

An algorithm gives a *block function* ``f(block, valid, where) -> result``: `block`
(band, row, col) and `valid` (row, col) over ``where.read``, and a result that the store, or the
sink, of the workflow understands. Where a source tells bands apart, `valid` may be
(band, row, col); then a tile is empty where no band has a valid pixel.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.engine.tiling import Tile, TilePlan

#: Workers that may die of one tile before it counts as failed.
ATTEMPTS = 3

Kind = Literal["serial", "threads", "processes", "cluster"]


class Source(Protocol):
    """What the engine reads from."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return values (band, row, col) and validity (row, col) of a window; or of each band."""


class BlockFunction(Protocol):
    """An algorithm on one tile."""

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        """Answer for ``where.core``."""


#: Whole rows of a tile's core (band, row, col), and whether a pixel of them is valid.
Strip = tuple[NDArray[Any], bool]


@runtime_checkable
class StripFunction(Protocol):
    """An algorithm that reads a tile bit by bit, and answers for it strip by strip."""

    def strips(self, source: Source, where: Tile) -> Iterator[Strip]:
        """Answer for ``where.core`` from the top; a strip's memory is lost with the next."""


class Store(Protocol):
    """Puts the result of a tile where it stays; any thread may call it, it can be pickled.

    A store with an attribute ``anywhere`` that is true writes to a place that all workers of a
    cluster see; any other is called in the client when the workers are on other machines.
    """

    def __call__(self, tile: Tile, result: Any) -> Any:
        """Store a tile's result; return the answer, what the sink must know about it."""

    def strips(self, tile: Tile, strips: Iterator[Strip]) -> Any:
        """Store a tile of one array strip by strip; None where no pixel is valid."""


Sink = Callable[[Tile, Any], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Tally:
    """What ran: tiles in all, and those skipped because no pixel of them is valid."""

    tiles: int
    empty: int


@dataclass(frozen=True)
class Job:
    """One pass over a raster.

    Attributes
    ----------
    plan : TilePlan
    source : Source
    function : BlockFunction or StripFunction
        Called for each tile that has a valid pixel, or gives the strips of any.
    sink : callable
        ``sink(tile, answer)``; `answer` is what `store` returned, or without one the function's
        result, None for a tile without a valid pixel. Calls never overlap; their order is not
        fixed, so a sink must not depend on it.
    progress : callable
        ``progress(done, total)`` in tiles.
    store : callable or None
        ``store(tile, result)``, called where the tile runs, several at once, for tiles with a
        valid pixel.
    tiles : iterable of Tile or None
        Those of the plan that are to be done; None for all. Drawn as they are needed.
    done : int
        Tiles that were done already; progress counts on from there.
    """

    plan: TilePlan
    source: Source
    function: BlockFunction | StripFunction
    sink: Sink
    progress: Progress = lambda done, total: None
    store: Store | None = None
    tiles: Iterable[Tile] | None = None
    done: int = 0

    @property
    def work(self) -> Work:
        """The steps of a tile that may run anywhere."""
        return Work(self.source, self.function, self.store)


@dataclass(frozen=True)
class Workers:
    """Who works.

    Attributes
    ----------
    kind : str
        ``"serial"`` (one tile after the other in the calling thread: the reference),
        ``"threads"``, ``"processes"`` (spawned) or ``"cluster"`` (``dask.distributed``).
    jobs : int
        Tiles at work at once, in a cluster of others' too many are queued at its workers.
    address : str
        Of a cluster's scheduler; ``"local"`` starts one on this machine.
    """

    kind: Kind = "threads"
    jobs: int = 1
    address: str = "local"


@dataclass(frozen=True)
class Work:
    """Read, function, store: a tile in, an answer and whether the tile is empty out."""

    source: Source
    function: BlockFunction | StripFunction
    store: Store | None = None

    def __call__(self, tile: Tile) -> tuple[Any, bool]:
        """Do a tile."""
        if isinstance(self.function, StripFunction):
            found = self.function.strips(self.source, tile)
            result = _joined(found) if self.store is None else self.store.strips(tile, found)
            return result, result is None
        block, valid = self.source.read(tile.read)
        empty = not valid[(..., *tile.trim)].any()
        result = None if empty else self.function(block, valid, tile)
        del block, valid  # what is stored may take as much again
        if not empty and self.store is not None:
            result = self.store(tile, result)
        return result, empty


def sendable(error: Exception) -> Exception:
    """Put an error's trace into a note: what it was caused by may not come through a pickle."""
    error.add_note(f"in a worker:\n{traceback.format_exc()}")
    error.__cause__ = error.__context__ = None
    return error


def _joined(strips: Iterator[Strip]) -> list[NDArray[Any]] | None:
    """Join a tile's strips to one array, in a list; None where no pixel is valid."""
    rows, valid = zip(*((rows.copy(), valid) for rows, valid in strips), strict=True)
    return [np.concatenate(rows, axis=1)] if any(valid) else None


#: A tile that failed, and how.
Failure = tuple[Tile, str]
