"""Whether pixels are like those that a model was trained with: counts that any tiling adds up to.

Of each band a card holds the range (2 to 98 %) of the training's pixels. A raster in another unit
leaves it: most values lie beyond it, or, where it begins near 0, all are next to 0 beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.settings import BandScaling

#: Next to 0 is what is smaller than this share of a band's range; a band whose middle is within
#: the second share (an index, a component) says nothing of that.
_SLIGHT, _CENTRED = 0.01, 0.1


@dataclass(frozen=True, eq=False)
class Likeness:
    """Counts of pixels.

    Attributes
    ----------
    pixels : int
    far : ndarray of int64 (band,)
        Those whose value lies further beyond the band's range than that is wide.
    lit : int
        Those that are not 0 in all bands.
    slight : int
        Those of `lit` that are next to 0 in all bands.
    """

    pixels: int
    far: NDArray[np.int64]
    lit: int
    slight: int

    @classmethod
    def none(cls, bands: int) -> Likeness:
        """Count nothing."""
        return cls(0, np.zeros(bands, dtype=np.int64), 0, 0)

    @classmethod
    def of(cls, values: NDArray[Any], scaling: BandScaling) -> Likeness:
        """Count valid pixels (band, pixel) in the bands' own units."""
        v = values.astype(np.float64)
        low, high = (np.array(side)[:, None] for side in (scaling.low, scaling.high))
        width = high - low
        far = (v < low - width) | (v > high + width)
        telling = (np.abs(low + high) / 2 >= _CENTRED * width)[:, 0]
        lit = (v != 0).any(axis=0)
        slight = lit & (np.abs(v) < _SLIGHT * width)[telling].all(axis=0) & telling.any()
        return cls(v.shape[1], far.sum(axis=1), int(lit.sum()), int(slight.sum()))

    @classmethod
    def of_list(cls, counts: list[int]) -> Likeness:
        """Take what `to_list` gave."""
        pixels, lit, slight, *far = counts
        return cls(pixels, np.array(far, dtype=np.int64), lit, slight)

    def to_list(self) -> list[int]:
        """Give plain numbers, for the journal."""
        return [self.pixels, self.lit, self.slight, *self.far.tolist()]

    def __add__(self, other: Likeness) -> Likeness:
        return Likeness(
            self.pixels + other.pixels,
            self.far + other.far,
            self.lit + other.lit,
            self.slight + other.slight,
        )

    @property
    def far_share(self) -> NDArray[np.float64]:
        """Share (band,) of values far beyond the range; 0 to 1."""
        return self.far / max(1, self.pixels)

    @property
    def slight_share(self) -> float:
        """Share of pixels that are next to 0 in all bands, of those that are not 0; 0 to 1."""
        return self.slight / max(1, self.lit)
