"""GeoTIFFs made of blocks that are packed already.

GDAL makes the file's directory, with all that says what the raster is; here the blocks follow, row
by row, as they were packed elsewhere by GDAL too, many at once. So nothing of the file depends on
who packed a block or when. Source: TIFF 6.0 (Adobe, 1992) and the BigTIFF design (libtiff).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from stcli.raster.output import OutputSpec, options, packed_profile
from stcli.raster.publish import label
from stcli.raster.tiff import Directory, read_directory

_OFFSETS, _SIZES = 324, 325
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_LONG, _LONG8 = 4, 16
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


class PackedTiff:
    """A GeoTIFF under construction; as a context manager it is whole after a clean exit.

    Parameters
    ----------
    path : Path
        The file.
    spec : OutputSpec
        Its blocks can be packed one by one (`stcli.raster.output.packing`).
    grid : dict
        Size, bands, data type, nodata, CRS and transform, as rasterio takes them.

    Attributes
    ----------
    block : (int, int)
        Rows and columns of a block.
    across, down : int
        Blocks along a row and along a column.
    """

    def __init__(self, path: Path, spec: OutputSpec, grid: dict[str, Any]) -> None:
        how = {"driver": "GTiff", **grid, **options(spec), "SPARSE_OK": "TRUE"}
        with rasterio.open(path, "w", **how) as dataset:
            label(dataset, spec)
            rows, cols = (int(side) for side in dataset.block_shapes[0])
            self.shape = int(dataset.shape[0]), int(dataset.shape[1])
        self.spec, self.block = spec, (rows, cols)
        self.down, self.across = -(-self.shape[0] // rows), -(-self.shape[1] // cols)
        self._front = _Front(path.read_bytes(), self.down * self.across)
        self._offsets = np.zeros(self.down * self.across, np.uint64)
        self._sizes = np.zeros_like(self._offsets)
        self._next, self._end = 0, self._front.size
        self._blank: dict[tuple[int, int], bytes] = {}
        self._descriptor = os.open(path, os.O_RDWR | os.O_TRUNC)

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
                self._fill(len(self._offsets))
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                _write(self._descriptor, self._front.written(self._offsets, self._sizes))
        finally:
            os.close(self._descriptor)

    def put(self, first: int, file: int, source: Directory, blocks: slice) -> None:
        """Append neighbouring blocks of another file; what lies before them is nodata.

        Parameters
        ----------
        first : int
            Number of the first in this file, row by row; calls go by rising numbers.
        file : int
            Descriptor of the other file.
        source : Directory
            Of the other file.
        blocks : slice
            Their numbers there.
        """
        self._fill(first)
        for start, size in zip(source.offsets[blocks], source.sizes[blocks], strict=True):
            self._book(int(size))
            _transfer(file, self._descriptor, int(start), int(size))

    def put_bytes(self, first: int, packed: bytes) -> None:
        """Append the blocks of a packed array that is one row of blocks high, as `put`."""
        found = read_directory(io.BytesIO(packed))
        self._fill(first)
        for start, size in zip(found.offsets.tolist(), found.sizes.tolist(), strict=True):
            self._book(size)
            _write(self._descriptor, packed[start : start + size])

    def _fill(self, until: int) -> None:
        """Append blocks without a valid pixel up to a number."""
        while self._next < until:
            row, col = divmod(self._next, self.across)
            shape = self._extent(0, row), self._extent(1, col)
            if shape not in self._blank:
                fill = 0 if self.spec.nodata is None else self.spec.nodata
                array = np.full((len(self.spec.bands), *shape), fill, self.spec.dtype)
                packed = pack(self.spec, array)
                found = read_directory(io.BytesIO(packed))
                start, size = int(found.offsets[0]), int(found.sizes[0])
                self._blank[shape] = packed[start : start + size]
            self._book(len(self._blank[shape]))
            _write(self._descriptor, self._blank[shape])

    def _extent(self, axis: int, number: int) -> int:
        """Pixels of the raster that a row or column of blocks has."""
        side = self.block[axis]
        return min(side, self.shape[axis] - number * side)

    def _book(self, size: int) -> None:
        if not self._front.big and self._end + size > _CLASSIC_MOST:
            raise OSError(errno.EFBIG, "a TIFF of 4 GB wants BIGTIFF=YES")
        self._offsets[self._next], self._sizes[self._next] = self._end, size
        self._next, self._end = self._next + 1, self._end + size


@dataclass(frozen=True)
class _Entry:
    """An entry of a directory: its values as they stand in the file."""

    tag: int
    kind: int
    count: int
    value: bytes


class _Front:
    """Header, directory and its values: GDAL's, with room for the tables of blocks."""

    def __init__(self, head: bytes, blocks: int) -> None:
        self.big = struct.unpack("<H", head[2:4])[0] == 43
        self._head, self._word = (head[:8], "Q") if self.big else (head[:4], "I")
        self._blocks = blocks
        self._entries = [e for e in self._read(head) if e.tag not in (_OFFSETS, _SIZES)]
        empty = np.zeros(blocks, np.uint64)
        self.size = len(self.written(empty, empty))

    def written(self, offsets: NDArray[np.uint64], sizes: NDArray[np.uint64]) -> bytes:
        """Write it for blocks that lie there and have these sizes."""
        wide = (_LONG8, "<u8") if self.big else (_LONG, "<u4")
        tables = [
            _Entry(_OFFSETS, wide[0], self._blocks, offsets.astype(wide[1]).tobytes()),
            _Entry(_SIZES, _LONG, self._blocks, sizes.astype("<u4").tobytes()),
        ]
        entries = sorted([*self._entries, *tables], key=lambda entry: entry.tag)
        inside = struct.calcsize(self._word)
        begin = len(self._head) + inside
        count = struct.pack("<Q" if self.big else "<H", len(entries))
        place = begin + len(count) + len(entries) * (4 + 2 * inside) + inside
        lines, values = [], b""
        for entry in entries:
            value = entry.value.ljust(inside, b"\0")
            if len(value) > inside:
                at = place + len(values)
                values += value.ljust(-(-len(value) // 8) * 8, b"\0")
                value = struct.pack(f"<{self._word}", at)
            lines.append(struct.pack(f"<HH{self._word}", entry.tag, entry.kind, entry.count))
            lines.append(value)
        first, last = struct.pack(f"<{self._word}", begin), bytes(inside)
        front = b"".join([self._head, first, count, *lines, last, values])
        return front.ljust(-(-len(front) // 16) * 16, b"\0")

    def _read(self, head: bytes) -> list[_Entry]:
        """Read the only directory of a file."""
        word, inside = f"<{self._word}", struct.calcsize(self._word)
        at = struct.unpack_from(word, head, len(self._head))[0]
        count = struct.unpack_from("<Q" if self.big else "<H", head, at)[0]
        at += 8 if self.big else 2
        found = []
        for place in range(at, at + count * (4 + 2 * inside), 4 + 2 * inside):
            tag, kind, number = struct.unpack_from(f"<HH{self._word}", head, place)
            value, size = place + 4 + inside, number * _BYTES[kind]
            if size > inside:
                value = struct.unpack_from(word, head, value)[0]
            found.append(_Entry(tag, kind, number, head[value : value + size]))
        return found


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
