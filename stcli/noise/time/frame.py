"""The frame that the WDM transform needs: where a series lies in it, and its cells.

What the padding around the series becomes when it is whitened is kept beside the result: with it,
and only with it, whitening can be undone to the last digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.fft import next_fast_len

from stcli.noise.time.wdm import Tiling

#: A series of fewer samples has no spectrum worth the name.
SHORTEST = 8


@dataclass(frozen=True)
class Frame:
    """Where a series lies in its frame.

    Attributes
    ----------
    samples : int
        Length of the series.
    before : int
        Samples of padding before it.
    tiling : Tiling
    """

    samples: int
    before: int
    tiling: Tiling

    @property
    def inside(self) -> slice:
        """Where the series lies."""
        return slice(self.before, self.before + self.samples)

    @property
    def after(self) -> int:
        """Samples of padding after it."""
        return self.tiling.samples - self.before - self.samples


def frame(samples: int, rows: int | None = None) -> Frame:
    """Choose a frame: `rows` frequency rows, or a power of two near sqrt(samples / 8).

    The padding is at least a cell, and at least 1/32 of the series, on both sides.
    """
    count = rows or max(4, 2 ** round(math.log2(math.sqrt(samples / 8))))
    least = samples + 2 * max(count, samples // 32)
    times = 4 * next_fast_len(-(-least // (4 * count)), real=True)
    return Frame(samples, (times * count - samples) // 2, Tiling(times, count))
