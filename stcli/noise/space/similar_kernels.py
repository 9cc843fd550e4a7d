"""Kernels of means of similar pixels: cell by cell, an offset after the other, over lanes.

All that a cell needs is copied to where it lies close together, so that the hundreds of offsets
find it in the nearest caches. A *line* holds a row of a cell and the pixels that are compared on
either side of it. Every pixel's sums are taken in one order, by the same operations, wherever it
lies in a cell or a block.
"""

from __future__ import annotations

import numpy as np

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, root, smaller, splat, store
from stcli.noise.space.separable import add_rows

#: Numbers of a line, and rows of a cell.
LINE, ROWS = 128, 32


@njit(**OPTIONS)
def gather(planes, inverse, values, known, near, half, total, weight):  # type: ignore[no-untyped-def]
    """Add up weighted values.

    Parameters
    ----------
    planes, inverse, values, total : ndarray of float64 (band, row, col)
    known, weight : ndarray of float64 (1 or band, row, col)
        One mask for all bands, or one each: 1 for valid pixels, 0 for others.
    near : ndarray of float64 (row, col)
        Weights of the offsets in space, 0 for none; its middle is the pixel itself.
    half : int
        Pixels that are compared on every side of one.
    """
    bands, height, width = planes.shape
    radius = near.shape[0] // 2
    margin = radius + half
    wide = (LINE + 2 * radius) // WIDTH * WIDTH + WIDTH
    size = (ROWS + 2 * margin) * wide
    cell = (np.zeros(bands * size), np.zeros(bands * size), np.zeros(bands * size))
    masks = np.zeros(len(known) * size)
    sums, weights = np.zeros(bands * ROWS * LINE), np.zeros(len(known) * ROWS * LINE)
    ring, column = np.zeros((2 * half + 1) * LINE), np.zeros(LINE + 2 * half + WIDTH)
    for top in range(margin, height - margin, ROWS):
        for left in range(margin, width - margin, LINE - 2 * half):
            corner = top - margin, left - margin
            rows, cols = (
                min(ROWS, height - margin - top),
                min(LINE - 2 * half, width - margin - left),
            )
            _copy(planes, corner, cell[0], wide, size)
            _copy(inverse, corner, cell[1], wide, size)
            _copy(values, corner, cell[2], wide, size)
            _copy(known, corner, masks, wide, size)
            sums[:] = 0.0
            weights[:] = 0.0
            for a in range(near.shape[0]):
                for b in range(near.shape[0]):
                    if near[a, b] > 0.0:
                        shape = rows, wide, size, bands, len(known), radius, half
                        away = (a - radius) * wide + b - radius
                        _offset(cell, masks, near[a, b], away, shape, ring, column, sums, weights)
            _return(sums, total, top, left, rows, cols)
            _return(weights, weight, top, left, rows, cols)


@njit(**OPTIONS)
def _copy(planes, corner, cell, wide, size):  # type: ignore[no-untyped-def]
    """Copy planes to a cell from a corner on; beyond the block is 0."""
    count, height, width = planes.shape
    top, left = corner
    cols = min(wide, width - left)
    for n in range(count):
        for r in range(size // wide):
            line = cell[n * size + r * wide : n * size + (r + 1) * wide]
            line[:] = 0.0
            if top + r < height:
                line[:cols] = planes[n, top + r, left : left + cols]


@njit(**OPTIONS)
def _return(sums, planes, top, left, rows, cols):  # type: ignore[no-untyped-def]
    """Copy the sums of a cell's pixels to where they belong."""
    for n in range(len(planes)):
        for r in range(rows):
            place = (n * ROWS + r) * LINE
            planes[n, top + r, left : left + cols] = sums[place : place + cols]


@njit(**OPTIONS)
def _offset(cell, masks, near, away, shape, ring, column, sums, weights):  # type: ignore[no-untyped-def]
    """Add what lies `away` from each pixel of a cell."""
    rows, wide, size, bands, several, radius, half = shape
    side = 2 * half + 1
    for r in range(rows + 2 * half):
        slot, place = r % side * LINE, (radius + r) * wide + radius
        if several == 1:
            _compare(cell, place, away, size, bands, ring, slot)
        else:
            _compare_known(cell, masks, place, away, size, bands, ring, slot)
        if r >= 2 * half:
            add_rows(ring, (r + 1) % side, side, LINE, column, 0)
            centre = (radius + r - half) * wide + radius + half + away
            where = (r - 2 * half) * LINE, centre, size, bands, several
            _add(cell[2], masks, near, side, column, where, sums, weights)


@njit(**OPTIONS)
def _compare(cell, place, away, size, bands, ring, slot):  # type: ignore[no-untyped-def]
    """Give how far the pixels of a line are from those that lie `away`."""
    planes, inverse, _ = cell
    for c in range(0, LINE, WIDTH):
        apart = splat(0.0)
        for n in range(bands):
            at = n * size + place + c
            change = load(planes, at) - load(planes, at + away)
            apart = apart + load(inverse, at) * change * change
        store(ring, slot + c, apart)


@njit(**OPTIONS)
def _compare_known(cell, masks, place, away, size, bands, ring, slot):  # type: ignore[no-untyped-def]
    """Do the same by the bands that have both pixels; by all bands where none has."""
    planes, inverse, _ = cell
    nothing, one = splat(0.0), splat(1.0)
    for c in range(0, LINE, WIDTH):
        anyhow, apart, shared, compared = nothing, nothing, nothing, nothing
        for n in range(bands):
            at = n * size + place + c
            change, weight = load(planes, at) - load(planes, at + away), load(inverse, at)
            both = load(masks, at) * load(masks, at + away)
            counts = smaller(nothing, weight, one, nothing)
            anyhow = anyhow + weight * change * change
            apart = apart + both * weight * change * change
            shared = shared + both * counts
            compared = compared + counts
        apart = apart * (compared / smaller(nothing, shared, shared, one))
        store(ring, slot + c, smaller(nothing, shared, apart, anyhow))


@njit(**OPTIONS)
def _add(values, masks, near, side, column, where, sums, weights):  # type: ignore[no-untyped-def]
    """Weigh the pixels that lie away from a line's, and add them."""
    place, centre, size, bands, several = where
    one = splat(1.0)
    for c in range(0, LINE, WIDTH):
        apart = one
        for n in range(side):
            apart = apart + load(column, c + n)
        alike = splat(near) / (apart * root(apart))
        counts = alike * load(masks, centre + c)
        for n in range(bands):
            at, pixel = n * ROWS * LINE + place + c, n * size + centre + c
            if several > 1:
                counts = alike * load(masks, pixel)
            if n < several:
                store(weights, at, load(weights, at) + counts)
            store(sums, at, load(sums, at) + counts * load(values, pixel))


#: The compiled kernel.
KERNELS = (gather,)
