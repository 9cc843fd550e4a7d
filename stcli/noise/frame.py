"""A series in the frame that the WDM transform needs: padded, tiled into cells, and back.

The padding is the series mirrored at both ends under a cosine that falls to zero, so that the
frame closes on itself. What the padding becomes when it is whitened is kept beside the result:
with it, and only with it, whitening can be undone to the last digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from stcli.noise.wdm import Tiling

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


def pad(x: NDArray[Any], where: Frame) -> NDArray[np.float64]:
    """Pad series (series, N) to their frame (series, N')."""
    wide = np.pad(x, ((0, 0), (where.before, where.after)), mode="reflect")
    wide[:, : where.before] *= _rise(where.before)
    wide[:, where.inside.stop :] *= _rise(where.after)[::-1]
    return wide


def _rise(count: int) -> NDArray[np.float64]:
    steps = (np.arange(count) + 0.5) / max(count, 1)
    rise: NDArray[np.float64] = np.sin(np.pi / 2 * steps) ** 2
    return rise
