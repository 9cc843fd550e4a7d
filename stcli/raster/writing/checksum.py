"""Checksums of blocks that can be taken in pieces, in any order.

A block is cut into square pieces from its first pixel, numbered row by row. Its checksum is the
sum over pieces k of (2 k + 1) times the CRC-32 of piece k, modulo 2**32: the factor tells a piece
from its like elsewhere and, being odd, makes any other CRC-32 another sum. So windows that hold
whole pieces prove a tile, too, however they are cut. Source: CRC-32 of RFC 1952 (section 8), by
zlib.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.raster.writing.output import side_of_pixels


def piece_side(dtype: Any, bands: int) -> int:
    """Side of a piece in pixels: that of an output's blocks, unless its user wants others.

    Parameters
    ----------
    dtype : dtype
    bands : int

    Returns
    -------
    int
        512, 256 or 128. Smaller pieces would cost more than their pixels do: zlib lets other
        threads run for each.
    """
    return side_of_pixels(np.dtype(dtype).itemsize * bands)


def checksum(block: NDArray[Any]) -> int:
    """Take the checksum of a block's values.

    Parameters
    ----------
    block : ndarray (band, row, col)
        Of any numbers.

    Returns
    -------
    int
        0 to 2**32 - 1; sum of `part_sum` over parts that hold each piece once, modulo 2**32.
    """
    return part_sum(block, 0, 0, block.shape[2])


def part_sum(part: NDArray[Any], row: int, col: int, width: int) -> int:
    """Say what the pieces of a part of a block add to the block's checksum.

    Parameters
    ----------
    part : ndarray (band, row, col)
        Of any numbers. It ends at the end of a piece or of the block.
    row, col : int
        Pixel of the block at which the part begins; multiples of `piece_side`.
    width : int
        Columns of the block.

    Returns
    -------
    int
        0 to 2**32 - 1.
    """
    side = piece_side(part.dtype, len(part))
    across = -(-width // side)
    total = 0
    for top in range(0, part.shape[1], side):
        first = (row + top) // side * across + col // side
        for number, left in enumerate(range(0, part.shape[2], side), start=first):
            total += (2 * number + 1) * crc(part[:, top : top + side, left : left + side])
    return total % (1 << 32)


def crc(arrays: Iterable[NDArray[Any]]) -> int:
    """Take the CRC-32 of arrays' values, one after the other: a copy of one alone is small.

    Parameters
    ----------
    arrays : iterable of ndarray
        Of any numbers; the bands of a block, too.

    Returns
    -------
    int
        0 to 2**32 - 1.
    """
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return found
