"""The nodata value of rasters laid side by side: one that no valid pixel has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.raster.nodata import representable, whole_limits
from stcli.raster.reading.mosaic import Mosaic
from stcli.settings import RunSettings
from stcli.workflows.each_band import OwnMasks
from stcli.workflows.job import Pass, Progress
from stcli.workflows.passes import plan_first


def nodata_of(
    raster: Mosaic,
    cost: Cost,
    settings: RunSettings,
    progress: Progress,
    meant: Collection[int] = (),
) -> float | int | None:
    """Choose what an output holds where no raster is valid; None where there is no such pixel.

    It is the value that all bands of all rasters declare and tell their valid pixels by. Where
    they do not agree it is NaN for floats. For whole numbers a first pass looks at what valid
    pixels hold: nothing is declared where all pixels are valid, else the first that none holds of
    the values declared, in the order of rasters and bands, then 0, the smallest and the largest
    that can be declared.

    Parameters
    ----------
    raster : Mosaic
    cost : Cost
        Of copying it.
    settings : RunSettings
    progress : callable
    meant : collection of int
        Values that mean something, such as a class; none of these is chosen.

    Raises
    ------
    BudgetError
    InputError
        Each of those values means something, or a valid pixel holds it.
    """
    agreed, dtype = raster.agreed_nodata(), raster.info.dtype
    if dtype.kind == "f":
        return float("nan") if agreed is None else agreed
    if agreed is not None:
        return int(agreed)
    if raster.complete():
        return None
    values = [value for value in _candidates(raster) if value not in meant]
    look = _Look(tuple(values))
    gaps, *held = look.at(plan_first(OwnMasks(raster), cost, settings), progress)
    free = [value for value, seen in zip(values, held, strict=True) if not seen]
    if gaps and not free:
        raise _none_free(raster, _candidates(raster))
    return free[0] if gaps else None


def _candidates(raster: Mosaic) -> list[int]:
    """Values that may become nodata, the first choice first."""
    dtype = raster.info.dtype
    declared = [band.nodata for each in raster.rasters for band in each.info.bands]
    values = [value for value in declared if value is not None] + [0, *whole_limits(dtype)]
    fit = [int(value) for value in values if representable(value, dtype)]
    return list(dict.fromkeys(fit))


@dataclass(frozen=True)
class _Look:
    """The block function: whether a pixel is valid in no raster, and which values valid ones hold.

    Attributes
    ----------
    values : tuple of int
    """

    values: tuple[int, ...]

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> list[bool]:
        """Look at the core of a block."""
        inside = (..., *where.trim)
        cut, known = block[inside], valid[inside]
        held = [bool(((cut == value) & known).any()) for value in self.values]
        return [not known.all(), *held]

    def at(self, work: Pass, progress: Progress) -> list[bool]:
        """Look at all of a raster."""
        found = np.zeros(1 + len(self.values), bool)

        def sink(tile: Tile, told: list[bool] | None) -> None:
            found[0] |= told is None  # a tile without a valid pixel
            found[:] |= told or False

        work.run(self, sink, "nodata", progress)
        return [bool(each) for each in found]


def _none_free(raster: Mosaic, values: Sequence[int]) -> InputError:
    first, *others = (each.info.path for each in raster.rasters)
    more = f" and {len(others)} more" if others else ""
    return InputError(
        f"{first}{more}: valid pixels or classes have each of {', '.join(map(str, values))}, and "
        "nodata needs a value that none has; give all of them such a value with gdalwarp "
        "-dstnodata, and a type that has one with -ot if theirs has none"
    )
