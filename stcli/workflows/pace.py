"""How fast a pass goes, told with its progress."""

from __future__ import annotations

import time
from typing import Protocol

from stcli.engine.machine import resident


class Progress(Protocol):
    """Hears how far a stage is: ``progress(stage, done, total, note)``."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None:
        """Hear it."""


class Pace:
    """Turns ``(done, total)`` in tiles into progress with megapixels a second and memory.

    Parameters
    ----------
    progress : Progress
    stage : str
    pixels : int
        Of the whole pass.
    """

    def __init__(self, progress: Progress, stage: str, pixels: int) -> None:
        self._progress, self._stage, self._pixels = progress, stage, pixels
        self._begun = time.perf_counter()
        self._before: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Tell it; tiles done before the first call, by an earlier run, do not count as speed."""
        if self._before is None:
            self._before = max(0, done - 1)
        seconds = time.perf_counter() - self._begun
        pixels = self._pixels * (done - self._before) / max(total, 1)
        rate = pixels / 1e6 / max(seconds, 1e-9)
        note = f"{rate:.2f} Mpx/s  {resident() / 1e9:.2f} GB"
        self._progress(self._stage, done, total, note)
