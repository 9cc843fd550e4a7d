"""``check seams``: one pass over a raster, then the search for a lattice of jumps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.checks.findings import Checked, Findings
from stcli.checks.seams import CELL, FEWEST, HALO, SHORTEST, Seams, find_seams, jumps
from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import UsageError
from stcli.raster.info import RasterInfo
from stcli.settings import RunSettings
from stcli.settings.checking import check
from stcli.workflows.empty import no_valid_pixel
from stcli.workflows.job import Inputs, Progress, plan_pass, silent

#: Bytes of the whole numbers of a single band that are classes, or labels.
_NAMES = (1, 4, 8)


def check_seams(
    inputs: Inputs,
    settings: RunSettings,
    *,
    period: int | None = None,
    threshold: float = 3.0,
    classes: bool | None = None,
    progress: Progress = silent,
) -> Checked:
    """Look for the seams of tiles in a raster.

    Parameters
    ----------
    inputs : Inputs
        One raster.
    settings : RunSettings
    period : int, optional
        Side of the suspected tiles in pixels; by default all are tried.
    threshold : float
        Score from which a raster is not valid: -log10 of the probability of a false alarm.
    classes : bool, optional
        Values are classes or labels; by default so for a single band of whole numbers of 8 bits
        (classes), or of 32 or 64 (labels).
    progress : callable

    Returns
    -------
    Checked
        Figures: period, offset, score and excess of the most suspect lattice.

    Raises
    ------
    UsageError, InputError, BudgetError
    """
    check(period is None or period >= SHORTEST, "--period", period, f">= {SHORTEST} pixels")
    check(0 < threshold < math.inf, "--threshold", threshold, "> 0 and finite")
    with inputs.open() as raster:
        info = raster.info
        _refuse_long(period, info)
        named = _holds_classes(info) if classes is None else classes
        sums = _Sums(info, named)
        pixel = info.dtype.itemsize * info.count + 2 + 8 * 8 + 16
        work = plan_pass(raster, Cost(pixel), settings, halo=HALO, align=CELL)
        work.run(sums.block, sums.sink, "seams", progress)
        if not sums.parts:
            raise no_valid_pixel(raster)
    columns, rows = sums.total()
    found = find_seams(columns, rows, period)
    return _verdict(info, found, named, threshold)


def _longest(info: RasterInfo) -> int:
    """Longest period of which a raster shows enough lines."""
    return (max(info.shape) - 1) // FEWEST


def _refuse_long(period: int | None, info: RasterInfo) -> None:
    """Refuse a period that cannot be seen; raises `UsageError`."""
    longest = _longest(info)
    if period is not None and SHORTEST <= longest < period:
        raise UsageError(
            f"--period: found {period}, at most {longest} pixels wanted; of a longer period "
            f"{info.path} has fewer than {FEWEST} lines."
        )


def _holds_classes(info: RasterInfo) -> bool:
    kind = info.dtype
    return info.count == 1 and kind.kind in "iu" and kind.itemsize in _NAMES


def _verdict(info: RasterInfo, found: Seams, classes: bool, threshold: float) -> Checked:
    findings = Findings()
    small = _longest(info) < SHORTEST
    findings.warning(small, "it is too small to show a lattice of seams")
    row, col = found.offset
    where = " and ".join(
        f"{name} {start} + k * {found.period}"
        for name, start in (("rows", row), ("columns", col))
        if start is not None
    )
    findings.error(
        found.score >= threshold,
        f"values jump along {where}: score {found.score:g}, "
        f"{threshold:g} or more is no chance; excess {100 * found.excess:.1f} %",
    )
    return findings.of(
        info.path,
        values="classes" if classes else "continuous",
        period=found.period or None,
        offset={"row": row, "col": col},
        score=found.score,
        excess=found.excess if np.isfinite(found.excess) else None,
        threshold=threshold,
    )


class _Sums:
    """Sums of jumps at each boundary, a tile's at its place; kept by tile and added in order."""

    def __init__(self, info: RasterInfo, classes: bool) -> None:
        self.shape, self.classes = info.shape, classes
        self.count = info.count * (1 if classes else 2)
        self.parts: dict[int, tuple[Tile, NDArray[Any], NDArray[Any]]] = {}

    def block(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        """Measure a tile: across columns within its rows, and across rows within its columns."""
        rows, cols = where.trim
        top, left = (n + part.start for n, part in zip(where.lattice, where.trim, strict=True))
        across = jumps(block[:, rows], valid[rows], self.classes, top)[..., cols]
        turned = np.swapaxes(block, 1, 2)[:, cols]
        down = jumps(turned, valid.T[cols], self.classes, left)[..., rows]
        return across, down

    def sink(self, tile: Tile, result: Any) -> None:
        """Keep a tile's sums."""
        if result is not None:
            self.parts[tile.index] = (tile, *result)

    def total(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sums over the raster: of boundaries between columns, and between rows."""
        columns = np.zeros((self.count, 2, self.shape[1]))
        rows = np.zeros((self.count, 2, self.shape[0]))
        for index in sorted(self.parts):
            tile, across, down = self.parts[index]
            core = tile.core
            columns[..., core.col_off : core.col_off + core.width] += across
            rows[..., core.row_off : core.row_off + core.height] += down
        return columns, rows
