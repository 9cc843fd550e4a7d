"""What every verb shares: named inputs, a named output, a budgeted pass, provenance."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stcli import __version__
from stcli.engine.memory import Budget, Cost, Grid, budget, gdal_cache, processors
from stcli.engine.run import BlockFunction, Job, Sink, Source, Tally, run
from stcli.errors import UsageError
from stcli.raster.info import RasterInfo, lattice_origin
from stcli.raster.output import STDOUT
from stcli.raster.read import Raster, open_raster
from stcli.raster.stack import Resampling
from stcli.settings import RunSettings

#: ``progress(stage, done, total)``
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Inputs:
    """Rasters that are read as one.

    Attributes
    ----------
    paths : tuple of str
        Stacked as bands on the grid of the finest.
    bands : tuple of int or str
        1-based numbers or names; empty for all.
    resampling : str
        ``"nearest"`` or ``"bilinear"``, for bands on a coarser grid.
    assume_crs : str or None
        CRS of files that have none.
    """

    paths: tuple[str, ...]
    bands: tuple[int | str, ...] = ()
    resampling: Resampling = "nearest"
    assume_crs: str | None = None

    def open(self) -> Raster:
        """Open them; raises `InputError`."""
        return open_raster(
            self.paths,
            bands=self.bands,
            resampling=self.resampling,
            assume_crs=self.assume_crs,
        )


@dataclass(frozen=True)
class Output:
    """How outputs are written.

    Attributes
    ----------
    overwrite : bool
        Replace what exists.
    creation_options : dict
        GDAL's, values untouched.
    argv : tuple of str
        The command, for the provenance in the file.
    """

    overwrite: bool = False
    creation_options: dict[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()

    def tags(self, info: RasterInfo, **settings: Any) -> dict[str, str]:
        """Provenance as dataset tags; ``AREA_OR_POINT`` is passed on from the input."""
        tags = {
            "STCLI_VERSION": __version__,
            "STCLI_COMMAND": shlex.join(self.argv),
            "STCLI_INPUT": info.path,
        }
        for name, value in settings.items():
            tags[f"STCLI_{name.upper()}"] = str(value)
        if "AREA_OR_POINT" in info.tags:
            tags["AREA_OR_POINT"] = info.tags["AREA_OR_POINT"]
        return {name: value for name, value in tags.items() if value}


def refuse_clash(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse an output that is an input, and two outputs in one place.

    Raises
    ------
    UsageError
    """
    read = {_place(path): path for path in inputs}
    written: dict[object, str] = {}
    for path in outputs:
        place = _place(path)
        if place in read:
            raise UsageError(f"{path}: is an input and an output too, another output is wanted.")
        if place in written:
            raise UsageError(f"{path}: two outputs go there, one for each is wanted.")
        written[place] = path


def _place(path: str) -> object:
    """Name a place alike for all names of one file: by inode, or by where it would be made."""
    if path in STDOUT:
        return STDOUT
    try:
        found = Path(path).stat()
    except OSError:
        return str(Path(path).resolve())
    return found.st_dev, found.st_ino


@dataclass(frozen=True)
class Pass:
    """A budgeted pass over a raster, ready to run.

    Attributes
    ----------
    source : Source
    budget : Budget
    """

    source: Source
    budget: Budget

    def threads(self, settings: RunSettings) -> int:
        """Threads that each tile in flight may use, so that all of them do not exceed the jobs."""
        return max(1, (settings.jobs or processors()) // self.budget.jobs)

    def run(self, function: BlockFunction, sink: Sink, stage: str, progress: Progress) -> Tally:
        """Run a block function over all tiles; see `stcli.engine.run`."""
        os.environ.setdefault("GDAL_CACHEMAX", str(gdal_cache()))  # GDAL reads it at first use
        job = Job(
            self.budget.plan,
            self.source,
            function,
            sink,
            lambda done, total: progress(stage, done, total),
        )
        return run(job, self.budget.jobs)


def plan_pass(
    raster: Raster, cost: Cost, settings: RunSettings, halo: int = 0, align: int = 1
) -> Pass:
    """Choose tiles for a raster within the memory budget.

    Raises
    ------
    BudgetError
    """
    info = raster.info
    grid = Grid(info.shape, halo, align, lattice_origin(info.geobox))
    chosen = budget(grid, cost, settings)
    if settings.tile_size and settings.tile_size != chosen.plan.tile_size:
        logging.getLogger("stcli").warning(
            "--tile-size %d: rounded up to %d, a multiple of %d",
            *(settings.tile_size, chosen.plan.tile_size, align),
        )
    return Pass(raster, chosen)


def report(budget: Budget, tally: Tally, seconds: float) -> dict[str, Any]:
    """Say what ran, for people and machines."""
    return {
        "tiles": tally.tiles,
        "empty_tiles": tally.empty,
        "tile_size": budget.plan.tile_size,
        "halo": budget.plan.halo,
        "jobs": budget.jobs,
        "overcompute": round(budget.overcompute, 3),
        "memory": {"predicted": budget.predicted, "allowed": budget.allowed, **budget.terms},
        "seconds": round(seconds, 3),
    }


def fields(settings: Any) -> dict[str, Any]:
    """Fields of a settings dataclass as plain values."""
    return asdict(settings)
