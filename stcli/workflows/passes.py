"""A budgeted pass over a raster: chosen within the memory budget, run, and told of."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from stcli.engine.journal import Header
from stcli.engine.memory import Budget, Cost, Grid, budget, threads_of
from stcli.engine.run import BlockFunction, Job, Sink, Source, Store, Tally, Workers, run, there
from stcli.engine.tiling import Tile
from stcli.engine.work import Kind, StripFunction
from stcli.errors import BudgetError
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.writing.finish import writer_bytes
from stcli.raster.writing.folder import SHARD
from stcli.raster.writing.output import OutputSpec
from stcli.raster.writing.publish import refuse_name, refuse_place
from stcli.settings import RunSettings
from stcli.workflows.deposit import shard_path
from stcli.workflows.pace import Pace, Progress

#: Reads of a pixel beyond which a run is told to be long.
_MUCH = 10


@dataclass(frozen=True)
class Pass:
    """A budgeted pass over a raster, ready to run.

    Attributes
    ----------
    source : Source
    budget : Budget
    scheduler : str
        As in `RunSettings`.
    """

    source: Source
    budget: Budget
    scheduler: str = "threads"

    def threads(self, settings: RunSettings) -> int:
        """Threads that each tile in flight may use, so that all of them do not exceed the jobs."""
        return max(1, threads_of(settings) // self.budget.jobs)

    def run(
        self,
        function: BlockFunction | StripFunction,
        sink: Sink,
        stage: str,
        progress: Progress,
        *,
        store: Store | None = None,
        tiles: Iterable[Tile] | None = None,
        done: int = 0,
    ) -> Tally:
        """Run a block function over all tiles, or over `tiles`; see `stcli.engine.work.Job`."""
        cache = self.budget.terms["gdal_cache"]
        os.environ.setdefault("GDAL_CACHEMAX", str(cache))  # GDAL reads it at first use
        job = Job(
            self.budget.plan,
            self.source,
            function,
            sink,
            Pace(progress, stage, math.prod(self.budget.plan.shape)),
            store,
            tiles,
            done,
        )
        return run(job, workers(self.scheduler, self.budget.jobs))

    def gather(self, function: BlockFunction, stage: str, progress: Progress) -> list[Any]:
        """Run a block function over all tiles; list what it returns, in the tiles' order."""
        found: dict[int, Any] = {}

        def sink(tile: Tile, result: Any) -> None:
            if result is not None:
                found[tile.index] = result

        self.run(function, sink, stage, progress)
        return [found[index] for index in sorted(found)]


def workers(scheduler: str, jobs: int) -> Workers:
    """Name who works, as `RunSettings.scheduler` says."""
    kinds: dict[str, Kind] = {
        "serial": "serial",
        "threads": "threads",
        "processes": "processes",
    }
    return Workers(kinds.get(scheduler, "cluster"), jobs, scheduler)


def writing(cost: Cost, specs: Sequence[OutputSpec]) -> Cost:
    """Add to a cost what finishing the outputs takes, one after the other."""
    return replace(cost, writer=max(map(writer_bytes, specs)))


class Planned(Source, Protocol):
    """A source that knows what raster it reads."""

    @property
    def info(self) -> RasterInfo:
        """The raster."""


def plan_pass(
    raster: Planned,
    cost: Cost,
    settings: RunSettings,
    halo: int = 0,
    align: int = 1,
    origin: tuple[int, int] | None = None,
) -> Pass:
    """Choose tiles for a raster within the memory budget.

    On a cluster of other machines the budget is that of each worker there.

    Parameters
    ----------
    raster : Raster, or what reads one
    halo, align : int
        See `TilePlan`.
    origin : (int, int), optional
        Where the raster's first pixel is on the lattice that `align` counts on; the CRS grid's by
        default.

    Raises
    ------
    BudgetError
    UsageError
        A scheduler that does not answer.
    """
    info = raster.info
    grid = Grid(info.shape, halo, align, origin or lattice_origin(info.geobox))
    held, place = info.held, there(settings)
    worker, once = (held.once, 0) if place.each else (0, held.once)
    cost = replace(
        cost,
        worker=cost.worker + held.thread + worker,
        once=cost.once + once,
        opened=held.opened,
    )
    chosen = budget(grid, cost, settings, place)
    if settings.tile_size and settings.tile_size != chosen.plan.tile_size:
        logging.getLogger("stcli").warning(
            "--tile-size %d: rounded up to %d, a multiple of %d",
            *(settings.tile_size, chosen.plan.tile_size, align),
        )
    _tell_waste(chosen, settings)
    return Pass(raster, chosen, settings.scheduler)


def _tell_waste(chosen: Budget, settings: RunSettings) -> None:
    """Tell that a small budget makes a run long: its tiles are small beside their halos."""
    if settings.tile_size is None and chosen.overcompute > _MUCH:
        logging.getLogger("stcli").warning(
            "memory: with tiles of %d px and halos of %d px each pixel is read %.0f times; "
            "a larger --memory allows larger tiles",
            *(chosen.plan.tile_size, chosen.plan.halo, chosen.overcompute),
        )


def plan_first(
    raster: Planned,
    cost: Cost,
    settings: RunSettings,
    halo: int = 0,
    align: int = 1,
    origin: tuple[int, int] | None = None,
) -> Pass:
    """Choose tiles for a first pass, whose result is the same for all tilings; see `plan_pass`.

    Those that are asked for are the outputs'; where they do not fit here, others are taken, and
    that is said.

    Raises
    ------
    BudgetError
    """
    try:
        return plan_pass(raster, cost, settings, halo, align, origin)
    except BudgetError:
        if settings.tile_size is None:
            raise
        free = plan_pass(raster, cost, replace(settings, tile_size=None), halo, align, origin)
        logging.getLogger("stcli").warning(
            "memory: a first pass with tiles of %d px does not fit, it takes tiles of %d px",
            *(settings.tile_size, free.budget.plan.tile_size),
        )
        return free


def planned(
    passes: Mapping[str, Pass],
    specs: Sequence[OutputSpec],
    shape: tuple[int, int],
    shard: tuple[int, int] | None = None,
    cubes: bool = False,
) -> dict[str, Any]:
    """Say what a command would do, for people and machines; its outputs must be writable.

    Parameters
    ----------
    passes : dict of str to Pass
        By stage, in their order.
    specs : sequence of OutputSpec
    shape : (int, int)
        Rows and columns of the outputs.
    shard : (int, int) or None
        Which shard of how many: it does its own tiles of the last pass, and all of those before.
    cubes : bool
        The outputs end as NetCDF, whatever their specifications say.

    Returns
    -------
    dict
        ``tasks`` in all; ``passes``, each with tiles, halo, workers and bytes by term; and
        ``outputs``, each with its shape (band, row, col) and bytes before compression.

    Raises
    ------
    UsageError, OutputError
    """
    told = [_describe(stage, work) for stage, work in passes.items()]
    mine = Header("", list(passes.values())[-1].budget.plan, shard or (1, 1))
    if not cubes:  # of shards, too: it is the name of what they become
        for spec in specs:
            refuse_name(spec.path, spec.driver)
    if shard is not None:
        specs = [replace(spec, path=shard_path(spec.path, shard)) for spec in specs]
        told[-1]["tiles"] = len(mine)
    for spec in specs:
        refuse_place(spec, None if shard is None else SHARD)
    return {
        "dry_run": True,
        "tasks": sum(work["tiles"] for work in told),
        "passes": told,
        "outputs": [_size(spec, shape, mine) for spec in specs],
    }


def _describe(stage: str, work: Pass) -> dict[str, Any]:
    chosen = work.budget
    return {
        "stage": stage,
        "tiles": len(chosen.plan),
        **_chosen(chosen),
        "scheduler": work.scheduler,
    }


def _size(spec: OutputSpec, shape: tuple[int, int], mine: Header) -> dict[str, Any]:
    cube = (len(spec.bands), *shape)
    size = math.prod(cube) * np.dtype(spec.dtype).itemsize
    if mine.shard != (1, 1):
        pixels = sum(tile.core.width * tile.core.height for tile in mine.tiles())
        size = size * pixels // math.prod(mine.plan.shape)
    return {"path": spec.path, "dtype": spec.dtype, "shape": list(cube), "bytes": size}


def _chosen(budget: Budget) -> dict[str, Any]:
    return {
        "tile_size": budget.plan.tile_size,
        "halo": budget.plan.halo,
        "jobs": budget.jobs,
        "overcompute": round(budget.overcompute, 3),
        "memory": {"predicted": budget.predicted, "allowed": budget.allowed, **budget.terms},
    }


def report(budget: Budget, tally: Tally, seconds: float) -> dict[str, Any]:
    """Say what ran, for people and machines."""
    return {
        "tiles": tally.tiles,
        "empty_tiles": tally.empty,
        **_chosen(budget),
        "seconds": round(seconds, 3),
    }
