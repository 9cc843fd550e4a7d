"""Copy a raster into a GeoTIFF with several threads: packed side by side, written in order.

GDAL's own copy decodes with one thread. Here windows of whole blocks are read and packed ahead by
as many threads as there are, and appended one after the other.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.raster.writing.output import OutputSpec
from stcli.raster.writing.tiffblocks import PackedTiff, pack
from stcli.settings import MOST_THREADS

#: Bytes of a window that is read, about; as many are held as there are threads, and two more.
_WINDOW = 8_000_000
Reduce = Callable[[NDArray[Any]], NDArray[Any]]
#: Is shown what was read: the row and column where it begins, and the block (band, row, col).
See = Callable[[int, int, NDArray[Any]], None]


def copy_windows(
    source: Path,
    target: PackedTiff,
    threads: int,
    reduce: Reduce | None = None,
    see: See | None = None,
) -> None:
    """Copy all pixels of a file into the level that a target is at.

    Parameters
    ----------
    source : Path
        With the target's bands, on that level's grid, or on that of twice its resolution.
    target : PackedTiff
    threads : int
        Of reading and packing.
    reduce : callable, optional
        Halves a block (band, row, col) of even rows and columns but at the raster's end; the
        source is then of twice the resolution.
    see : callable, optional
        Is shown all of the source once, in the threads that read it.
    """
    with _Packer(source, target.spec, threads, reduce, see) as packer:
        ahead: deque[tuple[int, Future[bytes]]] = deque()
        for first, window in _windows(target, 1 if reduce is None else 4):
            ahead.append((first, packer.packed(window)))
            if len(ahead) > threads + 1:
                _append(target, *ahead.popleft())
        while ahead:
            _append(target, *ahead.popleft())


def _append(target: PackedTiff, first: int, packed: Future[bytes]) -> None:
    target.put_bytes(first, packed.result())


def _windows(target: PackedTiff, factor: int) -> Iterator[tuple[int, Window]]:
    """Windows one row of blocks high, row by row, each with the number of its first block.

    For a pixel of theirs `factor` are read.
    """
    (rows, cols), (side, width) = target.shape, target.block
    bytes_of_block = side * width * len(target.spec.bands) * np.dtype(target.spec.dtype).itemsize
    several = max(1, _WINDOW // (factor * bytes_of_block))
    for row in range(target.down):
        top = row * side
        for col in range(0, target.across, several):
            left = col * width
            wide = min(several * width, cols - left)
            yield row * target.across + col, Window(left, top, wide, min(side, rows - top))


class _Packer:
    """Threads that read windows of a file, each with a handle of its own, and pack them."""

    def __init__(
        self,
        source: Path,
        spec: OutputSpec,
        threads: int,
        reduce: Reduce | None,
        see: See | None,
    ) -> None:
        self._source, self._spec, self._own = source, spec, threading.local()
        self._reduce, self._see = reduce, see
        self._opened = contextlib.ExitStack()
        self._pool = ThreadPoolExecutor(min(threads, MOST_THREADS))

    def __enter__(self) -> _Packer:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._opened.close()

    def packed(self, window: Window) -> Future[bytes]:
        """Pack a window soon."""
        return self._pool.submit(self._packed, window)

    def _packed(self, window: Window) -> bytes:
        factor = 1 if self._reduce is None else 2
        wanted = Window(*(factor * n for n in window.flatten()))  # it may end beyond the raster
        block = self._read(wanted)
        if self._see is not None:
            self._see(wanted.row_off, wanted.col_off, block)
        return pack(self._spec, block if self._reduce is None else self._reduce(block))

    def _read(self, window: Window) -> NDArray[Any]:
        """Read what a file has of a window, to where this thread's last window was."""
        dataset = self._handle()
        rows = min(window.height, dataset.height - window.row_off)
        cols = min(window.width, dataset.width - window.col_off)
        shape, dtype = (dataset.count, rows, cols), np.dtype(dataset.dtypes[0])
        size = math.prod(shape)
        if not hasattr(self._own, "room") or self._own.room.size < size:
            self._own.room = np.empty(size, dtype)
        block: NDArray[Any] = self._own.room[:size].reshape(shape)
        dataset.read(window=window, out=block)
        return block

    def _handle(self) -> Any:
        if not hasattr(self._own, "dataset"):
            self._own.dataset = rasterio.open(self._source)
            self._opened.callback(self._own.dataset.close)
        return self._own.dataset
