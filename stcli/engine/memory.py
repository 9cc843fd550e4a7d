"""Memory, predicted before the run as a sum of named terms, and refused when it does not fit."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

from stcli.engine.machine import MB, default_memory, gdal_cache, processors, resident
from stcli.engine.tiling import TilePlan, aligned, whole
from stcli.errors import BudgetError
from stcli.settings import MOST_THREADS, RunSettings

#: Candidate tile sizes are multiples of this, and large ones of half the blocks of outputs, so
#: that cores meet the blocks of files.
_STEP, _BLOCK = 64, 256
#: A tile's own cost, in pixels: scheduling, a part of the output.
_TILE = 1 << 14
#: Terms that are not needed while tiles run, and those that are still needed afterwards.
_FINISHING = "writer"
_LASTING = ("program", "gdal_cache", "kernels", "once", _FINISHING)
#: A proposed budget is a multiple of this, and half of it larger: no two starts are alike in size.
_ROUND = 10 * MB
#: Tiles of which it is reckoned who takes which.
_FEW = 64
#: Nanoseconds in which the system finds and zeroes a byte that a worker's first tile needs; on some
#: virtual machines 2.
_FRESH = 0.3
#: A smaller tile is taken that makes the run this much longer at most: it takes less memory.
_NEAR = 1.02


@dataclass(frozen=True)
class Grid:
    """Where tiles may be cut.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the raster.
    halo, align : int
        As in `TilePlan`.
    origin : (int, int)
        As in `TilePlan`.
    """

    shape: tuple[int, int]
    halo: int = 0
    align: int = 1
    origin: tuple[int, int] = (0, 0)

    def plan(self, tile_size: int) -> TilePlan:
        """Tiles of a side of `tile_size` pixels, which is a multiple of `align`."""
        return TilePlan(self.shape, tile_size, self.halo, self.align, self.origin)


@dataclass(frozen=True)
class Cost:
    """What a verb needs, in bytes, as its workflow states it; and what its time goes into.

    Attributes
    ----------
    read_pixel, core_pixel : int
        Bytes a pixel of a tile's read window and of its core, at the peak of its block function.
    worker : int
        Bytes a tile in flight needs whatever its size.
    once : int
        Bytes needed once: accumulators, what is kept of all tiles.
    window : int
        Bytes that a model holds for a tile in flight: what it looks at at once.
    writer : int
        Bytes of the drivers' buffers while outputs are finished.
    kernels : int
        Bytes that compiled kernels, and the compiler that they come from, add to each process.
    pixel : float
        Nanoseconds that a pixel read takes a worker, about.
    toil : float
        Time of a core's pixel over that of a pixel read.
    completed : bool
        Tiles are completed beyond the raster's ends: what is read is as large there as elsewhere.
    strips : tuple of (int, int)
        What is held of some rows of a tile's read window alone: how many at most, and bytes for
        each of their pixels.
    opened : tuple of int
        Bytes that files hold which tiles in flight share: with one tile, two, three, …; the last
        for more. Each process has its own.
    """

    read_pixel: int
    core_pixel: int = 0
    worker: int = 0
    once: int = 0
    window: int = 0
    writer: int = 0
    kernels: int = 0
    pixel: float = 500.0
    toil: float = 0.0
    completed: bool = False
    strips: tuple[tuple[int, int], ...] = ()
    opened: tuple[int, ...] = ()


@dataclass(frozen=True)
class Budget:
    """A plan that fits: its tiles, its workers and its memory by term in bytes.

    Attributes
    ----------
    plan : TilePlan
    jobs : int
        Tiles at work at once; in a cluster of other machines', in each worker.
    terms : dict of str to int
    allowed : int
    """

    plan: TilePlan
    jobs: int
    terms: dict[str, int]
    allowed: int

    @property
    def predicted(self) -> int:
        """Predicted peak in bytes of all processes here; of a worker, where those are elsewhere."""
        return _peak(self.terms)

    @property
    def overcompute(self) -> float:
        """Pixels read over pixels answered for."""
        read = [self.plan.read_along(axis) for axis in (0, 1)]
        rows, cols = self.plan.shape
        return read[0] * read[1] / (rows * cols)


@dataclass(frozen=True)
class Place:
    """Where tiles run, as far as memory goes.

    Attributes
    ----------
    jobs : int
        Tiles at once, at most.
    allowed : int
        Bytes.
    each : bool
        Each tile at once has a process of its own, with program and GDAL's cache.
    program, cache : int
        Bytes of a process before it works, and of GDAL's block cache in it.
    waiting : int
        Finished results that may wait beside each tile at work for a writer elsewhere.
    """

    jobs: int
    allowed: int
    program: int
    cache: int
    each: bool = False
    waiting: int = 0


def here(settings: RunSettings) -> Place:
    """Place of a run on this machine."""
    allowed = settings.memory or default_memory()
    each = settings.scheduler in ("processes", "local")
    jobs = asked(settings) if each else threads_of(settings)
    jobs = 1 if settings.scheduler == "serial" else jobs
    return Place(jobs, allowed, resident(), gdal_cache(allowed), each)


def budget(grid: Grid, cost: Cost, settings: RunSettings, place: Place | None = None) -> Budget:
    """Choose tile size and workers so that the predicted memory fits.

    A tile size of the settings is rounded up to the grid's alignment. Without one, the size that
    finishes first is taken: fewest pixels read by the busiest worker, its cores' weighed by the
    toil, and its memory; or a smaller one that takes little longer.

    Raises
    ------
    BudgetError
        When no choice fits; names the bytes needed and allowed, and what would fit.
    """
    place = place or here(settings)
    jobs = place.jobs
    if settings.tile_size is None:
        workers = _fitting(grid, cost, place)
        if not workers:
            _refuse(grid, cost, replace(place, jobs=1), min(_candidates(grid)))
        lengths = {tile: _length(grid.plan(tile), cost, most) for tile, most in workers.items()}
        near = _NEAR * min(lengths.values())
        tile_size = min(tile for tile, length in lengths.items() if length <= near)
        jobs = workers[tile_size]
    else:
        tile_size = aligned(settings.tile_size or whole(grid.shape, grid.align), grid.align)
    plan = grid.plan(tile_size)
    terms = _terms(plan, cost, replace(place, jobs=jobs))
    if settings.tile_size is not None and _peak(terms) > place.allowed:
        _refuse(grid, cost, place, tile_size)
    return Budget(plan, min(jobs, len(plan)), terms, place.allowed)


def asked(settings: RunSettings) -> int:
    """Jobs that a run may have: as many as were asked for, or the processors."""
    return settings.jobs or processors()


def threads_of(settings: RunSettings) -> int:
    """Threads of one process that may work at once, of a run's jobs."""
    return min(asked(settings), MOST_THREADS)


def _terms(plan: TilePlan, cost: Cost, place: Place) -> dict[str, int]:
    """Bytes by name; those of other schedulers only where they are not nothing."""
    read, core = map(math.prod, _sides(plan, cost.completed))
    jobs = min(place.jobs, len(plan))
    terms = {
        "program": place.program,
        "gdal_cache": place.cache,
        "read": jobs * (read * cost.read_pixel + _strips(plan, cost)),
        "core": jobs * core * cost.core_pixel,
        "workers": jobs * cost.worker + _opened(cost, jobs, place.each),
        "window": jobs * cost.window,
        "writer": cost.writer,
        "once": cost.once,
        "kernels": cost.kernels,
    }
    if place.each:
        program = place.program + cost.kernels
        terms |= {"worker_programs": jobs * program, "worker_caches": jobs * place.cache}
    if place.waiting:
        terms["waiting"] = place.waiting * jobs * core * cost.core_pixel
    return terms


def _peak(terms: dict[str, int]) -> int:
    """Sum of the terms of the phase that needs more: tiles at work, or outputs being finished."""
    work = sum(size for name, size in terms.items() if name != _FINISHING)
    return max(work, sum(terms[name] for name in _LASTING))


def _opened(cost: Cost, jobs: int, each: bool) -> int:
    """Bytes of the files that so many tiles in flight share, or in processes do not."""
    if not cost.opened or not jobs:
        return 0
    return jobs * cost.opened[0] if each else cost.opened[min(jobs, len(cost.opened)) - 1]


def _strips(plan: TilePlan, cost: Cost) -> int:
    """Bytes of what is held of some rows of a tile."""
    (rows, cols), _ = _sides(plan, cost.completed)
    return cols * sum(min(some, rows) * size for some, size in cost.strips)


def _sides(plan: TilePlan, completed: bool = False) -> tuple[list[int], list[int]]:
    """Rows and columns that a tile reads, or what is read is completed to, and answers for."""
    core = [min(plan.tile_size, size) for size in plan.shape]
    read = [side + 2 * plan.halo for side in core]
    if not completed:
        read = [min(side, size) for side, size in zip(read, plan.shape, strict=True)]
    return read, core


def _fitting(grid: Grid, cost: Cost, place: Place) -> dict[int, int]:
    """Tile sizes that fit, each with the most workers, the place's or fewer, that fit with it."""
    workers = {}
    for tile in _candidates(grid):
        plan = grid.plan(tile)
        if most := _most(plan, cost, replace(place, jobs=min(place.jobs, len(plan)))):
            workers[tile] = most
    return workers


def _most(plan: TilePlan, cost: Cost, place: Place) -> int:
    """Give the most workers, the place's or fewer, that fit with tiles of a size; 0 for none."""
    for jobs in range(place.jobs, 0, -1):
        if _peak(_terms(plan, cost, replace(place, jobs=jobs))) <= place.allowed:
            return jobs
    return 0


def _candidates(grid: Grid) -> list[int]:
    largest = whole(grid.shape, grid.align)
    sizes = {*range(_STEP, min(_BLOCK, largest), _STEP), *range(_BLOCK, largest, _BLOCK)}
    least = max(grid.align, _STEP // grid.align * grid.align)
    return sorted({aligned(size, grid.align) for size in sizes} | {least, largest})


def _length(plan: TilePlan, cost: Cost, jobs: int) -> float:
    """Estimate how long a run takes: pixels of the busiest worker, tiles and cores weighed.

    Whoever is free takes the next tile. Of many tiles no worker ends much before another. Memory
    is new to a worker's first tile alone.
    """
    read, core = map(math.prod, _sides(plan, cost.completed))
    held = read * cost.read_pixel + core * cost.core_pixel + _strips(plan, cost)
    fresh = _FRESH / cost.pixel * held
    around = 2 * plan.halo
    if len(plan) > _FEW:
        largest = _weight(read, core, cost)
        read = plan.read_along(0) * plan.read_along(1)
        if cost.completed:
            sides = zip(plan.shape, plan.grid, strict=True)
            read = math.prod(size + around * count for size, count in sides)
        everything = read + cost.toil * math.prod(plan.shape) + len(plan) * _TILE
        return fresh + everything / jobs + largest * (jobs - 1) / jobs
    ends = [0.0] * jobs
    for tile in plan:
        read, core = (int(window.height * window.width) for window in (tile.read, tile.core))
        if cost.completed:
            read = int((tile.core.height + around) * (tile.core.width + around))
        heapq.heapreplace(ends, ends[0] + _weight(read, core, cost))
    return fresh + max(ends)


def _weight(read: int, core: int, cost: Cost) -> float:
    """How long a tile of so many pixels, read and core, takes."""
    return read + cost.toil * core + _TILE


def _refuse(grid: Grid, cost: Cost, place: Place, tile_size: int) -> None:
    needed = _peak(_terms(grid.plan(tile_size), cost, place))
    workers = _fitting(grid, cost, place)
    jobs = place.jobs
    fits = [tile for tile, most in workers.items() if most == min(jobs, len(grid.plan(tile)))]
    hint = f"--tile-size {max(fits)} would fit" if fits else "no tile size fits"
    if not fits and workers:
        hint = f"--jobs {max(workers.values())} would fit with smaller tiles"
    enough = _enough(grid.plan(tile_size), cost, place) // MB
    raise BudgetError(
        f"memory: tiles of {tile_size} px with {jobs} jobs need {needed / MB:.0f} MB, "
        f"{place.allowed / MB:.0f} MB are allowed; {hint} (--memory {enough}MB would do)."
    )


def _enough(plan: TilePlan, cost: Cost, place: Place) -> int:
    """Bytes that, if allowed, let such tiles fit: GDAL's cache grows with what is allowed."""
    allowed, needed = 0, _peak(_terms(plan, cost, place))
    while needed + _ROUND // 2 > allowed:
        allowed = math.ceil((needed + _ROUND // 2) / _ROUND) * _ROUND
        needed = _peak(_terms(plan, cost, replace(place, cache=gdal_cache(allowed))))
    return allowed
