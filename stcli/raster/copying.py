"""Copy a raster into a GeoTIFF with several threads: decoded side by side, written in order.

GDAL's own copy decodes with one thread. Here windows of whole blocks are read ahead by as many
threads as there are, and written one after the other, so the file's bytes do not depend on who
was first; the driver compresses with its threads meanwhile.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

#: Bytes of a window, about; as many windows are held as there are threads, and two more.
_WINDOW = 8_000_000


def copy_windows(source: Path, target: Any, threads: int) -> None:
    """Copy all pixels of a file into a dataset that is open for writing.

    Parameters
    ----------
    source : Path
        On the target's grid, with its bands.
    target : rasterio.io.DatasetWriter
    threads : int
        Of reading.
    """
    windows = _windows(target)
    with _Reader(source, threads) as reader:
        ahead: deque[tuple[Window, Future[NDArray[Any]]]] = deque()
        for window in windows:
            ahead.append((window, reader.read(window)))
            if len(ahead) > threads + 1:
                _write(target, ahead.popleft())
        while ahead:
            _write(target, ahead.popleft())


def _write(target: Any, read: tuple[Window, Future[NDArray[Any]]]) -> None:
    window, block = read
    target.write(block.result(), window=window)


def _windows(target: Any) -> Iterator[Window]:
    """Windows of whole blocks, row by row."""
    block = [max(sides) for sides in zip(*target.block_shapes, strict=True)]
    pixel = sum(np.dtype(name).itemsize for name in target.dtypes)
    side = max(1, math.isqrt(_WINDOW // pixel))
    width = min(target.width, max(1, side // block[1]) * block[1])
    height = max(1, _WINDOW // (pixel * width) // block[0]) * block[0]
    for top in range(0, target.height, height):
        for left in range(0, target.width, width):
            size = min(width, target.width - left), min(height, target.height - top)
            yield Window(left, top, *size)


class _Reader:
    """Threads that read windows of a file, each with a handle of its own."""

    def __init__(self, source: Path, threads: int) -> None:
        self._source, self._own = source, threading.local()
        self._opened = contextlib.ExitStack()
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._opened.close()

    def read(self, window: Window) -> Future[NDArray[Any]]:
        return self._pool.submit(self._read, window)

    def _read(self, window: Window) -> NDArray[Any]:
        if not hasattr(self._own, "dataset"):
            self._own.dataset = rasterio.open(self._source)
            self._opened.callback(self._own.dataset.close)
        block: NDArray[Any] = self._own.dataset.read(window=window)
        return block
