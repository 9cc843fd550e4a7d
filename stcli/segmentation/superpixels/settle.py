"""Labels of a part of a block, from what its pixels chose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.cells import Layout, unpack
from stcli.segmentation.superpixels.connectivity import REACH, connect
from stcli.segmentation.superpixels.near import within
from stcli.segmentation.superpixels.team import Team
from stcli.settings import SlicSettings


@dataclass(frozen=True)
class Part:
    """What the pixels of a part of the raster chose.

    Attributes
    ----------
    choice : ndarray of uint8 (cell row, cell col, lane)
        As `stcli.segmentation.superpixels.cells.empty` makes it.
    layout : Layout
    lattice : (int, int)
        Lattice position of the first pixel.
    """

    choice: NDArray[np.uint8]
    layout: Layout
    lattice: tuple[int, int]

    def rows(self, first: int, last: int) -> Part:
        """Rows of cells from the first to the one before the last."""
        above = max(first * self.layout.step - self.layout.corner[0], 0)
        below = min(last * self.layout.step - self.layout.corner[0], self.layout.shape[0])
        corner = 0 if above else self.layout.corner[0], self.layout.corner[1]
        layout = Layout((below - above, self.layout.shape[1]), corner, self.layout.step)
        lattice = self.lattice[0] + above, self.lattice[1]
        return Part(self.choice[first:last], layout, lattice)


def settle(
    part: Part,
    core: tuple[slice, slice],
    settings: SlicSettings,
    space: LabelSpace,
    team: Team,
    keep: bool = False,
) -> NDArray[Any]:
    """Label the pixels of a core, and settle fragments.

    Parameters
    ----------
    core : (slice, slice)
        Rows and columns of pixels; the choices of those within `REACH` cells are final.
    keep : bool
        The result is in the team's memory.

    Returns
    -------
    ndarray (row, col) of ``space.dtype``
    """
    near = within(part.layout, core, REACH)
    first = max(near.rows.start - 1, 0)  # pixels may have chosen a cell of the row above
    last = min(near.rows.stop + 1, part.layout.cells[0])
    above = max(first * part.layout.step - part.layout.corner[0], 0)
    some = part.rows(first, last)
    rows, cols = core[0], core[1]
    inside = slice(rows.start - above, rows.stop - above), cols
    return _settled(some, inside, settings, space, team, keep)


def _settled(
    part: Part,
    core: tuple[slice, slice],
    settings: SlicSettings,
    space: LabelSpace,
    team: Team,
    keep: bool,
) -> NDArray[Any]:
    """Settle a part that has no more rows than that takes: cells are counted from its first."""
    layout, step = part.layout, settings.step
    near = within(layout, core, REACH)
    pixels = near.pixels(layout)
    shape = tuple(side.stop - side.start for side in pixels)
    dtype = np.int32 if math.prod(layout.shape) < 2**31 else np.int64
    labels = team.memory.array((shape[0], shape[1]), dtype)
    final = team.memory.array((shape[0], shape[1]), space.dtype) if keep else None
    first, ways = near.rows.start, (step, layout.corner, near.cols.start, near.cols.stop)
    at = pixels[0].start, pixels[1].start
    team.over(
        len(near.rows),
        lambda a, b: unpack(part.choice, ways, first + a, first + b, at, labels),
    )
    place = [b - o + p for b, o, p in zip(part.lattice, space.origin, at, strict=True)]
    island = space.cells[0] * space.cells[1] + 1 + place[0] * space.shape[1] + place[1]
    smallest = math.ceil(settings.min_size * settings.size)
    names = _names(part, space)
    found = connect(labels, smallest, step, names, (island, space.shape[1]), team, final)
    return found[tuple(slice(s.start - f, s.stop - f) for s, f in zip(core, at, strict=True))]


def _names(part: Part, space: LabelSpace) -> NDArray[Any]:
    """Label in the raster of each cell, cells counted from 1; 0 for 0."""
    first = [at // space.step - f for at, f in zip(part.lattice, space.first, strict=True)]
    rows, cols = (np.arange(n) + f for n, f in zip(part.layout.cells, first, strict=True))
    names = rows[:, None] * space.cells[1] + cols + 1
    return np.concatenate([[0], names.ravel()]).astype(space.dtype)
