"""GeoTIFFs made of blocks that are packed already.

GDAL makes the file's directory, with all that says what the raster is; here the blocks follow, row
by row, as they were packed elsewhere by GDAL too, many at once. So nothing of the file depends on
who packed a block or when. Source: TIFF 6.0 (Adobe, 1992) and the BigTIFF design (libtiff).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from stcli.raster.writing.output import OutputSpec, head_options, packed_profile
from stcli.raster.writing.publish import label
from stcli.raster.writing.tiff import Directory, read_directory
from stcli.raster.writing.tifffront import GHOST, Front, Table

_CLASSIC_MOST = (1 << 32) - 1


@contextlib.contextmanager
def packed(profile: dict[str, Any], block: NDArray[Any]) -> Iterator[memoryview]:
    """Pack an array (band, row, col) into a GeoTIFF in memory."""
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(block)
        yield memory.getbuffer()


def pack(spec: OutputSpec, block: NDArray[Any]) -> bytes:
    """Pack an array (band, row, col) into a GeoTIFF whose blocks are those of the output."""
    with packed(packed_profile(spec, block.shape), block) as data:
        return bytes(data)


@dataclass(eq=False)
class _Level:
    """A resolution of a file: its shape in pixels and blocks, and the blocks that it has so far."""

    shape: tuple[int, int]
    block: tuple[int, int]
    next: int = 0

    def __post_init__(self) -> None:
        self.down, self.across = (
            -(-n // side) for n, side in zip(self.shape, self.block, strict=True)
        )
        self.offsets = np.zeros(self.down * self.across, np.uint64)
        self.sizes = np.zeros_like(self.offsets)

    @property
    def table(self) -> Table:
        return self.offsets, self.sizes

    def extent(self, number: int) -> tuple[int, int]:
        """Rows and columns of the raster that a block has."""
        row, col = divmod(number, self.across)
        rows, cols = (
            min(side, n - at * side)
            for at, n, side in zip((row, col), self.shape, self.block, strict=True)
        )
        return rows, cols


class PackedTiff:
    """A GeoTIFF under construction; as a context manager it is whole after a clean exit.

    Blocks are appended level by level, the coarsest overview first, and row by row in a level; a
    file without overviews has one level.

    Parameters
    ----------
    path : Path
        The file.
    spec : OutputSpec
        Its blocks can be packed one by one (`stcli.raster.writing.output.packing`).
    grid : dict
        Size, bands, data type, nodata, CRS and transform, as rasterio takes them.

    Attributes
    ----------
    block : (int, int)
        Rows and columns of a block.
    levels : sequence of (int, int)
        Rows and columns of the raster and of each overview: each the half of the one before,
        rounded up, until one block holds it. Only a COG has overviews.
    """

    def __init__(self, path: Path, spec: OutputSpec, grid: dict[str, Any]) -> None:
        cloud = spec.driver == "COG"
        how = {"driver": "GTiff", **grid, **head_options(spec), "SPARSE_OK": "TRUE"}
        with MemoryFile() as memory:
            with memory.open(**how) as dataset:
                label(dataset, spec)
                rows, cols = (int(side) for side in dataset.block_shapes[0])
                whole = int(dataset.shape[0]), int(dataset.shape[1])
            head = bytes(memory.getbuffer())
        self.path, self.spec, self.block, self._framed = path, spec, (rows, cols), cloud
        self.levels = _halved(whole, self.block) if cloud else [whole]
        self._levels = [_Level(shape, self.block) for shape in self.levels]
        self._front = Front(head, self.levels, self._tables(), GHOST if cloud else b"")
        self._now, self._end = self._levels[-1], self._front.size
        self._blank: dict[tuple[int, int], bytes] = {}
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)

    def __enter__(self) -> Self:
        os.lseek(self._descriptor, self._end, os.SEEK_SET)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.turn(0)
                self._fill(len(self._now.offsets))
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                _write(self._descriptor, self._front.written(self._tables()))
        finally:
            os.close(self._descriptor)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the level that is being filled."""
        return self._now.shape

    @property
    def across(self) -> int:
        """Blocks along a row of it."""
        return self._now.across

    @property
    def down(self) -> int:
        """Blocks along a column of it."""
        return self._now.down

    def turn(self, level: int) -> None:
        """Go on with a level; what the coarser ones do not have yet is nodata."""
        while self._now is not self._levels[level]:
            self._fill(len(self._now.offsets))
            self._now = self._levels[self._levels.index(self._now) - 1]

    def put(self, first: int, file: int, source: Directory, blocks: slice) -> None:
        """Append neighbouring blocks of another file; what lies before them is nodata.

        Parameters
        ----------
        first : int
            Number of the first in this level, row by row; calls go by rising numbers.
        file : int
            Descriptor of the other file.
        source : Directory
            Of the other file.
        blocks : slice
            Their numbers there.
        """
        self._fill(first)
        for start, size in zip(source.offsets[blocks], source.sizes[blocks], strict=True):
            last = functools.partial(os.pread, file, 4, int(start + size) - 4)
            with self._framing(int(size), last):
                _transfer(file, self._descriptor, int(start), int(size))

    def put_bytes(self, first: int, packed: bytes) -> None:
        """Append the blocks of a packed array that is one row of blocks high, as `put`."""
        found = read_directory(io.BytesIO(packed))
        self._fill(first)
        for start, size in zip(found.offsets.tolist(), found.sizes.tolist(), strict=True):
            self._append(packed[start : start + size])

    def _tables(self) -> list[Table]:
        return [level.table for level in self._levels]

    def _fill(self, until: int) -> None:
        """Append blocks without a valid pixel up to a number."""
        while self._now.next < until:
            shape = self._now.extent(self._now.next)
            if shape not in self._blank:
                fill = 0 if self.spec.nodata is None else self.spec.nodata
                array = np.full((len(self.spec.bands), *shape), fill, self.spec.dtype)
                packed = pack(self.spec, array)
                found = read_directory(io.BytesIO(packed))
                start, size = int(found.offsets[0]), int(found.sizes[0])
                self._blank[shape] = packed[start : start + size]
            self._append(self._blank[shape])

    def _append(self, block: bytes) -> None:
        with self._framing(len(block), lambda: block[-4:]):
            _write(self._descriptor, block)

    @contextlib.contextmanager
    def _framing(self, size: int, last: Callable[[], bytes]) -> Iterator[None]:
        """Book the next block, which is written inside, and frame it as a COG's blocks are."""
        frame = 4 if self._framed else 0
        if not self._front.big and self._end + size + 2 * frame > _CLASSIC_MOST:
            raise OSError(errno.EFBIG, "a TIFF of 4 GB wants BIGTIFF=YES")
        level = self._now
        level.offsets[level.next], level.sizes[level.next] = self._end + frame, size
        level.next, self._end = level.next + 1, self._end + size + 2 * frame
        if frame:
            _write(self._descriptor, struct.pack("<I", size))
        yield
        if frame:
            _write(self._descriptor, last())


def _halved(shape: tuple[int, int], block: tuple[int, int]) -> list[tuple[int, int]]:
    """Shapes of a raster and of its overviews."""
    levels = [shape]
    while any(n > side for n, side in zip(levels[-1], block, strict=True)):
        rows, cols = levels[-1]
        levels.append((-(-rows // 2), -(-cols // 2)))
    return levels


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _transfer(source: int, target: int, start: int, size: int) -> None:
    """Append bytes of one file to another, inside the kernel."""
    while size:
        moved = os.sendfile(target, source, start, size)
        if not moved:
            raise OSError(errno.EIO, "a part is cut short")
        start, size = start + moved, size - moved
