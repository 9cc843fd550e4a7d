"""Memory that a thread keeps from block to block.

A fresh array is zeroed by the system page by page as it is first written, which for the arrays of a
large block takes as long as rounds of the iteration. Blocks of a raster are of one size; so memory
for the largest array is kept, and what comes after it finds its place in the same memory.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_OWN = threading.local()


class Kept:
    """Arrays cut one after the other from the memory that the calling thread keeps.

    The first one has the memory grow to its size. A later one that finds no place is a fresh array.
    What was given back must no longer be looked at.
    """

    def __init__(self) -> None:
        self.used = 0

    def free(self, array: NDArray[Any]) -> None:
        """Give back an array, as (row, col), and all that were cut after it."""
        if np.may_share_memory(array, _OWN.memory):
            self.used = array.ctypes.data - _OWN.memory.ctypes.data

    @contextlib.contextmanager
    def back(self) -> Iterator[None]:
        """Give back at the end what is cut meanwhile."""
        used = self.used
        try:
            yield
        finally:
            self.used = used

    def reserve(self, size: int) -> None:
        """Have the memory grow to a size, before anything is cut from it."""
        if size > _kept():
            _grow(size)

    def array(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array that is not initialised, of the shape asked for, as (row, col)."""
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        size = count * np.dtype(dtype).itemsize
        if self.used == 0 and size > _kept():
            _grow(size)
        first = self.used
        if first + size > _kept():
            return np.empty(shape, dtype=dtype)
        self.used += -(-size // 64) * 64
        part: NDArray[np.uint8] = _OWN.memory[first : first + size]
        return part.view(dtype).reshape(shape)


def _kept() -> int:
    """Bytes that the calling thread keeps."""
    return getattr(_OWN, "size", 0)


def _grow(size: int) -> None:
    """Keep so many bytes, in the same memory where its addresses reach as far.

    Twice as many addresses are taken as bytes are asked for, which costs nothing until they are
    written: blocks at a raster's edges come first and are smaller, and what they wrote serves on.
    """
    if not hasattr(_OWN, "memory") or size > _OWN.memory.size:
        _OWN.memory = np.empty(2 * size, dtype=np.uint8)
    _OWN.size = size


def beyond(memory: float, sizes: Iterable[float]) -> float:
    """Bytes of those of some arrays, asked for in turn, that find no place in kept memory."""
    used = fresh = 0.0
    for size in sizes:
        if used + size > memory:
            fresh += size
        else:
            used += size
    return fresh
