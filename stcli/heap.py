"""Freed memory: given back to the system, which the C library does not, or kept, which it does not.

The C library keeps what small things leave for the thread that freed them, and gives the pages of
large ones back at once, so that whoever makes large results in turn waits each time until the
system has found and zeroed as many.

Source: malloc_trim(3), mallopt(3). Other C libraries than GNU's have no malloc_trim, and are left
alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Seconds between two times that free memory is given back.
_TIDY = 0.2
#: Bytes beyond which the C library does not keep what is freed for sure: its heaps are of 64 MB,
#: and one that two blocks do not fit in comes and goes with the second.
_LARGE = 4 << 20
#: Bytes of free blocks that are kept at most.
_KEPT = 1 << 30
#: Of a free block, the share that an array has to fill.
_FILLED = 0.5

#: Free blocks. An array may be freed at any step by any thread: only single operations of a list.
_free: list[NDArray[np.uint8]] = []


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array as `numpy.empty` does, a large one where an earlier large one has lain.

    For results that are as large time after time. At most 1 GiB of free memory is kept, until
    `give_back`.
    """
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    if count * dtype.itemsize <= _LARGE:
        return np.empty(shape, dtype)
    block = _block(count * dtype.itemsize)
    # Views hold what is at an array's base: behind a memoryview that is `lent`, not the block.
    lent = np.frombuffer(block.data, dtype, count)
    weakref.finalize(lent, _keep, block).atexit = False
    return lent.reshape(shape)


def _block(size: int) -> NDArray[np.uint8]:
    """Take a free block that is large enough, and not too large; else a new one for all of them."""
    for _ in range(len(_free)):
        try:
            block = _free.pop(0)
        except IndexError:
            break
        if _FILLED * block.size <= size <= block.size:
            return block
        _free.append(block)
    _free.clear()
    return np.empty(size, np.uint8)


def _keep(block: NDArray[np.uint8]) -> None:
    """Keep what was freed last, and of earlier blocks as many as may be kept."""
    _free.append(block)
    while sum(each.size for each in tuple(_free)) > _KEPT:
        with contextlib.suppress(IndexError):
            _free.pop(0)


def give_back() -> None:
    """Give the free memory of all threads back, once."""
    _free.clear()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """Give free memory back now, and again and again while the block runs.

    What a thread has freed lies in pieces that fit little else: writing a raster's file without
    this takes twice the memory that is in use.
    """
    over = threading.Event()

    def tidy() -> None:
        while not over.wait(_TIDY):
            give_back()

    give_back()
    maid = threading.Thread(target=tidy, daemon=True)
    maid.start()
    try:
        yield
    finally:
        over.set()
        maid.join()
