"""The two halves of a SLIC iteration over packed cells: assign pixels, move centres.

A kernel takes a range of rows of cells and holds no lock, so ranges run side by side. What each
centre sums are whole numbers, scaled bands in fixed point: adding them is exact, so neither the
order of pixels nor the threads that share them can show. And so a sum is kept up to date by the
pixels that change their choice, instead of being made anew. The totals of a range have a row more
above and below: what its pixels add to centres there, for another range to take over.

Cells of which none of the nine centres moved are passed over, exactly.

Pixels may be held for fewer rows of cells than there are: those of row r lie at r modulo their
number.

Distances are counted for five centres and then for four, sixteen pixels in the lanes of vectors:
each sum over bands is a chain of dependent additions, and it takes as many chains side by side to
keep a processor busy. `adaptive` is an empty tuple, or one of length 1 for a compactness that each
centre finds itself.
"""

from __future__ import annotations

import numpy as np
from numpy import empty as room
from numpy import float32, float64, inf, int64, uint8
from numpy.typing import NDArray

from stcli.bits import WORD, lowest, unequal
from stcli.jit import njit
from stcli.lanes import (
    WIDTH,
    load,
    prefetch,
    repeat,
    smaller,
    splat,
    store,
    store_bytes,
    whole_total,
)
from stcli.segmentation.superpixels.cells import NONE, OPTIONS

#: Distance of a centre that is not there: never the smallest.
_NOWHERE = float32(1e18)
#: Numbers of the nine centres around sixteen cells.
_ROW = 9 * WIDTH


def nowhere(rows: int, cols: int, bands: int) -> NDArray[np.float32]:
    """Make centres that are not there yet, a plane for each of their numbers.

    Returns
    -------
    ndarray of float32 (band + 3, row, col)
        Planes of the bands, then of row and column in the centre's own cell, then of 0 for a
        centre that is there. They have a rim of one cell, and whole vectors of columns.
    """
    centres = np.zeros((bands + 3, rows + 2, -(-cols // WIDTH) * WIDTH + 2), dtype=np.float32)
    centres[-1] = _NOWHERE
    return centres


@njit(**OPTIONS)
def start(pixels, place, unit, rows, choice, totals):  # type: ignore[no-untyped-def]
    """Sum each cell's pixels, all given to their own cell.

    `totals` is int64 (row + 2, col, band + 3): bands in units of ``1 / unit``, then rows and
    columns in the centre's own cell, then how many. `rows` are the one that its second row stands
    for, the first to do and the one after the last.
    """
    cols, lanes, bands = choice.shape[1], choice.shape[2], totals.shape[2] - 3
    (base, first, last), held, flat = rows, pixels.shape[0], pixels.reshape(-1)
    for row in range(first, last):
        for col in range(cols):
            sums = totals[row - base + 1, col]
            for band in range(bands):
                at = ((row % held * cols + col) * bands + band) * lanes
                total = int64(0)
                for lane in range(0, lanes, WIDTH):
                    total += whole_total(flat, at + lane, unit)
                sums[band] = total
            down, across, count = int64(0), int64(0), int64(0)
            for lane in range(lanes):
                valid = int64(choice[row, col, lane] != NONE)
                down += valid * int64(place[lane])
                across += valid * int64(place[lanes + lane])
                count += valid
            sums[bands], sums[bands + 1], sums[bands + 2] = down, across, count


@njit(**OPTIONS)
def move(totals, touched, unit, rows, centres, moved):  # type: ignore[no-untyped-def]
    """Move centres to the mean of their pixels; a centre without pixels stays.

    `rows` are the first of the totals', the first to do and the one after the last; `centres` are
    as `nowhere` makes them; `moved` says which differ from before.
    """
    (base, first, last), bands = rows, totals.shape[2] - 3
    for row in range(first, last):
        for col in range(totals.shape[1]):
            at, moved[row, col] = row - base + 1, False
            count = float64(totals[at, col, bands + 2])
            if not touched[row, col] or count == 0.0:
                continue
            touched[row, col] = False
            moved[row, col] = centres[bands + 2, row + 1, col + 1] > 0
            centres[bands + 2, row + 1, col + 1] = 0
            for j in range(bands + 2):
                total = float64(totals[at, col, j]) / (unit if j < bands else 1.0)
                mean = float32(total / count)
                if mean != centres[j, row + 1, col + 1]:
                    centres[j, row + 1, col + 1] = mean
                    moved[row, col] = True


@njit(**OPTIONS)
def adapt(spread, least, first, last, factor, moved):  # type: ignore[no-untyped-def]
    """Weigh a centre's spectral distances by the largest among its pixels, `least` or more."""
    rows, cols = moved.shape
    for row in range(first, last):
        for col in range(cols):
            largest = least
            for k in range(9):
                r, c = row - (k // 3 - 1), col - (k % 3 - 1)
                if 0 <= r < rows and 0 <= c < cols:
                    largest = max(largest, spread[r, c, k])
            weight = float32(1.0) / largest
            if weight != factor[row + 1, col + 1]:
                factor[row + 1, col + 1] = weight
                moved[row, col] = True


@njit(forceinline=True, **OPTIONS)
def _around(marks, row, col):  # type: ignore[no-untyped-def]
    """Tell whether any of the 3x3 cells around a cell is marked."""
    found = False
    for r in range(max(row - 1, 0), min(row + 2, marks.shape[0])):
        for c in range(max(col - 1, 0), min(col + 2, marks.shape[1])):
            found |= marks[r, c]
    return found


@njit(**OPTIONS)
def assign(  # type: ignore[no-untyped-def]
    adaptive, pixels, place, numbers, cells, choice, totals, centres, moved, touched, factor,
    spread,
):  # fmt: skip
    """Give each valid pixel to the nearest of the nine centres around its cell.

    On a tie the first in row order. `cells` are the first row of the totals', the first row to do
    and the one after the last, and such columns, the first a multiple of `WIDTH`; `numbers` are
    the step, the weight of position and the unit; `touched` says which totals changed; `factor` is
    a plane as those of `centres`; `spread` is float32 (row, col, 9), the largest spectral distance
    to each centre, where adaptive.
    """
    (base, first, last, left, right), (step, weight, unit) = cells, numbers
    cols, lanes, bands = choice.shape[1], choice.shape[2], totals.shape[2] - 3
    own, near = room(bands + 2, dtype=float32), room((bands + 5) * _ROW, dtype=float32)
    local = room((bands + 2) * WIDTH, dtype=float32)
    which = room(lanes, dtype=uint8)
    changed = room(lanes, dtype=int64)
    far = room(lanes if len(adaptive) else 0, dtype=float32)
    away, sums, marks = _away(cols, step), totals.ravel(), touched.ravel()
    # whatever holds an array for each cell would count its references, which halts other threads
    stock, picks, held = pixels.reshape(-1), choice.reshape(-1), pixels.shape[0]
    planes = centres.reshape(-1), factor.reshape(-1)
    for row in range(first, last):
        for col in range(left, right):
            if col % WIDTH == 0:
                shape = bands, centres.shape[1] * centres.shape[2], centres.shape[2]
                _gather(adaptive, planes, shape, (row, col), (step, weight), near)
            if centres[bands + 2, row + 1, col + 1] > 0 or not _around(moved, row, col):
                continue
            for j in range(bands + 2):
                own[j] = centres[j, row + 1, col + 1]
            here, at = row * cols + col, (row % held * cols + col) * bands * lanes
            _nearest(adaptive, stock, at, place, own, near, col % WIDTH, local, which, far)
            many = _differing(picks, here * lanes, which, changed)
            if many:
                cells, lists = (here, (base - 1) * cols, bands), (sums, marks)
                _carry(stock, at, place, changed, many, picks, which, unit, cells, away, lists)
            if len(adaptive):
                _spread(picks, here * lanes, far, spread, row, col)


@njit(**OPTIONS)
def _away(cols, step):  # type: ignore[no-untyped-def]
    """Cells, rows and columns of pixels from a cell to each of the nine around it."""
    away = room((9, 3), dtype=int64)
    for k in range(9):
        down, across = k // 3 - 1, k % 3 - 1
        away[k, 0], away[k, 1], away[k, 2] = down * cols + across, down * step, across * step
    return away


@njit(**OPTIONS)
def _gather(adaptive, planes, shape, corner, numbers, near):  # type: ignore[no-untyped-def]
    """Put down what distances to the nine centres around sixteen cells of a row are made of.

    With g the gap from a cell's own centre to another, a row of `near` is, for each of the nine
    and each of the cells, -2 g of a band or of row or column, these two times the weight of
    position; then the squares of g, spectral and positional; then the centre's factor. Where not
    adaptive all squares are in the first.
    """
    (centres, factor), (bands, plane, width), (step, weight) = planes, shape, numbers
    home = (corner[0] + 1) * width + corner[1] + 1
    for k in range(9):
        down, across = k // 3 - 1, k % 3 - 1
        there = home + down * width + across
        position = load(centres, (bands + 2) * plane + there)
        for axis, away in ((0, down), (1, across)):
            at = (bands + axis) * plane
            gap = load(centres, at + there) + float32(away * step) - load(centres, at + home)
            weighed = gap * weight
            store(near, (bands + axis) * _ROW + k * WIDTH, weighed * float32(-2.0))
            position = position + weighed * gap
        squares = splat(float32(0.0)) if len(adaptive) else position
        for band in range(bands):
            gap = load(centres, band * plane + there) - load(centres, band * plane + home)
            store(near, band * _ROW + k * WIDTH, gap * float32(-2.0))
            squares = squares + gap * gap
        store(near, (bands + 2) * _ROW + k * WIDTH, squares)
        if len(adaptive):
            store(near, (bands + 3) * _ROW + k * WIDTH, position)
            store(near, (bands + 4) * _ROW + k * WIDTH, load(factor, there))


@njit(**OPTIONS)
def _nearest(  # type: ignore[no-untyped-def]
    adaptive, pixels, at, place, own, near, col, local, which, far
):
    """Find the nearest of nine centres for the pixels of a cell, sixteen at a time.

    With x a pixel and g a centre, both less the cell's own centre, |x - g|² = |x|² - 2 x·g + |g|².
    The first part is the same for all nine and left out, where not adaptive. The cell's pixels lie
    from `at`; those of the next cell are asked for.
    """
    lanes, bands = which.size, own.size - 2
    for lane in range(0, lanes, WIDTH):
        square = splat(float32(0.0))
        for band in range(bands):
            here = at + band * lanes + lane
            prefetch(pixels, here + bands * lanes)
            x = load(pixels, here) - own[band]
            store(local, band * WIDTH, x)
            square = square + x * x
        for axis in range(2):
            x = load(place, axis * lanes + lane) - own[bands + axis]
            store(local, (bands + axis) * WIDTH, x)
        best, chosen, widest = splat(float32(inf)), splat(float32(0.0)), square
        a, b, c, d, e = _five(adaptive, local, near, col, square)
        best, chosen, widest = _closer(adaptive, a, float32(0), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, b, float32(1), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, c, float32(2), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, d, float32(3), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, e, float32(4), best, chosen, widest)
        a, b, c, d = _four(adaptive, local, near, col, square)
        best, chosen, widest = _closer(adaptive, a, float32(5), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, b, float32(6), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, c, float32(7), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, d, float32(8), best, chosen, widest)
        store_bytes(which, lane, chosen)
        if len(adaptive):
            store(far, lane, widest)


@njit(inline="always", **OPTIONS)
def _five(adaptive, local, near, col, square):  # type: ignore[no-untyped-def]
    """Distances of sixteen pixels from the first five centres, and their spectral parts."""
    count = local.size // WIDTH
    bands, at = count - 2, count * _ROW + col
    a, b, c = repeat(near, at), repeat(near, at + WIDTH), repeat(near, at + 2 * WIDTH)
    d, e = repeat(near, at + 3 * WIDTH), repeat(near, at + 4 * WIDTH)
    for j in range(bands if len(adaptive) else count):
        x, at = load(local, j * WIDTH), j * _ROW + col
        a, b = a + x * repeat(near, at), b + x * repeat(near, at + WIDTH)
        c = c + x * repeat(near, at + 2 * WIDTH)
        d, e = d + x * repeat(near, at + 3 * WIDTH), e + x * repeat(near, at + 4 * WIDTH)
    p, q, r, s, t = a, b, c, d, e
    if len(adaptive):
        at = bands * _ROW + col
        p, q, r = _part(a, square), _part(b, square), _part(c, square)
        s, t = _part(d, square), _part(e, square)
        a, b = _whole(p, local, near, bands, at), _whole(q, local, near, bands, at + WIDTH)
        c = _whole(r, local, near, bands, at + 2 * WIDTH)
        d = _whole(s, local, near, bands, at + 3 * WIDTH)
        e = _whole(t, local, near, bands, at + 4 * WIDTH)
    return (a, p), (b, q), (c, r), (d, s), (e, t)


@njit(inline="always", **OPTIONS)
def _four(adaptive, local, near, col, square):  # type: ignore[no-untyped-def]
    """As `_five`, from the last four centres."""
    count = local.size // WIDTH
    bands, at = count - 2, count * _ROW + col + 5 * WIDTH
    a, b = repeat(near, at), repeat(near, at + WIDTH)
    c, d = repeat(near, at + 2 * WIDTH), repeat(near, at + 3 * WIDTH)
    for j in range(bands if len(adaptive) else count):
        x, at = load(local, j * WIDTH), j * _ROW + col + 5 * WIDTH
        a, b = a + x * repeat(near, at), b + x * repeat(near, at + WIDTH)
        c, d = c + x * repeat(near, at + 2 * WIDTH), d + x * repeat(near, at + 3 * WIDTH)
    p, q, r, s = a, b, c, d
    if len(adaptive):
        at = bands * _ROW + col + 5 * WIDTH
        p, q, r, s = _part(a, square), _part(b, square), _part(c, square), _part(d, square)
        a, b = _whole(p, local, near, bands, at), _whole(q, local, near, bands, at + WIDTH)
        c = _whole(r, local, near, bands, at + 2 * WIDTH)
        d = _whole(s, local, near, bands, at + 3 * WIDTH)
    return (a, p), (b, q), (c, r), (d, s)


@njit(inline="always", **OPTIONS)
def _whole(spectral, local, near, bands, at):  # type: ignore[no-untyped-def]
    """Weigh a spectral part and add the position's; a centre's row offset lies at `at`."""
    row, col = load(local, bands * WIDTH), load(local, (bands + 1) * WIDTH)
    whole = spectral * repeat(near, at + 4 * _ROW) + repeat(near, at + 3 * _ROW)
    return whole + row * repeat(near, at) + col * repeat(near, at + _ROW)


@njit(inline="always", **OPTIONS)
def _closer(adaptive, found, number, best, chosen, widest):  # type: ignore[no-untyped-def]
    """Take another centre where it is nearer than the best so far."""
    distance, spectral = found
    chosen = smaller(distance, best, splat(number), chosen)
    if len(adaptive):
        widest = smaller(distance, best, spectral, widest)
    return smaller(distance, best, distance, best), chosen, widest


@njit(inline="always", **OPTIONS)
def _part(spectral, square):  # type: ignore[no-untyped-def]
    """Complete a spectral distance; rounding alone takes it below 0."""
    whole, nothing = spectral + square, splat(float32(0.0))
    return smaller(whole, nothing, nothing, whole)


@njit(forceinline=True, **OPTIONS)
def _differing(picks, here, which, changed):  # type: ignore[no-untyped-def]
    """List a cell's valid pixels whose choice is another one now; return how many.

    Its choices lie from `here`.
    """
    many, lanes = 0, which.size
    for first in range(0, lanes, WORD):
        places = int64(0)
        for at in range(first, min(first + WORD, lanes), WIDTH):
            places |= unequal(picks, here + at, which, at, NONE) << (at - first)
        while places:
            changed[many] = first + lowest(places)
            places &= places - 1
            many += 1
    return many


@njit(forceinline=True, **OPTIONS)
def _carry(  # type: ignore[no-untyped-def]
    pixels, at, place, changed, many, picks, which, unit, cells, away, lists
):
    """Carry pixels from the totals of the centres that they leave to those of others.

    The cell's pixels lie from `at`; `cells` are the cell, the one of which the first total is, and
    the bands; `lists` are the totals in one line, and which centres' totals changed.
    """
    (here, origin, bands), (sums, marks), lanes = cells, lists, which.size
    size = bands + 3
    for i in range(many):
        lane = changed[i]
        old, new = int64(picks[here * lanes + lane]), int64(which[lane])
        picks[here * lanes + lane] = which[lane]
        left, joined = here + away[old, 0], here + away[new, 0]
        marks[left] = marks[joined] = True
        left, joined = (left - origin) * size, (joined - origin) * size
        for band in range(bands):
            value = int64(float64(pixels[at + band * lanes + lane]) * unit)
            sums[left + band] -= value
            sums[joined + band] += value
        # offsets from the centre's own cell: the same in any block
        y, x = int64(place[lane]), int64(place[lanes + lane])
        sums[left + bands] -= y - away[old, 1]
        sums[joined + bands] += y - away[new, 1]
        sums[left + bands + 1] -= x - away[old, 2]
        sums[joined + bands + 1] += x - away[new, 2]
        sums[left + bands + 2] -= 1
        sums[joined + bands + 2] += 1


@njit(**OPTIONS)
def _spread(picks, here, far, spread, row, col):  # type: ignore[no-untyped-def]
    """Find the largest spectral distance of a cell's pixels to each centre that they chose."""
    for k in range(9):
        spread[row, col, k] = float32(0.0)
    for lane in range(far.size):
        k = picks[here + lane]
        if k != NONE:
            spread[row, col, k] = max(spread[row, col, k], far[lane])
