"""Tiles as pure integers: which pixels a unit of work answers for, and which it reads.

::

    read   ┌───────────────┐      core: pixels the tile answers for; every pixel of the raster
           │   ┌───────┐   │            lies in exactly one core
           │   │ core  │   │      read: core + halo, clipped to the raster
           │   └───────┘   │      trim: slices that cut an array over `read` back to core
           └───────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

from rasterio.windows import Window


@dataclass(frozen=True)
class Tile:
    """A unit of work.

    Attributes
    ----------
    index : int
        Number of the tile, row by row from 0.
    core, read : rasterio.windows.Window
        Integer windows of the raster.
    trim : (slice, slice)
        Rows and columns of `core` inside `read`.
    lattice : (int, int)
        Row and column of the first pixel of `read` on the lattice anchored to the CRS grid.
    """

    index: int
    core: Window
    read: Window
    trim: tuple[slice, slice]
    lattice: tuple[int, int]


@dataclass(frozen=True)
class TilePlan(Sequence[Tile]):
    """All tiles of a raster, made on demand; never a list of them.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the raster.
    tile_size : int
        Side of a core; a multiple of `align`.
    halo : int
        Pixels read around a core.
    align : int
        Cores are cut at multiples of this many pixels of the lattice.
    origin : (int, int)
        Lattice position of the raster's first pixel.
    """

    shape: tuple[int, int]
    tile_size: int
    halo: int = 0
    align: int = 1
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.tile_size < 1 or self.tile_size % self.align:
            raise ValueError(f"tile size {self.tile_size} is no multiple of {self.align}")

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        rows, cols = (
            -(-(size - self._start(axis)) // self.tile_size) for axis, size in enumerate(self.shape)
        )
        return rows, cols

    def __len__(self) -> int:
        rows, cols = self.grid
        return rows * cols

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tile]: ...
    def __getitem__(self, index: int | slice) -> Tile | list[Tile]:
        if isinstance(index, slice):
            return [self._tile(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._tile(index % len(self))

    def __iter__(self) -> Iterator[Tile]:
        return (self._tile(i) for i in range(len(self)))

    def read_along(self, axis: int) -> int:
        """Pixels that all tiles along an axis read, halos counted each time."""
        spans = (self._span(axis, number) for number in range(self.grid[axis]))
        return sum(stop - start for _, _, start, stop in spans)

    def magnified(self, factor: int) -> TilePlan:
        """Cut the raster with `factor` times as many rows and columns into the same tiles."""
        rows, cols = (factor * size for size in self.shape)
        down, right = (factor * at for at in self.origin)
        return replace(
            self,
            shape=(rows, cols),
            tile_size=factor * self.tile_size,
            halo=factor * self.halo,
            align=factor * self.align,
            origin=(down, right),
        )

    def _start(self, axis: int) -> int:
        """First cut of an axis, at or before its first pixel, on the lattice's multiples."""
        return -(self.origin[axis] % self.align)

    def _tile(self, index: int) -> Tile:
        row, col = divmod(index, self.grid[1])
        (r0, r1, R0, R1), (c0, c1, C0, C1) = self._span(0, row), self._span(1, col)
        return Tile(
            index=index,
            core=Window(c0, r0, c1 - c0, r1 - r0),
            read=Window(C0, R0, C1 - C0, R1 - R0),
            trim=(slice(r0 - R0, r1 - R0), slice(c0 - C0, c1 - C0)),
            lattice=(self.origin[0] + R0, self.origin[1] + C0),
        )

    def _span(self, axis: int, number: int) -> tuple[int, int, int, int]:
        """Core from and to, read from and to, of one axis."""
        size = self.shape[axis]
        start = self._start(axis) + number * self.tile_size
        low, high = max(start, 0), min(start + self.tile_size, size)
        return low, high, max(low - self.halo, 0), min(high + self.halo, size)


def aligned(size: int, align: int) -> int:
    """Round a tile size up to a multiple of `align`."""
    return -(-size // align) * align


def whole(shape: tuple[int, int], align: int = 1) -> int:
    """Tile size that holds the whole raster in one tile, wherever the lattice cuts it."""
    return aligned(max(shape) + align - 1, align)
