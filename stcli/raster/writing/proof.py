"""Proof that a file made of parts' blocks holds their pixels, which are decoded only once.

While pixels are read for the first overview they are compared with the tiles' checksums, and
there and then the bytes of their blocks are noted, by CRC-32. A finished file whose blocks have
the same bytes, where GDAL finds them, and whose directory says the same of how they are packed,
decodes to the same pixels.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.raster.writing.checksum import part_sum, piece_side
from stcli.raster.writing.output import OutputSpec, block_side
from stcli.raster.writing.parts import Parts, Placed
from stcli.raster.writing.tiff import Directory, read_directory

#: What is known of a tile: its number, where it lies, and what its checksum lacks yet.
_FACTS = 6
#: What a damaged directory raises, beside errors of the system.
_DAMAGE = (ValueError, KeyError, IndexError, struct.error)
_NONE = -1
_DIFFER = "the blocks read back differ from those written"


def provable(spec: OutputSpec) -> bool:
    """Tell whether an output's blocks hold whole pieces of checksums."""
    side = block_side(spec)
    return side is not None and side % piece_side(spec.dtype, len(spec.bands)) == 0


class Proof:
    """Is shown all pixels of parts that are packed as a COG is, and then that COG.

    Parameters
    ----------
    parts : Parts
        Of tiles that are cut at multiples of the COG's blocks.
    levels : sequence of (int, int)
        Rows and columns of the COG and of its overviews.
    stored : iterable of (Placed, int)
        Tiles, by rising number, and the checksums of their pixels.
    """

    def __init__(
        self, parts: Parts, levels: Sequence[tuple[int, int]], stored: Iterable[tuple[Placed, int]]
    ) -> None:
        self._parts, self._levels = parts, levels
        self._side = block_side(parts.spec) or 1
        facts = itertools.chain.from_iterable(_facts(tile, known) for tile, known in stored)
        table = np.fromiter(facts, np.int64).reshape(-1, _FACTS).T.copy()
        self._index, self._top, self._left, self._bottom, self._right, self._lacks = table
        self._bytes = np.full([-(-n // self._side) for n in parts.shape], _NONE, np.int64)
        self._codings = set[object]()
        self._lock = threading.Lock()

    def see(self, row: int, col: int, block: NDArray[Any]) -> None:
        """Take note of pixels that were read just now: all of them once, in any order and thread.

        Parameters
        ----------
        row, col : int
            Where they begin in the raster; multiples of the blocks' side.
        block : ndarray (band, row, col)
            It ends at such a multiple or at the raster's end.
        """
        bottom, right = row + block.shape[1], col + block.shape[2]
        for k in self._under(row, col, bottom, right):
            rows = slice(max(row, int(self._top[k])), min(bottom, int(self._bottom[k])))
            cols = slice(max(col, int(self._left[k])), min(right, int(self._right[k])))
            part = block[:, rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]
            top, left = int(self._top[k]), int(self._left[k])
            found = part_sum(part, rows.start - top, cols.start - left, int(self._right[k]) - left)
            self._note(k, rows, cols)
            with self._lock:
                self._lacks[k] = (int(self._lacks[k]) - found) % (1 << 32)

    def same(self, final: Path) -> bool:
        """Tell whether the parts held, and a file holds, the pixels that were stored."""
        if self._lacks.any():
            return False
        with rasterio.open(final) as dataset, final.open("rb") as file:
            return (
                self._same_coding(dataset, file)
                and all(self._same_row(row, dataset, file) for row in range(len(self._bytes)))
                and self._same_levels(dataset)
            )

    def _under(self, top: int, left: int, bottom: int, right: int) -> list[int]:
        """Places of the tiles that have a pixel there."""
        first = int(np.searchsorted(self._bottom, top, "right"))
        last = int(np.searchsorted(self._top, bottom, "left"))
        there = (self._left[first:last] < right) & (self._right[first:last] > left)
        return (first + np.flatnonzero(there)).tolist()

    def _note(self, k: int, rows: slice, cols: slice) -> None:
        """Note the bytes of a tile's blocks in these rows and columns of the raster."""
        side = self._side
        top, left = int(self._top[k]) // side, int(self._left[k]) // side
        shape = int(self._bottom[k] - self._top[k]), int(self._right[k] - self._left[k])
        across = -(-shape[1] // side)
        with self._parts.path(int(self._index[k])).open("rb") as file:
            directory = _directory(file)
            if (directory.height, directory.width, *directory.block) != (*shape, side, side):
                raise OSError(_DIFFER)
            for row in range(rows.start // side, -(-rows.stop // side)):
                for col in range(cols.start // side, -(-cols.stop // side)):
                    number = (row - top) * across + col - left
                    start, size = int(directory.offsets[number]), int(directory.sizes[number])
                    self._bytes[row, col] = zlib.crc32(os.pread(file.fileno(), size, start))
        self._codings.add(_coding(directory))

    def _same_coding(self, dataset: Any, file: BinaryIO) -> bool:
        """Tell whether GDAL reads the file's blocks as it read the parts'."""
        directory = _directory(file)
        first = dataset.get_tag_item("IFD_OFFSET", dm="TIFF", bidx=1)
        same = self._codings <= {_coding(directory)}
        return same and first == str(directory.position) and dataset.shape == self._levels[0]

    def _same_row(self, row: int, dataset: Any, file: BinaryIO) -> bool:
        """Tell whether the blocks of a row have the bytes that were noted."""
        for col in np.flatnonzero(self._bytes[row] != _NONE):
            place = [
                int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", dm="TIFF", bidx=1) or 0)
                for what in ("OFFSET", "SIZE")
            ]
            if _framed(file, *place) != self._bytes[row, col]:
                return False
        return True

    def _same_levels(self, dataset: Any) -> bool:
        """Tell whether GDAL finds each level, and a block in it."""
        if len(dataset.overviews(1)) != len(self._levels) - 1:
            return False
        dataset.read(window=Window(0, 0, 1, 1))
        for number, shape in enumerate(self._levels[1:]):
            with rasterio.open(dataset.name, overview_level=number) as level:
                level.read(window=Window(0, 0, 1, 1))
                if level.shape != shape:
                    return False
        return True


def _facts(tile: Placed, known: int) -> tuple[int, ...]:
    (top, bottom), (left, right) = tile.core.toranges()
    return tile.index, int(top), int(left), int(bottom), int(right), known


def _directory(file: BinaryIO) -> Directory:
    try:
        return read_directory(file)
    except _DAMAGE as error:
        raise OSError(_DIFFER) from error


def _coding(directory: Directory) -> object:
    """Say how the bytes of a block become pixels."""
    return directory.coding, directory.table[1][:1]


def _framed(file: BinaryIO, start: int, size: int) -> int:
    """CRC-32 of a COG's block, if its size stands before it and its last bytes again after it."""
    leader = struct.pack("<I", size)
    if start < len(leader) or os.pread(file.fileno(), 4, start - 4) != leader:
        return _NONE
    data = os.pread(file.fileno(), size + 4, start)
    return zlib.crc32(memoryview(data)[:size]) if data[-4:] == data[size - 4 : size] else _NONE
