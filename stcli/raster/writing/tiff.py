"""The structure of a TIFF file: its directories and where their blocks lie, without a pixel.

Only what tells a cloud-optimised GeoTIFF from another is read. Source: TIFF 6.0 (Adobe, 1992),
the BigTIFF design (libtiff), and GDAL's page on the COG driver for the structural metadata.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.raster.reading.stdin import no_file, readable

_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_SUBFILE, _WIDTH, _HEIGHT, _STRIPS, _ROWS, _STRIP_SIZES = 254, 256, 257, 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES = 322, 323, 324, 325
#: Bits and kind of samples, their number and order, codec, predictor, order of bits, sides.
_CODING = (258, 339, 277, 284, 259, 317, 266, _TILE_WIDTH, _TILE_HEIGHT)
_GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE="
#: More directories than any pyramid has: a chain that long is a loop or damage.
_MOST = 1000


@dataclass(frozen=True)
class Directory:
    """One directory (IFD) of a file.

    Attributes
    ----------
    position : int
        Byte at which it begins.
    width, height : int
        Pixels.
    block : (int, int)
        Width and height of a block in pixels.
    tiled, reduced, mask : bool
        Blocks are tiles; it is an overview; it is a mask.
    offsets, sizes : ndarray of uint64
        Where each block begins and its bytes; 0 for a block that was never written.
    table : (int, str)
        Byte at which the offsets stand in the file, and their NumPy data type there.
    coding : tuple of (int, tuple of int)
        Tags, and their values, that say how the bytes of a block become pixels.
    """

    position: int
    width: int
    height: int
    block: tuple[int, int]
    tiled: bool
    reduced: bool
    mask: bool
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    table: tuple[int, str]
    coding: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def first(self) -> int:
        """Where the first written block begins; 0 when none is."""
        written = self.offsets[self.offsets > 0]
        return int(written[0]) if written.size else 0


@dataclass(frozen=True)
class Tiff:
    """A file's structure.

    Attributes
    ----------
    order : {'<', '>'}
        Byte order.
    front : int
        Where the first directory belongs: right after the header and GDAL's structural metadata.
    ghost : str
        GDAL's structural metadata; ``''`` where there is none.
    directories : tuple of Directory
        In the order of the chain.
    """

    order: str
    front: int
    ghost: str
    directories: tuple[Directory, ...]


def read_tiff(path: str) -> Tiff:
    """Read the structure of a TIFF file.

    Raises
    ------
    InputError
        There is no such file, it is no TIFF, or its directories are damaged.
    """
    try:
        with Path(readable(path)).open("rb") as file:
            return _read(file)
    except FileNotFoundError as error:
        raise no_file(path) from error
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise InputError(f"{path}: is no TIFF file, or a damaged one ({error})") from error


def read_directory(file: BinaryIO) -> Directory:
    """Read the first directory of a TIFF that is open or in memory.

    Raises
    ------
    OSError, ValueError, KeyError, struct.error
        It is no TIFF, or a damaged one.
    """
    return _read(file).directories[0]


def _read(file: BinaryIO) -> Tiff:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if not order:
        raise ValueError("it does not begin with II or MM")
    version = struct.unpack(f"{order}H", head[2:4])[0]
    if version not in (42, 43):
        raise ValueError(f"its version is {version}, not 42 or 43")
    big = version == 43
    position = struct.unpack(f"{order}Q" if big else f"{order}I", head[8:16] if big else head[4:8])
    front, ghost = _ghost(file, 16 if big else 8)
    directories: list[Directory] = []
    following = int(position[0])
    while following and len(directories) < _MOST:
        directory, following = _directory(file, following, order, big)
        directories.append(directory)
    if not directories:
        raise ValueError("it has no directory")
    return Tiff(order, front, ghost, tuple(directories))


def _ghost(file: BinaryIO, front: int) -> tuple[int, str]:
    """Read GDAL's structural metadata: a line with their size in bytes, and that many bytes."""
    file.seek(front)
    line = file.read(len(_GHOST) + 13)
    if not line.startswith(_GHOST):
        return front, ""
    size = int(line[len(_GHOST) : len(_GHOST) + 6])
    end = front + len(line) + size
    return end + end % 2, file.read(size).decode("latin-1")


def _directory(file: BinaryIO, position: int, order: str, big: bool) -> tuple[Directory, int]:
    file.seek(position)
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(8 if big else 2))[0]
    if not 0 < count < 10_000:
        raise ValueError(f"a directory at byte {position} has {count} entries")
    width = 20 if big else 12
    entries = file.read(count * width)
    tail = file.read(8 if big else 4)
    following = int(struct.unpack(f"{order}{'Q' if big else 'I'}", tail)[0])
    tags: dict[int, NDArray[np.uint64]] = {}
    table = (0, "")
    for k in range(count):
        entry = entries[k * width : (k + 1) * width]
        tag, kind = struct.unpack(f"{order}HH", entry[:4])
        if tag in _WANTED and kind in _TYPES:
            inside = position + (8 if big else 2) + k * width + (12 if big else 8)
            place, tags[tag] = _values(file, entry, kind, order, big)
            if tag in (_STRIPS, _TILES):
                table = (place or inside, order + _TYPES[kind])
    return _facts(position, tags, table), following


_WANTED = {
    *(_SUBFILE, _WIDTH, _HEIGHT, _STRIPS, _ROWS, _STRIP_SIZES),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES),
    *_CODING,
}


def _values(
    file: BinaryIO, entry: bytes, kind: int, order: str, big: bool
) -> tuple[int, NDArray[np.uint64]]:
    """Read an entry's values, and where they stand; 0 when that is in the entry itself."""
    number, place = ("Q", 12) if big else ("I", 8)
    count = int(struct.unpack(f"{order}{number}", entry[4:place])[0])
    dtype = np.dtype(order + _TYPES[kind])
    raw, position = entry[place:], 0
    if count * dtype.itemsize > len(raw):
        position = int(struct.unpack(f"{order}{number}", raw)[0])
        file.seek(position)
        raw = file.read(count * dtype.itemsize)
    found: NDArray[Any] = np.frombuffer(raw, dtype, count)
    return position, found.astype(np.uint64)


def _facts(position: int, tags: dict[int, NDArray[np.uint64]], table: tuple[int, str]) -> Directory:
    width, height = int(tags[_WIDTH][0]), int(tags[_HEIGHT][0])
    tiled = _TILES in tags
    if tiled:
        block = int(tags[_TILE_WIDTH][0]), int(tags[_TILE_HEIGHT][0])
    else:
        rows = int(tags[_ROWS][0]) if _ROWS in tags else height
        block = width, min(rows, height)
    kind = int(tags[_SUBFILE][0]) if _SUBFILE in tags else 0
    return Directory(
        position,
        width,
        height,
        block,
        tiled,
        bool(kind & 1),
        bool(kind & 4),
        tags[_TILES if tiled else _STRIPS],
        tags[_TILE_SIZES if tiled else _STRIP_SIZES],
        table,
        tuple((tag, tuple(tags[tag].tolist())) for tag in _CODING if tag in tags),
    )
