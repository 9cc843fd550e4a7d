"""``sample-plan``: a class raster and its doubt in; points for field checks and a path out."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError, UsageError
from stcli.landcover.accuracy.fieldplan import BANDS, ENOUGH, Candidates, candidates, choose, short
from stcli.landcover.accuracy.route import length, route
from stcli.raster.info import lattice_origin, refuse_other_grid
from stcli.raster.reading.read import Raster, open_raster
from stcli.raster.tables.survey import in_metres, pixel_centres, write_survey
from stcli.raster.writing.draft import refuse_file
from stcli.settings import RunSettings
from stcli.settings.checking import check
from stcli.workflows.job import Output, Progress, plan_pass, refuse_clash, report, silent
from stcli.workflows.landcover.truth import beyond_classes, open_classes, refuse_beyond
from stcli.workflows.legends import class_names

logger = logging.getLogger("stcli")

#: Points at most: the path's matrix of distances grows with their square.
MOST = 2000
#: By how much a doubt, which others may have resampled, may lie beyond 0 and 1.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Planned:
    """What came out: points in all and of each class; the path's metres, None without a CRS."""

    output: str
    points: int
    classes: dict[str, int]
    metres: float | None
    run: dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """What is to be looked at.

    Attributes
    ----------
    classes : str
        Class raster, 0 or nodata where nothing is known.
    uncertainty : str or None
        Raster on the same grid whose first band is doubt from 0 to 1; None for one doubt.
    points : int
    seed : int
    """

    classes: str
    uncertainty: str | None = None
    points: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check(1 <= self.points <= MOST, "--points", self.points, f"1 to {MOST}")
        check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")


def sample_plan(
    wish: Wish,
    path: str,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Planned:
    """Plan field checks of a class raster: a GeoPackage of points and a path.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_clash([p for p in (wish.classes, wish.uncertainty) if p], (path,))
    if PurePath(path).suffix.lower() != ".gpkg":
        raise UsageError(f"{path}: a plan has two layers, a GeoPackage (.gpkg) is wanted.")
    refuse_file(path, output.overwrite)
    with contextlib.ExitStack() as stack:
        raster = stack.enter_context(open_classes(wish.classes))
        doubt = None if wish.uncertainty is None else _doubt(wish.uncertainty, raster, stack)
        finder = _Finder(raster, doubt, wish)
        cost = Cost(raster.info.dtype.itemsize + 80, once=wish.points * 256 * len(BANDS) * 40)
        work = plan_pass(raster, cost, settings)
        tally = work.run(finder.look, finder.take, "candidates", progress)
    if not len(finder.found.chance):
        raise InputError(f"{wish.classes}: no classified pixel found, at least one is wanted.")
    names, metres = _write(finder, path, output.overwrite)
    counts = {name: names.count(name) for name in sorted(set(names))}
    if len(names) < wish.points:
        logger.warning(
            "%s: %d points wanted and %d pixels of a class found; all of them are visited",
            *(wish.classes, wish.points, len(names)),
        )
    few = short(finder.found, wish.points)
    if few:
        logger.warning(
            "%s: fewer than %d points for %d of the strata (a class in a band of doubt), which "
            "assess wants of each; raise --points",
            *(path, ENOUGH, few),
        )
    ran = report(work.budget, tally, time.perf_counter() - begun)
    return Planned(path, len(names), counts, metres, ran)


class _Finder:
    """The block function and its sink: candidates of a tile, and of all so far."""

    def __init__(self, raster: Raster, doubt: Raster | None, wish: Wish) -> None:
        self.doubt, self.wish, self.path = doubt, wish, raster.info.path
        self.names, self.geobox = class_names(raster), raster.info.geobox
        self.origin = lattice_origin(self.geobox)
        self.found = Candidates.none()

    def look(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Candidates:
        """Find a tile's candidates."""
        refuse_beyond(beyond_classes(block[0][valid]), self.path)
        values = np.where(valid, block[0], 0).astype(np.uint8)
        at = (where.core.row_off, where.core.col_off)
        lattice = (self.origin[0] + at[0], self.origin[1] + at[1])
        doubt = _read(self.doubt, where)
        return candidates(values, doubt, (at, lattice), self.wish.points, self.wish.seed)

    def take(self, tile: Tile, result: Candidates | None) -> None:
        """Join a tile's candidates to those of the others."""
        if result is not None:
            self.found = self.found.join(result, self.wish.points)


def _write(finder: _Finder, path: str, overwrite: bool) -> tuple[list[str], float | None]:
    """Choose and order the points and write them; return their classes and the path's metres."""
    found, geobox = finder.found, finder.geobox
    chosen, weight = choose(found, finder.wish.points)
    xy = pixel_centres(geobox, found.place[chosen])
    flat = in_metres(geobox, xy)
    order = route(flat)
    stratum = found.stratum[chosen][order]
    value = stratum // len(BANDS)
    named = [finder.names.get(int(v), str(v)) for v in value]
    columns = {
        "stop": np.arange(1, len(order) + 1),
        "value": value,
        "class": named,
        "doubt": found.doubt[chosen][order],
        "stratum": [BANDS[s % len(BANDS)] for s in stratum],
        "pixels": weight[order],
        "stratum_pixels": found.count[stratum],
    }
    metres = None if geobox.crs is None else length(flat, order)
    write_survey(path, geobox, columns, (xy[order], metres), overwrite)
    return named, metres


def _doubt(path: str, raster: Raster, stack: contextlib.ExitStack) -> Raster:
    """Open the raster of doubt: numbers on the grid of the classes."""
    doubt = stack.enter_context(open_raster(path, bands=(1,)))
    if doubt.info.dtype.kind != "f":
        raise InputError(
            f"{path}: {doubt.info.dtype} values found, doubt as a real number from 0 to 1 wanted, "
            "as stcli classify --uncertainty writes it."
        )
    refuse_other_grid(doubt.info, raster.info)
    return doubt


def _read(doubt: Raster | None, where: Tile) -> NDArray[np.float32]:
    """Doubt of a tile's core: NaN where not known, 0 everywhere without a raster of it."""
    if doubt is None:
        return np.zeros((where.core.height, where.core.width), np.float32)
    block, valid = doubt.read(where.core)
    found = block[0][valid & np.isfinite(block[0])]
    beyond = found[(found < -_ROUNDING) | (found > 1 + _ROUNDING)]
    if beyond.size:
        raise InputError(
            f"{doubt.info.path}: a doubt of {beyond[0]:g} found, 0 to 1 wanted, as stcli classify "
            "--uncertainty writes it."
        )
    return np.where(valid, block[0], np.nan).astype(np.float32)
