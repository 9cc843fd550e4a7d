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
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.dates import Dates, Series, series_of
from stcli.landcover.network.tokens import Tokens, tokenise
from stcli.settings import BandScaling, NetworkSettings

Floats = NDArray[np.floating[Any]]


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
    dates : Dates or None
        Of a stack, whose composite `values` are.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    segments: NDArray[Any]
    lattice: tuple[int, int]
    dates: Dates | None = None


@dataclass(frozen=True)
class Window:
    """One lattice window.

    Attributes
    ----------
    values, valid, segments
        As in `Scene`, a square of ``settings.window`` pixels; beyond the raster not valid.
    lattice : (int, int)
        Lattice position of the first pixel.
    series : Series or None
        Of the segments of a stack.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    segments: NDArray[Any]
    lattice: tuple[int, int]
    series: Series | None = None

    def scaled(self, scaling: BandScaling) -> NDArray[np.float32]:
        """Bands (band, row, col) scaled to about [-1, 1] and held; 0 where not valid."""
        kind, result = precise(self.values.dtype), np.empty(self.values.shape, np.float32)
        for band, low, high, out in zip(
            self.values, scaling.low, scaling.high, result, strict=True
        ):
            scaled = scale(band.astype(kind), np.array(low, kind), np.array(high, kind))
            out[:] = np.where(self.valid, scaled, 0)
        return result

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
    window : int
        What a model holds for a window, of each tile in flight.
    """

    read_pixel: int = 0
    core_pixel: int = 0
    window: int = 0


class Windowed(Protocol):
    """What classifies lattice windows one by one.

    Nothing that it does may depend on the block that a window was cut from.
    """

    @property
    def grid(self) -> NetworkSettings:
        """Its window and margin."""

    @property
    def classes(self) -> int:
        """How many it tells apart."""

    def window(self, window: Window, /) -> NDArray[np.float32]:
        """Classify a window: (class, row, col), of which only the centre counts."""


def precise(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Choose what values are reckoned in: float32 where it holds all of them, else float64.

    What changes of a large value may be less than the digits that float32 keeps of it.
    """
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def scale(values: Floats, low: Floats, high: Floats) -> Floats:
    """Scale values from `low` to `high`, each of a band, to -1 to 1, within `BandScaling.HELD`.

    All are of one type; a range of which that type makes nothing is its least one.
    """
    high = np.maximum(high, np.nextafter(low, np.inf, dtype=low.dtype))
    with np.errstate(over="ignore"):
        scaled = (values - low) / (high - low) * 2 - 1
    return np.clip(scaled, -BandScaling.HELD, BandScaling.HELD, out=scaled)


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
    part = _inside(at, settings.window, scene.valid.shape)
    return Window(
        square(scene.values, at, settings.window),
        square(scene.valid, at, settings.window),
        square(scene.segments, at, settings.window),
        corner,
        None if scene.dates is None else series_of(scene.segments, scene.dates, part),
    )


def by_windows(scene: Scene, core: tuple[slice, slice], method: Windowed) -> NDArray[np.float32]:
    """Classify the part `core` of a scene window by window.

    Parameters
    ----------
    scene : Scene
        With ``method.grid.margin`` pixels around `core`, less where the raster ends.
    core : (slice, slice)
    method : Windowed

    Returns
    -------
    ndarray of float32 (class, row, col)
        Over `core`; NaN where not valid.
    """
    shape = (core[0].stop - core[0].start, core[1].stop - core[1].start)
    result = np.full((method.classes, *shape), np.nan, dtype=np.float32)
    for place in places(scene, core, method.grid):
        window = cut(scene, place.centre, method.grid)
        if window.valid.any():
            result[(slice(None), *place.core)] = method.window(window)[(slice(None), *place.window)]
    result[:, ~scene.valid[core]] = np.nan
    return result


@dataclass(frozen=True)
class Place:
    """Where the centre of a window lies.

    Attributes
    ----------
    centre : (int, int)
        Lattice position of its first pixel.
    core, window : (slice, slice)
        The part of the centre that lies in the core: there, and in the window.
    """

    centre: tuple[int, int]
    core: tuple[slice, slice]
    window: tuple[slice, slice]


def places(scene: Scene, core: tuple[slice, slice], settings: NetworkSettings) -> Iterator[Place]:
    """List the windows whose centres touch the part `core` of a scene, row by row."""
    at = (core[0].start + scene.lattice[0], core[1].start + scene.lattice[1])
    shape = (core[0].stop - core[0].start, core[1].stop - core[1].start)
    for centre in centres(at, shape, settings):
        into, out = [], []
        for c, a, n in zip(centre, at, shape, strict=True):
            low, high = max(c, a), min(c + settings.stride, a + n)
            into.append(slice(low - a, high - a))
            out.append(slice(low - c + settings.margin, high - c + settings.margin))
        yield Place(centre, (into[0], into[1]), (out[0], out[1]))


def cut_out(window: Window, part: tuple[slice, slice]) -> Window:
    """Cut rows and columns out of a window."""
    w, (rows, cols) = window, part
    corner = (w.lattice[0] + rows.start, w.lattice[1] + cols.start)
    values, valid, segments = w.values[:, rows, cols], w.valid[rows, cols], w.segments[rows, cols]
    return replace(w, values=values, valid=valid, segments=segments, lattice=corner)


def turned(array: NDArray[Any], way: int) -> NDArray[Any]:
    """Turn and mirror (…, row, col) in one of eight ways; 0 leaves it as it is."""
    result = np.rot90(array, way % 4, axes=(-2, -1))
    return np.ascontiguousarray(result[..., ::-1] if way >= 4 else result)


def turned_back(array: NDArray[Any], way: int) -> NDArray[Any]:
    """Undo `turned`."""
    upright = array[..., ::-1] if way >= 4 else array
    return np.ascontiguousarray(np.rot90(upright, -(way % 4), axes=(-2, -1)))


def turned_window(window: Window, way: int) -> Window:
    """Turn a window in one of eight ways; radiometry and its place on the lattice stay."""
    values, valid, segments = (
        turned(a, way) for a in (window.values, window.valid, window.segments)
    )
    return replace(window, values=values, valid=valid, segments=segments)


def square(array: NDArray[Any], at: tuple[int, int], side: int) -> NDArray[Any]:
    """Copy the square at a row and column out of (…, row, col), zeros beyond the array."""
    result = np.zeros((*array.shape[:-2], side, side), dtype=array.dtype)
    rows, cols = _inside(at, side, array.shape[-2:])
    if rows.start < rows.stop and cols.start < cols.stop:
        inside = (
            slice(rows.start - at[0], rows.stop - at[0]),
            slice(cols.start - at[1], cols.stop - at[1]),
        )
        result[(..., *inside)] = array[..., rows, cols]
    return result


def _inside(at: tuple[int, int], side: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of an array that a square at a row and column covers."""
    rows, cols = (
        slice(max(a, 0), max(min(a + side, n), 0)) for a, n in zip(at, shape, strict=True)
    )
    return rows, cols
