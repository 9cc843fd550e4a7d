"""In which pieces a NetCDF variable is read, so that each of its chunks is unpacked once.

A chunk may hold several layers: all dates of a row, as files for time series have it. Layer by
layer each chunk would be unpacked once for every date. So layers of the same chunks are read
together, in boxes of whole chunks.

Source: the HDF5 library's "Chunking in HDF5"; a chunk beyond the chunk cache is unpacked anew by
each call that reads of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasterio.windows import Window

from stcli.raster.info import KEPT, Held
from stcli.raster.reading.cfgrid import Grid

if TYPE_CHECKING:
    import xarray as xr

#: Bytes of a box of several layers, unless a chunk has more.
_BOX = 8_000_000


@dataclass(frozen=True)
class Chunks:
    """How a variable lies in its file.

    Attributes
    ----------
    sides : dict of str to int
        By dimension, elements along a chunk.
    itemsize : int
        Bytes of an element.
    size : int
        Bytes of the variable.
    chunked : bool
        It is made of chunks, which may be stored packed.
    """

    sides: dict[str, int]
    itemsize: int
    size: int
    chunked: bool

    @property
    def bytes(self) -> int:
        """Bytes of a chunk."""
        return math.prod(self.sides.values()) * self.itemsize


def chunks_of(variable: xr.DataArray, grid: Grid) -> Chunks:
    """Say how a variable lies in its file.

    One that is not chunked has no chunk of several layers, unless its layers are interleaved: then
    a row of all of them is as good as a chunk.
    """
    dims = [str(dim) for dim in variable.dims]
    sides = variable.encoding.get("chunksizes") or ()
    chunked = bool(sides) and not variable.encoding.get("contiguous")
    if not chunked:
        first = min(dims.index(grid.y), dims.index(grid.x))
        sides = [variable.sizes[dim] if n > first else 1 for n, dim in enumerate(dims)]
    named = dict(zip(dims, sides, strict=True))
    return Chunks(named, variable.dtype.itemsize, variable.nbytes, chunked)


def held(read: Iterable[Chunks], grid: Grid) -> Held:
    """Bytes that reading variables holds; a filter works on a chunk packed and unpacked."""
    read = list(read)
    deep = [max(_BOX, each.bytes) for each in read if _depth(each, grid) > 1]
    kept = min(KEPT, sum(each.size for each in read))
    chunk = max((each.bytes for each in read if each.chunked), default=0)
    return Held(box=max(deep, default=0), chunks=kept, unpacking=2 * chunk)


def _depth(chunks: Chunks, grid: Grid) -> int:
    """Layers of a chunk."""
    return math.prod(side for dim, side in chunks.sides.items() if dim not in (grid.y, grid.x))


def together(
    wheres: Sequence[Mapping[str, int]], chunks: Chunks
) -> list[tuple[list[int], dict[str, slice]]]:
    """Group layers that lie in the same chunks.

    Parameters
    ----------
    wheres : sequence of dict of str to int
        Of each layer its index along each dimension but rows and columns.

    Returns
    -------
    list of (list of int, dict of str to slice)
        Positions of a group's layers in `wheres`, and the box around them.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for n, where in enumerate(wheres):
        key = tuple(index // chunks.sides[dim] for dim, index in where.items())
        groups.setdefault(key, []).append(n)
    return [(members, _around([wheres[n] for n in members])) for members in groups.values()]


def _around(wheres: Sequence[Mapping[str, int]]) -> dict[str, slice]:
    found = {dim: [where[dim] for where in wheres] for dim in wheres[0]}
    return {dim: slice(min(at), max(at) + 1) for dim, at in found.items()}


def boxes(
    window: Window, grid: Grid, chunks: Chunks, depth: int
) -> Iterator[tuple[tuple[slice, slice], dict[str, slice]]]:
    """Cut a window of so many layers into boxes of whole chunks, each within the bytes of one.

    Parameters
    ----------
    window : Window
    grid : Grid
    chunks : Chunks
    depth : int
        Layers that are read; one is read as a whole.

    Yields
    ------
    here : (slice, slice)
        Rows and columns of a box, counted from the window's corner.
    box : dict of str to slice
        The same in the file.
    """
    rows, cols = grid.geobox.shape
    top, bottom = window.row_off, window.row_off + window.height
    y = slice(rows - bottom, rows - top) if grid.flip else slice(top, bottom)
    first = (window.col_off + grid.roll) % cols
    pieces = [(slice(first, min(first + window.width, cols)), first)]
    if first + window.width > cols:  # over the seam of a rotated circle
        pieces.append((slice(0, first + window.width - cols), first - cols))
    for x, left in pieces:
        for down, across in _pieces(y, x, chunks, (grid.y, grid.x), depth):
            ends = (y.stop - down.stop, y.stop - down.start) if grid.flip else _from(down, y.start)
            here = slice(*ends), slice(*_from(across, left))
            yield here, {grid.y: down, grid.x: across}


def _from(span: slice, start: int) -> tuple[int, int]:
    """Count a span from a start."""
    return span.start - start, span.stop - start


def _pieces(
    y: slice, x: slice, chunks: Chunks, dims: tuple[str, str], depth: int
) -> list[tuple[slice, slice]]:
    """Cut rows and columns of the file at borders of chunks."""
    if depth == 1:
        return [(y, x)]
    high, wide = (chunks.sides[dim] for dim in dims)
    row = depth * chunks.itemsize * high  # of chunks
    across = max(1, _BOX // (row * wide)) * wide
    down = max(1, _BOX // (row * min(across, x.stop - x.start))) * high
    return [(rows, cols) for rows in _cut(y, down) for cols in _cut(x, across)]


def _cut(span: slice, step: int) -> list[slice]:
    """Cut a span at multiples of a step."""
    starts = range(span.start // step * step, span.stop, step)
    return [slice(max(at, span.start), min(at + step, span.stop)) for at in starts]
