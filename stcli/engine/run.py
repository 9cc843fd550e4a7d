"""Running the steps of a tile over all tiles: the serial reference, threads, and what is elsewhere.

The steps of a tile are read, function and store, all where the tile runs: in this process's
threads, in a spawned process or on a cluster's worker. The sink is always called here. So pixels
need not travel, and are packed by as many processors as make them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stcli.engine.memory import Place, here
from stcli.engine.tiling import Tile
from stcli.engine.work import (
    BlockFunction,
    Failure,
    Job,
    Sink,
    Source,
    Store,
    Tally,
    Work,
    Workers,
)
from stcli.errors import TilesError
from stcli.settings import RunSettings

__all__ = [
    "BlockFunction",
    "Job",
    "Sink",
    "Source",
    "Store",
    "Tally",
    "Work",
    "Workers",
    "run",
    "serial",
    "there",
    "threads",
]

#: Seconds that an interrupted run waits for the tiles in flight.
GRACE = 3.0
#: Seconds between looks for a signal that another thread was given.
_HEED = 0.2
#: Tiles that the message about failed ones lists.
_LISTED = 20


def run(job: Job, jobs: int | Workers = 1) -> Tally:
    """Run a job.

    Parameters
    ----------
    job : Job
    jobs : int or Workers
        A number of threads, 1 for none; or who works.

    Returns
    -------
    Tally
        Of the tiles that were run.

    Raises
    ------
    TilesError
        Tiles of which workers died, after all others are done; a scheduler that does not answer,
        or went away.
    UsageError
        Work that cannot leave this process.
    """
    how = jobs if isinstance(jobs, Workers) else Workers("serial" if jobs == 1 else "threads", jobs)
    ledger = _Ledger(job)
    tiles = job.plan if job.tiles is None else job.tiles
    with ledger:
        if how.kind == "serial":
            serial(tiles, ledger.work)
        elif how.kind == "threads":
            threads(tiles, ledger.work, how.jobs)
        else:
            refuse_failed(_away(tiles, job, ledger, how))
    return Tally(ledger.done, ledger.empty)


def serial(tiles: Iterable[Tile], work: Callable[[Tile], None]) -> None:
    """Work on tiles one after the other: the reference."""
    for tile in tiles:
        work(tile)


def threads(tiles: Iterable[Tile], work: Callable[[Tile], None], jobs: int) -> None:
    """Work on tiles in threads that draw one after the other from `tiles`.

    An error surfaces after the tiles in flight have ended: none works on closed files. An
    interrupt waits for them `GRACE` seconds.
    """
    team = _Team(iter(tiles), work)
    crew = [threading.Thread(target=team.toil, daemon=True) for _ in range(jobs)]
    try:
        for thread in crew:
            thread.start()
        for thread in crew:
            while thread.is_alive():
                thread.join(_HEED)
    except BaseException:
        team.stopped = True
        until = time.monotonic() + GRACE
        for thread in filter(threading.Thread.is_alive, crew):
            thread.join(max(0.0, until - time.monotonic()))
        raise
    if team.error is not None:
        raise team.error


def there(settings: RunSettings) -> Place:
    """Place where the tiles of a run would be, as the settings say.

    Raises
    ------
    UsageError
        A scheduler that does not answer.
    """
    if "://" not in settings.scheduler:
        return here(settings)
    from stcli.engine.cluster import place

    return place(settings)


def refuse_failed(failed: list[Failure]) -> None:
    """Raise `TilesError` with a list of the tiles that failed, if any did."""
    if not failed:
        return
    tiles = sorted((tile for tile, _ in failed), key=lambda tile: tile.index)
    listed = ", ".join(
        f"{tile.index} (column {tile.core.col_off}, row {tile.core.row_off})"
        for tile in tiles[:_LISTED]
    )
    more = f" and {len(tiles) - _LISTED} more" if len(tiles) > _LISTED else ""
    raise TilesError(
        f"{len(tiles)} of the tiles failed: {listed}{more}; {failed[0][1]}. Memory may have "
        "run out there: give a smaller --tile-size or --memory, or fewer --jobs"
    )


def _away(tiles: Iterable[Tile], job: Job, ledger: _Ledger, how: Workers) -> list[Failure]:
    """Run tiles in other processes; return those that failed, each with its reason."""
    if how.kind == "processes":
        from stcli.engine.processes import processes

        return processes(tiles, job.work, ledger.take, how.jobs)
    from stcli.engine.cluster import cluster

    return cluster(tiles, job, ledger.take, how)


class _Team:
    """Threads that draw tiles until there are none, one has failed, or all were stopped."""

    def __init__(self, tiles: Iterator[Tile], work: Callable[[Tile], None]) -> None:
        self.tiles, self.work = tiles, work
        self.error: BaseException | None = None
        self.stopped = False
        self._lock = threading.Lock()

    def toil(self) -> None:
        try:
            while (tile := self._draw()) is not None:
                self.work(tile)
        except BaseException as error:
            self.error = self.error or error

    def _draw(self) -> Tile | None:
        with self._lock:
            if self.stopped or self.error is not None:
                return None
            return next(self.tiles, None)


class _Ledger:
    """What is done: tells the sink and counts, one tile at a time, until it is closed."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done = self.empty = 0
        self._work, self._total = job.work, len(job.plan)
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> _Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._closed = True

    def work(self, tile: Tile) -> None:
        """Do a tile and book it."""
        self.take(tile, self._work(tile))

    def take(self, tile: Tile, found: tuple[Any, bool]) -> None:
        """Book what a tile gave."""
        answer, empty = found
        with self._lock:
            if self._closed:
                return  # a tile that ended after an interrupt
            self.job.sink(tile, answer)
            self.done += 1
            self.empty += empty
            self.job.progress(self.job.done + self.done, self._total)
