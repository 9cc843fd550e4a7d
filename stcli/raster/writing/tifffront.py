"""The front of a TIFF: header, GDAL's structural metadata, directories and what they point to.

GDAL writes the directory of a file without a block, with all that says what the raster is; here
it gets room for the tables of its blocks and, before what it shows, the directories of its
overviews. Source: TIFF 6.0 (Adobe, 1992), the BigTIFF design (libtiff), and GDAL's page on the
COG driver for the structural metadata.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SUBFILE, _WIDTH, _HEIGHT, _OFFSETS, _SIZES = 254, 256, 257, 324, 325
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_LONG, _LONG8 = 4, 16
#: What an overview has in common with what it shows: layout, codec, colours, kinds of samples,
#: tiles, nodata; the raster's place, names and tags stand in the first directory alone.
_SHARED = {258, 259, 262, 277, 284, 317, 320, 322, 323, 338, 339, 42113}
#: Blocks lie row by row, coarsest overview first, each with its size before it and its last four
#: bytes after it. The space at the end is room for GDAL to say that it has changed the file.
_PROMISES = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_PROMISES) + _PROMISES

#: Where the blocks of a level begin, and their bytes.
Table = tuple[NDArray[np.uint64], NDArray[np.uint64]]


@dataclass(frozen=True)
class _Entry:
    """An entry of a directory: its values as they stand in the file."""

    tag: int
    kind: int
    count: int
    value: bytes


class Front:
    """Header and directories of a file.

    Parameters
    ----------
    head : bytes
        A little-endian file that GDAL wrote, without blocks; classic or BigTIFF.
    levels : sequence of (int, int)
        Rows and columns of the raster, and then of each overview.
    ghost : bytes
        What stands between header and first directory.

    Attributes
    ----------
    big : bool
        It is a BigTIFF.
    size : int
        Bytes, whatever the tables hold.
    """

    def __init__(
        self, head: bytes, levels: Sequence[tuple[int, int]], tables: Sequence[Table], ghost: bytes
    ) -> None:
        self.big = struct.unpack("<H", head[2:4])[0] == 43
        self._head, self._word = (head[:8], "Q") if self.big else (head[:4], "I")
        self._ghost = ghost
        own = [entry for entry in self._read(head) if entry.tag not in (_OFFSETS, _SIZES)]
        shared = [entry for entry in own if entry.tag in _SHARED]
        self._directories = [own, *(_overview(shared, *shape) for shape in levels[1:])]
        self.size = len(self.written(tables))

    def written(self, tables: Sequence[Table]) -> bytes:
        """Write it for blocks that lie there and have these sizes, a table a level."""
        begin = len(self._head) + struct.calcsize(self._word) + len(self._ghost)
        begin += begin % 2
        front = self._head + struct.pack(f"<{self._word}", begin) + self._ghost
        front = front.ljust(begin, b"\0")
        for k, (entries, table) in enumerate(zip(self._directories, tables, strict=True)):
            last = k == len(tables) - 1
            front += self._directory([*entries, *self._tables(table)], len(front), last)
        return front

    def _tables(self, table: Table) -> list[_Entry]:
        offsets, sizes = table
        kind, dtype = (_LONG8, "<u8") if self.big else (_LONG, "<u4")
        return [
            _Entry(_OFFSETS, kind, offsets.size, offsets.astype(dtype).tobytes()),
            _Entry(_SIZES, _LONG, sizes.size, sizes.astype("<u4").tobytes()),
        ]

    def _directory(self, entries: list[_Entry], begin: int, last: bool) -> bytes:
        """Write a directory that begins there, and its values behind it."""
        inside = struct.calcsize(self._word)
        count = struct.pack("<Q" if self.big else "<H", len(entries))
        place = begin + len(count) + len(entries) * (4 + 2 * inside) + inside
        lines, values = [], b""
        for entry in sorted(entries, key=lambda entry: entry.tag):
            value = entry.value.ljust(inside, b"\0")
            if len(value) > inside:
                at = place + len(values)
                values += value.ljust(-(-len(value) // 8) * 8, b"\0")
                value = struct.pack(f"<{self._word}", at)
            lines.append(struct.pack(f"<HH{self._word}", entry.tag, entry.kind, entry.count))
            lines.append(value)
        values = values.ljust(-(-(place + len(values)) // 16) * 16 - place, b"\0")
        following = struct.pack(f"<{self._word}", 0 if last else place + len(values))
        return b"".join([count, *lines, following, values])

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


def _overview(shared: Sequence[_Entry], rows: int, cols: int) -> list[_Entry]:
    """Entries of an overview of this size."""
    sizes = {_SUBFILE: 1, _WIDTH: cols, _HEIGHT: rows}
    own = [_Entry(tag, _LONG, 1, struct.pack("<I", value)) for tag, value in sizes.items()]
    return [*own, *shared]
