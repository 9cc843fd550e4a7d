"""Workers of ``dask.distributed``, on this machine or elsewhere, that work on tiles.

Tiles are submitted in bounded numbers, one task each; the steps of a tile are sent to each
worker once, and to workers that join later. A worker that dies is the scheduler's to replace, and
its tiles go to another.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from itertools import islice
from typing import Any

import dask
import distributed

from stcli import __version__
from stcli.engine.machine import default_memory, gdal_cache, resident
from stcli.engine.memory import Place
from stcli.engine.processes import ONE_THREAD
from stcli.engine.tiling import Tile
from stcli.engine.work import ATTEMPTS, Failure, Job, Work, Workers, sendable
from stcli.errors import StcliError, TilesError, UsageError
from stcli.settings import RunSettings

#: Tiles submitted for each thread of the workers: one at work, the next ones at hand.
_AHEAD = 3
#: Share of a worker's memory limit that tiles may take: dask spills and pauses above.
_USABLE = 0.6
#: Seconds for a scheduler to answer, and for its first worker to come.
_ANSWER, _FIRST_WORKER = 10, 120
#: A task of tiles that took fewer seconds may be of more tiles, up to so many.
_QUICK, _MANY = 0.05, 32
#: Seconds between questions how many workers there are.
_ASK = 2.0
Take = Callable[[Tile, Any], None]
#: Its functions bear no types.
_dask: Any = distributed


def cluster(tiles: Iterable[Tile], job: Job, take: Take, how: Workers) -> list[Failure]:
    """Work on tiles in a cluster.

    Returns
    -------
    list of (Tile, str)
        Tiles that killed one worker after another.

    Raises
    ------
    UsageError
        stcli is not the same there, or the work cannot be sent.
    TilesError
        No scheduler answers, or no worker comes, any more.
    """
    here = how.address == "local"
    there = job.store is None or here or getattr(job.store, "anywhere", False)
    work = job.work if there else replace(job.work, store=None)
    with (
        connected(how, TilesError) as client,
        _mourned(client, how),
        _sent(client, work, here) as name,
    ):
        rounds = _Rounds(client, name, small=there)
        with _mortal(client.cluster) if here else contextlib.nullcontext():
            if there:
                return rounds.run(iter(tiles), take)
            return rounds.run(iter(tiles), lambda tile, got: take(tile, _stored(job, tile, got)))


def _stored(job: Job, tile: Tile, got: tuple[Any, bool]) -> tuple[Any, bool]:
    """Store a result that came from a worker."""
    result, empty = got
    return (result if empty or job.store is None else job.store(tile, result)), empty


@contextlib.contextmanager
def connected(how: Workers, unanswered: type[StcliError] = UsageError) -> Iterator[Any]:
    """Connect to a scheduler, or start one with `how.jobs` single-threaded workers.

    Parameters
    ----------
    how : Workers
    unanswered : type
        What is raised where nothing answers at the address. Where it did when the run was planned
        the command is not to blame, and finished tiles are of use.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_settings()))
        heard = max(logging.getLogger().level, logging.WARNING)
        logging.getLogger("distributed").setLevel(heard)  # it speaks of all it does
        where: Any = how.address
        if how.address == "local":
            where = stack.enter_context(_local(how.jobs))
        try:
            client = stack.enter_context(_dask.Client(where, timeout=_ANSWER, set_as_default=False))
            client.wait_for_workers(1, timeout=_FIRST_WORKER)
        except (OSError, ValueError, TimeoutError) as error:
            raise unanswered(
                f"--scheduler {how.address}: no scheduler with workers answers ({error}); "
                "wanted local, or the address of one that runs, such as tcp://host:8786"
            ) from error
        yield client


@contextlib.contextmanager
def _mourned(client: Any, how: Workers) -> Iterator[None]:
    """Tell a scheduler, or a worker, that goes away from a fault of the command, or a bug."""
    try:
        yield
    except StcliError:
        raise
    except Exception as error:
        if client.status == "running" and not isinstance(error, _dask.comm.CommClosedError):
            raise
        told = next(iter(str(error).splitlines()), type(error).__name__)  # dask may add its message
        raise TilesError(
            f"--scheduler {how.address}: it went away while tiles were at work ({told}); the same "
            "command continues when one runs there again"
        ) from error


def place(settings: RunSettings) -> Place:
    """Ask a scheduler what the smallest of its workers may use for tiles.

    A worker's tiles share the memory that dask lets it use before it pauses, or `--memory`.
    """
    with connected(Workers("cluster", 1, settings.scheduler)) as client:
        found = list(client.scheduler_info()["workers"].values())
        programs = client.run(resident).values()
    threads = max(worker["nthreads"] for worker in found)
    limits = [worker["memory_limit"] * _USABLE for worker in found if worker["memory_limit"]]
    allowed = settings.memory or round(min(limits, default=default_memory()))
    return Place(threads, allowed, max(programs), gdal_cache(allowed), waiting=_AHEAD)


def _local(jobs: int) -> Any:
    return _dask.LocalCluster(
        n_workers=jobs,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        memory_limit=0,  # the plan has seen to it
        silence_logs=50,
    )


@contextlib.contextmanager
def _mortal(cluster: Any) -> Iterator[None]:
    """Have the workers of a cluster on this machine die of an error here, a tile or no tile.

    Asked to close, a worker would end its tile first.
    """
    try:
        yield
    except BaseException:
        for nanny in cluster.workers.values():
            nanny.close_gracefully()  # a worker that is gone is not made anew
            if nanny.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)
        raise


def _settings() -> dict[str, Any]:
    held = ONE_THREAD | {"GDAL_CACHEMAX": os.environ.get("GDAL_CACHEMAX", "")}
    return {
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.nanny.environ": {name: text for name, text in held.items() if text},
        "distributed.comm.timeouts.connect": f"{_ANSWER}s",
    }


@contextlib.contextmanager
def _sent(client: Any, work: Work, here: bool) -> Iterator[str]:
    """Send the steps of a tile to all workers; yield their name there."""
    name = f"stcli-{uuid.uuid4().hex}"
    _refuse_others(client)
    try:
        client.register_plugin(_Kept(work, here), name)
    except OSError:  # the scheduler's end, not the step's
        raise
    except Exception as error:
        raise UsageError(
            f"--scheduler: this step cannot be sent to the workers ({error}); threads are wanted"
        ) from error
    try:
        yield name
    finally:
        with contextlib.suppress(Exception):  # of who went away
            client.unregister_worker_plugin(name)


def _refuse_others(client: Any) -> None:
    """Refuse workers without this version of stcli."""
    try:
        found = client.run(version)
    except OSError:  # the scheduler's end, or a worker's
        raise
    except Exception as error:
        raise UsageError(
            f"--scheduler: stcli does not run on the workers ({error}); install {__version__} there"
        ) from error
    for worker, other in found.items():
        if other != __version__:
            raise UsageError(
                f"--scheduler: the worker {worker} has stcli {other}, {__version__} is wanted there"
            )


def version() -> str:
    """Tell the version of stcli on a worker."""
    return __version__


class _Kept(distributed.WorkerPlugin):
    """The steps of a tile, kept by each worker."""

    def __init__(self, work: Work, here: bool) -> None:
        self.work, self.here = work, here

    def setup(self, worker: Any) -> None:
        """Leave Ctrl-C to the client where it reaches the workers too."""
        if self.here and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def do(name: str, tiles: Sequence[Tile]) -> tuple[list[tuple[Any, bool]], float]:
    """Do tiles on a worker, one after the other; also tell the seconds that took."""
    kept: _Kept = _dask.get_worker().plugins[name]
    begun = time.perf_counter()
    try:
        return [kept.work(tile) for tile in tiles], time.perf_counter() - begun
    except Exception as error:
        raise sendable(error) from None


def _fetched(future: Any) -> Any:
    """Fetch the result of a task that is done, or its error; None for one that was lost."""
    if future.status == "error":
        return None, future.exception(), None
    return future.result() if future.status == "finished" else None


class _Rounds:
    """Submit tiles as others end, and no more than the workers need.

    A task is one tile, and several where tiles take next to no time. Answers that are not `small`
    stay with the workers until they are fetched, one at a time. Tiles of a worker that died again
    and again, be it by one of its other tiles, are tried once more, each alone.
    """

    def __init__(self, client: Any, name: str, small: bool) -> None:
        self.client, self.name, self.small = client, name, small
        self.running = _dask.as_completed(loop=client.loop, with_results=small, raise_errors=False)
        self.tiles: dict[str, Sequence[Tile]] = {}
        self.failed: list[Failure] = []
        self._suspects: list[Tile] = []
        self._many = 1
        self._threads, self._asked = 0, -math.inf

    def run(self, tiles: Iterator[Tile], take: Take) -> list[Failure]:
        """Run all tiles."""
        self._submit(tiles)
        for batch in self.running.batches():
            for each in batch:
                future, found = each if self.small else (each, _fetched(each))
                self._book(self.tiles.pop(future.key), future.status, found, take)
            self._submit(tiles)
        for tile in self._suspects:
            self._try_alone(tile, take)
        return self.failed

    def _submit(self, tiles: Iterator[Tile]) -> None:
        for _ in range(self._room() - len(self.tiles)):
            if not (some := tuple(islice(tiles, self._many))):
                return
            key = f"{self.name}-{some[0].index}"
            self.tiles[key] = some
            self.running.add(self._task(key, some))

    def _task(self, key: str, tiles: Sequence[Tile]) -> Any:
        return self.client.submit(do, self.name, tiles, key=key, pure=False)

    def _room(self) -> int:
        """Tasks that may be submitted at once; workers come and go, so ask now and then."""
        if time.monotonic() - self._asked > _ASK:
            self._asked = time.monotonic()
            self._threads = sum(self.client.nthreads().values())
        return _AHEAD * max(1, self._threads)

    def _book(self, tiles: Sequence[Tile], status: str, found: Any, take: Take) -> None:
        if status == "error" and not isinstance(found[1], distributed.KilledWorker):
            raise found[1]
        if status != "finished":  # workers died, or the scheduler has lost it
            self._suspects += tiles
            return
        answers, seconds = found
        for tile, answer in zip(tiles, answers, strict=True):
            take(tile, answer)
        if self.small:
            more = 2 * self._many if seconds < _QUICK else self._many
            self._many = max(1, min(more, _MANY) if seconds < 4 * _QUICK else self._many // 2)

    def _try_alone(self, tile: Tile, take: Take) -> None:
        future = self._task(f"{self.name}-{tile.index}-alone", (tile,))
        try:
            (answer,), _ = future.result()
        except (distributed.KilledWorker, CancelledError):
            self.failed.append((tile, f"{ATTEMPTS} workers died of it"))
        else:
            take(tile, answer)
