"""Lattice windows: the fixed squares of the CRS lattice that the network sees one at a time.

::

    ┌───────────────┐  window: `window` pixels a side; context for the network
    │   ┌───────┐   │
    │   │ centre│   │  centre: `stride` pixels a side, cut at multiples of `stride` of the
    │   └───────┘   │          lattice; the window's result is kept there alone
    └───────────────┘

Because a window is always the same pixels, whatever block it is cut from, its result is too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.tokens import Tokens, tokenise
from stcli.settings import NetworkSettings


@dataclass(frozen=True)
class Scene:
    """A block with its segments, from which windows are cut.

    Attributes
    ----------
    values : ndarray (band, row, col)
        Bands in their own unit; 0 where not valid.
    valid : ndarray of bool (row, col)
    segments : ndarray of int (row, col)
        0 for none.
    lattice : (int, int)
        Lattice position of the first pixel.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    segments: NDArray[Any]
    lattice: tuple[int, int]


@dataclass(frozen=True)
class Window:
    """One lattice window.

    Attributes
    ----------
    values, valid, segments
        As in `Scene`, a square of ``settings.window`` pixels; beyond the raster not valid.
    lattice : (int, int)
        Lattice position of the first pixel.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    segments: NDArray[Any]
    lattice: tuple[int, int]

    def tokens(self, step: int) -> Tokens:
        """Tokens of this window's segments."""
        return tokenise(self.segments, self.lattice, step)


@dataclass(frozen=True)
class Needs:
    """Bytes that classifying takes beside the block and its segments.

    Attributes
    ----------
    read_pixel, core_pixel : int
        A pixel of what is read, and of the core.
    torch : int
        What torch holds for a tile in flight.
    """

    read_pixel: int = 0
    core_pixel: int = 0
    torch: int = 0


def most_tokens(settings: NetworkSettings, step: int) -> int:
    """Tokens of a window at most, islands in nodata apart: the lattice cells that it touches."""
    return (settings.window // step + 2) ** 2


def centres(
    lattice: tuple[int, int], shape: tuple[int, int], settings: NetworkSettings
) -> Iterator[tuple[int, int]]:
    """Lattice positions of the centres that touch a rectangle, row by row.

    Parameters
    ----------
    lattice : (int, int)
        Lattice position of the rectangle's first pixel.
    shape : (int, int)
        Its rows and columns.
    settings : NetworkSettings
    """
    side = settings.stride
    for row in range(lattice[0] // side, (lattice[0] + shape[0] - 1) // side + 1):
        for col in range(lattice[1] // side, (lattice[1] + shape[1] - 1) // side + 1):
            yield row * side, col * side


def cut(scene: Scene, centre: tuple[int, int], settings: NetworkSettings) -> Window:
    """Cut the window around a centre out of a scene, padded where the scene ends."""
    corner = (centre[0] - settings.margin, centre[1] - settings.margin)
    at = (corner[0] - scene.lattice[0], corner[1] - scene.lattice[1])
    return Window(
        square(scene.values, at, settings.window),
        square(scene.valid, at, settings.window),
        square(scene.segments, at, settings.window),
        corner,
    )


def square(array: NDArray[Any], at: tuple[int, int], side: int) -> NDArray[Any]:
    """Copy the square at a row and column out of (…, row, col), zeros beyond the array."""
    result = np.zeros((*array.shape[:-2], side, side), dtype=array.dtype)
    rows, cols = (
        slice(max(a, 0), min(a + side, n)) for a, n in zip(at, array.shape[-2:], strict=True)
    )
    if rows.start < rows.stop and cols.start < cols.stop:
        inside = (
            slice(rows.start - at[0], rows.stop - at[0]),
            slice(cols.start - at[1], cols.stop - at[1]),
        )
        result[(..., *inside)] = array[..., rows, cols]
    return result
