"""Free memory given back to the system: the C library keeps it for the thread that freed it.

Source: malloc_trim(3). Other C libraries than GNU's have no such call, and are left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

#: Seconds between two times that free memory is given back.
_TIDY = 0.2


def give_back() -> None:
    """Give the free memory of all threads back, once."""
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
