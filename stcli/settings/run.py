"""How a job runs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from stcli.settings.checking import check

#: Who may work on tiles; the address of a cluster's scheduler beside them.
SCHEDULERS = ("threads", "processes", "serial", "local")
#: Threads that work at once in one process, however many are asked for: more are no faster, and
#: each may need two files of its own kept open (`stcli.raster.reading.gdalsource`).
MOST_THREADS = max(6, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True)
class RunSettings:
    """How a job runs; none of it may change a result.

    Attributes
    ----------
    tile_size : int or None
        Side of a tile's core in pixels; 0 for the whole raster as one tile; None lets the
        planner take the size that finishes first within the memory budget.
    memory : int or None
        Memory budget in bytes; None for half of what the container may use.
    jobs : int or None
        Tiles in flight at once; None for the processors that this process may use. Threads are
        no more than `MOST_THREADS`.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``, where networks run.
    scan : str or None
        ``"cpu"``, ``"cuda"`` or ``"reference"`` to force what runs the selective scan.
    scheduler : str
        Who works on tiles: ``"threads"``, ``"processes"``, ``"serial"``, ``"local"`` (a
        ``dask.distributed`` cluster on this machine), or the address of such a scheduler.
    """

    tile_size: int | None = None
    memory: int | None = None
    jobs: int | None = None
    device: str = "auto"
    scan: str | None = None
    scheduler: str = "threads"

    def __post_init__(self) -> None:
        check(self.tile_size is None or self.tile_size >= 0, "--tile-size", self.tile_size, ">= 0")
        check(self.memory is None or self.memory > 0, "--memory", self.memory, "> 0")
        check(self.jobs is None or self.jobs >= 1, "--jobs", self.jobs, ">= 1")
        known = self.scheduler in SCHEDULERS or "://" in self.scheduler
        wanted = f"{', '.join(SCHEDULERS)} or an address such as tcp://host:8786"
        check(known, "--scheduler", self.scheduler, wanted)
