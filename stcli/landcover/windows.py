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

from collections.abc import Callable, Iterator
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

    def tokens(self, step: int, order: str = "serpentine") -> Tokens:
        """Tokens of this window's segments."""
        return tokenise(self.segments, self.lattice, step, order)


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


def by_windows(
    scene: Scene,
    core: tuple[slice, slice],
    settings: NetworkSettings,
    classes: int,
    function: Callable[[Window], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Classify the part `core` of a scene window by window.

    Parameters
    ----------
    scene : Scene
        With ``settings.margin`` pixels around `core`, less where the raster ends.
    core : (slice, slice)
    settings : NetworkSettings
    classes : int
    function : callable
        Maps a window to float32 (class, row, col) over the whole window.

    Returns
    -------
    ndarray of float32 (class, row, col)
        Over `core`; NaN where not valid.
    """
    at = (core[0].start + scene.lattice[0], core[1].start + scene.lattice[1])
    shape = (core[0].stop - core[0].start, core[1].stop - core[1].start)
    result = np.full((classes, *shape), np.nan, dtype=np.float32)
    for centre in centres(at, shape, settings):
        window = cut(scene, centre, settings)
        if not window.valid.any():
            continue
        chances = function(window)
        into, out = _where(centre, at, shape, settings)
        result[(slice(None), *into)] = chances[(slice(None), *out)]
    result[:, ~scene.valid[core]] = np.nan
    return result


def _where(
    centre: tuple[int, int],
    at: tuple[int, int],
    shape: tuple[int, int],
    settings: NetworkSettings,
) -> tuple[list[slice], list[slice]]:
    """Where a window's centre lies in a rectangle at `at`, and in the window."""
    into, out = [], []
    for c, a, n in zip(centre, at, shape, strict=True):
        low, high = max(c, a), min(c + settings.stride, a + n)
        into.append(slice(low - a, high - a))
        out.append(slice(low - c + settings.margin, high - c + settings.margin))
    return into, out


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
