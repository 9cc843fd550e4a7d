"""What a filter sees where a block has no values: reflection at its edge, local means in its holes.

Filters run on whole arrays. Around a tile's core they get `halo` pixels on every side, reflected
where the raster ends, and holes filled by normalised convolution (Knutsson and Westin 1993,
doi:10.1109/CVPR.1993.341081): the mean of the valid pixels under a spline that is widened until
it finds some. Filled values steer filters gently and are never a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.noise.space.separable import Plane, correlate

#: Cubic B-spline (the starlet's low-pass) and the offset of its first tap.
SPLINE = ((1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16), -2)
#: Times the spline is widened; what is farther than `FILL_REACH` from a value holds a constant.
FILL_LEVELS = 4


def fill_reach(levels: int) -> int:
    """Pixels from a value up to which holes are filled by a spline that is widened so often."""
    return int(2 * (2**levels - 1))


FILL_REACH = fill_reach(FILL_LEVELS)


@dataclass(frozen=True)
class Surround:
    """How a block is completed on each side.

    Attributes
    ----------
    before, after : (int, int)
        Rows and columns put before and after the block, so that the core has one halo around it.
    corner : (int, int)
        Lattice position of the first pixel of the completed block.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    corner: tuple[int, int]

    def reflect(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Complete a plane, or planes (…, row, col), by half-sample reflection."""
        pads = tuple(zip(self.before, self.after, strict=True))
        return np.pad(plane, (*((0, 0),) * (plane.ndim - 2), *pads), mode="symmetric")


def surround(
    shape: tuple[int, int], trim: tuple[slice, slice], lattice: tuple[int, int], halo: int
) -> Surround:
    """Work out what a block of `shape` lacks around its core.

    Parameters
    ----------
    trim : (slice, slice)
        The core inside the block.
    lattice : (int, int)
        Lattice position of the block's first pixel.
    halo : int
        Pixels wanted around the core.
    """
    before = (halo - trim[0].start, halo - trim[1].start)
    after = (halo - shape[0] + trim[0].stop, halo - shape[1] + trim[1].stop)
    return Surround(before, after, (lattice[0] - before[0], lattice[1] - before[1]))


def smooth(plane: Plane, level: int) -> Plane:
    """Smooth a plane (row, col) with the spline, taps ``2**(level-1)`` pixels apart."""
    return correlate(plane, SPLINE, SPLINE, 2 ** (level - 1))


def fill(
    plane: Plane, valid: NDArray[np.bool_], beyond: float = 0.0, levels: int = FILL_LEVELS
) -> Plane:
    """Fill invalid pixels by normalised convolution.

    Parameters
    ----------
    beyond : float
        Where no valid pixel lies within `fill_reach`.
    levels : int
        Times the spline is widened.

    Returns
    -------
    ndarray of float64 (row, col)
        Valid pixels untouched.
    """
    if not valid.any():
        return np.full(plane.shape, beyond)
    filled = np.where(valid, plane, 0.0)
    if valid.all():
        return filled
    values, weight, missing = filled, valid.astype(np.float64), ~valid
    for level in range(1, levels + 1):
        if not missing.any():
            break
        values, weight = smooth(values, level), smooth(weight, level)
        found = missing & (weight > 0)
        filled[found] = values[found] / weight[found]
        missing &= ~found
    filled[missing] = beyond
    return filled
