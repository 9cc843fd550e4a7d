"""Spawned processes that work on tiles, one each; one that dies costs its tile another try.

Never forked: torch's and numba's threads do not survive a fork. Each process uses one thread of
GDAL, torch, numba and BLAS, and ends when its parent does, however that ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from stcli.engine.tiling import Tile
from stcli.engine.work import ATTEMPTS, Failure, Work, sendable
from stcli.errors import UsageError

#: One thread each in a process that works on tiles: as many processes run as may use a processor.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "GDAL_NUM_THREADS": "1",
}
Take = Callable[[Tile, Any], None]
#: Seconds between looks for a signal that another thread was given.
_HEED = 0.2


def processes(tiles: Iterable[Tile], work: Work, take: Take, jobs: int) -> list[Failure]:
    """Work on tiles in `jobs` spawned processes.

    Returns
    -------
    list of (Tile, str)
        Tiles of which `ATTEMPTS` workers died, and how. When workers die without doing
        any tile between them, the rest is not tried.

    Raises
    ------
    UsageError
        The work cannot leave this process.
    """
    with _Crew(work, jobs) as crew:
        queue = iter(tiles)
        while crew.busy or crew.idle:
            crew.feed(queue)
            if not crew.busy:
                break
            for tile, found in crew.collect():
                take(tile, found)
    return crew.failed


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self.tile: Tile | None = None
        with one_thread():
            self.process.start()
        theirs.close()

    def end(self) -> None:
        self.process.terminate()
        self.pipe.close()
        self.process.join(1)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.process.close()


class _Crew:
    """The processes, the tiles that they are at, and those to be tried again."""

    def __init__(self, work: Work, jobs: int) -> None:
        self.work, self.jobs = work, jobs
        self.failed: list[Failure] = []
        self.idle: list[_Worker] = []
        self.busy: dict[Connection, _Worker] = {}
        self._again: list[Tile] = []
        self._deaths: dict[int, int] = {}
        self._in_vain = 0

    def __enter__(self) -> _Crew:
        try:
            ForkingPickler.dumps(self.work)
        except Exception as error:
            raise UsageError(
                f"--scheduler processes: this step cannot leave its process ({error}); "
                "threads are wanted"
            ) from error
        for _ in range(self.jobs):
            self.idle.append(_Worker(self.work))
        return self

    def __exit__(self, *error: object) -> None:
        for worker in (*self.idle, *self.busy.values()):
            worker.process.terminate()  # all at once, then one after the other
        for worker in (*self.idle, *self.busy.values()):
            worker.end()

    def feed(self, tiles: Iterator[Tile]) -> None:
        """Give each idle process a tile."""
        while self.idle:
            tile = self._again.pop() if self._again else next(tiles, None)
            if tile is None:
                return
            worker = self.idle.pop()
            worker.tile = tile
            self.busy[worker.pipe] = worker
            with contextlib.suppress(OSError):  # it died idle: `collect` finds out
                worker.pipe.send(tile)

    def collect(self) -> Iterator[tuple[Tile, Any]]:
        """Wait for tiles that are done, and replace the dead."""
        for pipe in wait(list(self.busy), _HEED):
            worker = self.busy.pop(pipe)  # type: ignore[call-overload]
            tile, worker.tile = worker.tile, None
            try:
                fine, found = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker, tile)
                continue
            self.idle.append(worker)
            if not fine:
                raise found
            self._in_vain = 0
            yield tile, found

    def _bury(self, worker: _Worker, tile: Tile) -> None:
        worker.process.join()
        how = f"a worker {_ending(worker.process.exitcode)}"
        worker.end()
        deaths = self._deaths[tile.index] = self._deaths.get(tile.index, 0) + 1
        self._in_vain += 1
        if deaths < ATTEMPTS:
            self._again.append(tile)
        else:
            self.failed.append((tile, f"{how}, {deaths} times"))
        if self._in_vain < ATTEMPTS * (self.jobs + 1):
            self.idle.append(_Worker(self.work))
        elif self._again:
            self.failed += [(tile, f"{how}, and so did all others") for tile in self._again]
            self._again = []


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let processes started here find variables that hold them to one thread."""
    kept = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, work: Work) -> None:
    """Do tiles until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            tile = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_answer(work, tile))


def _answer(work: Work, tile: Tile) -> tuple[bool, Any]:
    try:
        return True, work(tile)
    except Exception as error:
        return False, sendable(error)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
